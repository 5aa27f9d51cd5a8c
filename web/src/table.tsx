// A table of any number of rows, of which only those that can be seen are in the document.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

export interface Column<Row> {
    name: string;
    label: string;
    render: (row: Row) => ComponentChildren;
    /** Makes the column sortable. */
    sort?: (row: Row) => number | string;
    /** Classes of its cells: `number`, and `wide` for those that a phone does not show. */
    kind?: string;
    /** Width, in CSS. */
    width?: string;
}

interface Properties<Row> {
    label: string;
    rows: Row[];
    columns: Column<Row>[];
    keyOf: (row: Row) => string;
    /** Name of the column, with `-` before it for descending order. */
    order?: string;
    onOrder?: (order: string) => void;
    empty: string;
}

const ROW_HEIGHT = 37;
/** Rows beyond the edges, so that none is missing while it scrolls. */
const MARGIN = 8;

export function sorted<Row>(rows: Row[], columns: Column<Row>[], order: string): Row[] {
    const isDescending = order.startsWith('-');
    const sort = columns.find(({ name }) => name === order.replace(/^-/, ''))?.sort;
    if (!sort) return rows;
    const keyed = rows.map((row) => ({ row, key: sort(row) }));
    const compare = (a: number | string, b: number | string) =>
        typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(String(a), String(b));
    keyed.sort((a, b) => (isDescending ? compare(b.key, a.key) : compare(a.key, b.key)));
    return keyed.map(({ row }) => row);
}

const collator = new Intl.Collator('en', { numeric: true });

export function Table<Row>({ label, rows, columns, keyOf, order = '', onOrder, empty }: Properties<Row>) {
    const region = useRef<HTMLDivElement>(null);
    const top = useSignal(0);
    const height = useSignal(600);
    useLayoutEffect(() => {
        const element = region.current!;
        const observer = new ResizeObserver(() => (height.value = element.clientHeight));
        observer.observe(element);
        return () => observer.disconnect();
    }, []);

    const total = rows.length;
    const first = Math.max(0, Math.min(Math.trunc(top.value / ROW_HEIGHT), total - 1) - MARGIN);
    const shown = rows.slice(first, first + Math.ceil(height.value / ROW_HEIGHT) + 2 * MARGIN);
    const below = (total - first - shown.length) * ROW_HEIGHT;
    return (
        <div
            class="table"
            ref={region}
            role="region"
            aria-label={label}
            tabIndex={0}
            onScroll={(event) => (top.value = event.currentTarget.scrollTop)}
            onKeyDown={moveFocus}
        >
            <table aria-rowcount={total + 1}>
                <caption class="hidden">{label}</caption>
                <colgroup>
                    {columns.map(({ name, width, kind }) => (
                        <col key={name} class={kind} style={{ width }} />
                    ))}
                </colgroup>
                <thead>
                    <tr aria-rowindex={1}>
                        {columns.map((column) => (
                            <Heading key={column.name} column={column} order={order} onOrder={onOrder} />
                        ))}
                    </tr>
                </thead>
                <tbody>
                    {first > 0 && <Space height={first * ROW_HEIGHT} columns={columns.length} />}
                    {shown.map((row, index) => (
                        <tr key={keyOf(row)} aria-rowindex={first + index + 2}>
                            {columns.map(({ name, kind, render }, index) =>
                                index === 0 ? (
                                    <th scope="row" class={kind} key={name}>
                                        {render(row)}
                                    </th>
                                ) : (
                                    <td class={kind} key={name}>
                                        {render(row)}
                                    </td>
                                ),
                            )}
                        </tr>
                    ))}
                    {below > 0 && <Space height={below} columns={columns.length} />}
                </tbody>
            </table>
            {total === 0 && <p class="empty">{empty}</p>}
        </div>
    );
}

function Heading<Row>({
    column: { name, label, kind, sort },
    order,
    onOrder,
}: {
    column: Column<Row>;
    order: string;
    onOrder?: (order: string) => void;
}) {
    const direction = order === name ? 'ascending' : order === `-${name}` ? 'descending' : undefined;
    if (!sort || !onOrder) {
        return (
            <th scope="col" class={kind}>
                {label}
            </th>
        );
    }
    // Numbers are of interest from the largest one.
    const other = kind?.includes('number') ? `-${name}` : name;
    const next = direction ? (direction === 'ascending' ? `-${name}` : name) : other;
    return (
        <th scope="col" class={kind} aria-sort={direction ?? 'none'}>
            <button type="button" class="sort" onClick={() => onOrder(next)}>
                {label}
                <span aria-hidden="true">{direction === 'ascending' ? ' ▲' : direction ? ' ▼' : ''}</span>
            </button>
        </th>
    );
}

/** Stands for the rows that are not in the document. */
function Space({ height, columns }: { height: number; columns: number }) {
    return (
        <tr class="space" aria-hidden="true">
            <td colSpan={columns} style={{ height: `${height}px` }} />
        </tr>
    );
}

/** The arrow keys move between the links of rows. */
function moveFocus(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = (event.target as Element).closest('tbody tr');
    if (!step || !row || !(event.target instanceof HTMLAnchorElement)) return;
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    const target = next?.querySelector('a');
    if (!target) return;
    event.preventDefault();
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: 'nearest' });
}
