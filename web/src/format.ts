// Numbers, times and addresses as text. A value that is not known is an en dash.

import type { Endpoint } from './types';

export const UNKNOWN = '–';

const SCALES: [number, string][] = [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
];

function scaled(value: number, unit: string): string {
    const size = Math.abs(value);
    // 999.95 would be shown as 1000.
    const scale = SCALES.find(([least]) => size >= least * 0.99995);
    const shown = scale ? value / scale[0] : value;
    const digits = Number.isInteger(shown) ? 0 : Math.abs(shown) < 10 ? 2 : Math.abs(shown) < 100 ? 1 : 0;
    const suffix = (scale?.[1] ?? '') + unit;
    return shown.toFixed(digits) + (suffix ? ' ' + suffix : '');
}

export function count(value: number | null | undefined): string {
    return value == null ? UNKNOWN : value.toLocaleString('en');
}

export function rate(value: number | null | undefined): string {
    return value == null ? UNKNOWN : scaled(value, '/s');
}

export function byteRate(value: number | null | undefined): string {
    return value == null ? UNKNOWN : scaled(value, 'B/s');
}

export function bytes(value: number | null | undefined): string {
    return value == null ? UNKNOWN : scaled(value, 'B');
}

/** A number without a unit, for axes: `2.5k`. */
export function short(value: number): string {
    const [number, scale = ''] = scaled(value, '').split(' ');
    return Number(number) + scale;
}

export function duration(seconds: number): string {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.trunc(whole / 60)} min ${whole % 60} s`;
    return `${Math.trunc(whole / 3600)} h ${Math.trunc((whole % 3600) / 60)} min`;
}

export function endpoint(value: Endpoint | undefined): string {
    if (!value) return UNKNOWN;
    const address = value.address.includes(':') ? `[${value.address}]` : value.address;
    return value.port === undefined ? value.address : `${address}:${value.port}`;
}

export function plural(number: number, one: string, many = one + 's'): string {
    return `${count(number)} ${number === 1 ? one : many}`;
}
