// A chart of time series (uPlot), with a legend that is text.

import { signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

import { short, UNKNOWN } from './format';
import { WINDOW_SECONDS, type Values } from './series';

export interface Line {
    label: string;
    /** Name of a colour of the style sheet. */
    colour: string;
    values: Values;
}

interface Properties {
    title: string;
    times: number[];
    lines: Line[];
    format: (value: number | null | undefined) => string;
    /** Changes with the values: they are the same arrays. */
    version: number;
}

const HEIGHT = 180;
/** Changes with the colours of the page. */
const scheme = signal(0);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => scheme.value++);

export function Chart({ title, times, lines, format, version }: Properties) {
    const container = useRef<HTMLDivElement>(null);
    const plot = useRef<uPlot | undefined>(undefined);
    const pointed = useSignal<number | null>(null);

    useEffect(() => {
        const element = container.current!;
        const options = optionsOf(lines, element.clientWidth, (index) => (pointed.value = index));
        plot.current = new uPlot(options, dataOf(times, lines), element);
        const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
        observer.observe(element);
        return () => {
            observer.disconnect();
            plot.current?.destroy();
            plot.current = undefined;
        };
    }, [scheme.value, lines.map(({ label }) => label).join()]);
    useEffect(() => plot.current?.setData(dataOf(times, lines)), [version, times]);

    const at = pointed.value === null ? times.length - 1 : pointed.value;
    const shown = lines.map((line) => ({ ...line, text: format(line.values[at]), highest: highest(line.values) }));
    const summary = shown.map(({ label, text, highest }) => `${label} ${text}, highest ${format(highest)}`).join('; ');
    return (
        <figure class="chart">
            <figcaption>
                <h2>{title}</h2>
                <ul class="legend">
                    {shown.map(({ label, colour, text }) => (
                        <li key={label}>
                            <span class={`key ${colour}`} aria-hidden="true" />
                            {label} <b>{text}</b>
                        </li>
                    ))}
                </ul>
            </figcaption>
            <div ref={container} class="plot" role="img" aria-label={`${title}, the last 15 minutes: ${summary || UNKNOWN}`} />
        </figure>
    );
}

function highest(values: Values): number | null {
    return values.reduce<number | null>((most, value) => (value !== null && value > (most ?? -1) ? value : most), null);
}

function dataOf(times: number[], lines: Line[]): uPlot.AlignedData {
    return [times, ...lines.map(({ values }) => values)];
}

function optionsOf(lines: Line[], width: number, onPoint: (index: number | null) => void): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
        stroke: colour('muted'),
        grid: { stroke: colour('line'), width: 1 },
        ticks: { stroke: colour('line'), width: 1, size: 4 },
        font: '12px system-ui, sans-serif',
    };
    return {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
            x: { range: (_, __, last) => [(last || Date.now() / 1000) - WINDOW_SECONDS, last || Date.now() / 1000] },
            y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
        },
        axes: [
            { ...axis, values: (_, ticks) => ticks.map(clock), space: 70, size: 28 },
            { ...axis, values: (_, ticks) => ticks.map(short), size: 52 },
        ],
        series: [
            {},
            ...lines.map(({ label, colour: name }) => ({
                label,
                stroke: colour(name),
                width: 1.75,
                points: { show: false },
            })),
        ],
        hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)] },
    };
}

function clock(seconds: number): string {
    return new Date(1000 * seconds).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/** A small line without axes, for a table. */
export function Sparkline({ values }: { values: number[] }) {
    const most = Math.max(...values, 0);
    const step = 100 / Math.max(1, values.length - 1);
    const points = values.map((value, index) => `${(index * step).toFixed(1)},${(23 - (most ? (value / most) * 22 : 0)).toFixed(1)}`);
    return (
        <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
            {values.length > 1 && <polyline points={points.join(' ')} />}
        </svg>
    );
}
