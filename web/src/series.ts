// What charts show: points of time with values, those of the last quarter of an hour.

import { signal } from '@preact/signals';

import type { Counters, Frame } from './types';

export const WINDOW_SECONDS = 900;
/** Longest time in seconds between two points of a line. */
const GAP = 15;

/** Distance in seconds of points of which one is enough. */
const NEAR = 4;

export type Values = (number | null)[];

interface Point {
    time: number;
    values: Values;
}

export const NAMES = ['connections', 'bytes_in', 'bytes_out', 'packets_in', 'packets_out', 'active', 'inactive'] as const;
export type Name = (typeof NAMES)[number];

/** A part of a frame that has counters. */
interface Sample {
    rates?: Counters;
    active_connections: number;
    inactive_connections: number;
}

export class Series {
    /** Changes with the points. */
    readonly revision = signal(0);
    times: number[] = [];
    values = Object.fromEntries(NAMES.map((name) => [name, []])) as unknown as Record<Name, Values>;

    /** Appends a point that is later than the others; an earlier one is ignored. */
    push(frame: Frame, sample: Sample | undefined): void {
        const time = Date.parse(frame.time) / 1000;
        const last = this.times.at(-1) ?? -Infinity;
        if (!sample || !(time > last)) return;
        if (this.times.length && time - last > Math.max(GAP, 3 * (frame.interval_seconds ?? 0))) this.append(last + 1, []);
        this.append(
            time,
            NAMES.map((name) => valueOf(sample, name)),
        );
        const oldest = this.times.findIndex((known) => known >= time - WINDOW_SECONDS);
        if (oldest > 0) {
            this.times.splice(0, oldest);
            for (const name of NAMES) this.values[name].splice(0, oldest);
        }
        this.revision.value++;
    }

    /** Adds the points of another series where this one has none. */
    merge(other: Series): void {
        const own = this.points();
        const isNew = ({ time }: Point) => !own.some((point) => Math.abs(point.time - time) < NEAR);
        const points = [...own, ...other.points().filter(isNew)].sort((a, b) => a.time - b.time);
        const merged = new Series();
        for (const { time, values } of points) {
            const last = merged.times.at(-1);
            if (last !== undefined && time - last > GAP) merged.append(last + 1, []);
            merged.append(time, values);
        }
        this.times = merged.times;
        this.values = merged.values;
        this.revision.value++;
    }

    /** The points, without the marks of gaps. */
    private points(): Point[] {
        const points = this.times.map((time, index) => ({
            time,
            values: NAMES.map((name) => this.values[name][index] ?? null),
        }));
        return points.filter(({ values }) => values.some((value) => value !== null));
    }

    /** Without values: the mark of a gap. */
    private append(time: number, values: Values): void {
        this.times.push(time);
        NAMES.forEach((name, index) => this.values[name].push(values[index] ?? null));
    }
}

function valueOf({ rates, active_connections, inactive_connections }: Sample, name: Name): number | null {
    if (name === 'active') return active_connections;
    if (name === 'inactive') return inactive_connections;
    return rates?.[name] ?? null;
}

/** The last rates of each service, for sparklines. */
export class Sparks {
    private static readonly LENGTH = 60;
    private known = new Map<string, number[]>();
    private last = 0;

    push(frame: Frame): void {
        const time = Date.parse(frame.time);
        if (time - this.last > 1000 * Math.max(GAP, 3 * (frame.interval_seconds ?? 0))) this.known.clear();
        this.last = time;
        const next = new Map<string, number[]>();
        for (const { id, rates } of frame.services ?? []) {
            const values = this.known.get(id) ?? [];
            if (rates) values.push(rates.connections);
            if (values.length > Sparks.LENGTH) values.shift();
            next.set(id, values);
        }
        this.known = next;
    }

    of(id: string): number[] {
        return this.known.get(id) ?? [];
    }
}
