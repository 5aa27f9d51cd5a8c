// The one stream of statistics that the page has open, and what came of it.
//
// A view says what it shows (`watchServices`); the stream is opened anew when that changes. A stream that is
// lost is opened again, each time after a longer wait.

import { computed, signal } from '@preact/signals';

import { ApiError, get, segment, send } from './api';
import { Series, Sparks, WINDOW_SECONDS } from './series';
import { endSession, identify, session } from './session';
import { events } from './sse';
import type { Frame, History, ServiceFrame } from './types';

export type Link =
    | { state: 'connecting' }
    | { state: 'live' }
    /** The daemon does not answer. Times are of Date.now(). */
    | { state: 'lost'; since: number; retryAt: number }
    /** The daemon answers, but not with a stream. */
    | { state: 'refused'; error: unknown; retryAt: number };

/** What a view shows beside the totals: nothing, all services, or one with its servers. */
export type Subject = '' | '*' | { service: string };

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15_000;
/** Wait after a refusal, in milliseconds. */
const REFUSED_WAIT = 30_000;
/** Least time without a frame after which a stream is lost, in milliseconds. */
const LEAST_SILENCE = 8000;
/** Number of services above which the interval is longer, because each frame has all of them. */
const MANY_SERVICES = 2000;

export const link = signal<Link>({ state: 'connecting' });
/** The last frame, and when it came (Date.now()). */
export const frame = signal<Frame | undefined>(undefined);
export const receivedAt = signal(0);
/** Date.now(), once a second. */
export const now = signal(Date.now());
export const totals = new Series();
export const sparks = new Sparks();
/** The series of the service that is shown. */
export const ofService = signal<{ id: string; series: Series } | undefined>(undefined);
/** The last state of each service. Kept while the totals alone are streamed. */
export const services = signal<Map<string, ServiceFrame>>(new Map());

/** Age in seconds of the figures; undefined if there are none. */
export const age = computed(() =>
    receivedAt.value ? Math.max(0, Math.round((now.value - receivedAt.value) / 1000)) : undefined,
);
/** Whether what is shown is not current. */
export const isStale = computed(() => link.value.state === 'lost' || link.value.state === 'refused');

let subject: Subject = '';
let withTotals = true;
let current: AbortController | undefined;
let wait = FIRST_WAIT;
let timer: number | undefined;

window.setInterval(() => (now.value = Date.now()), 1000);
window.addEventListener('online', () => retry());

/** Selects what is streamed. */
export function watch(next: Subject): void {
    if (JSON.stringify(next) === JSON.stringify(subject)) return;
    subject = next;
    const id = serviceOf(next);
    if (id !== ofService.peek()?.id) ofService.value = id ? { id, series: new Series() } : undefined;
    if (current) open();
}

/** Begins to stream, for a principal that is known. */
export function start(): void {
    withTotals = true;
    open();
}

export function stop(): void {
    current?.abort();
    current = undefined;
    window.clearTimeout(timer);
}

/** Tries at once what else would be tried later. */
export function retry(): void {
    if (current && isStale.peek()) open();
}

function serviceOf(subject: Subject): string {
    return typeof subject === 'object' ? subject.service : '';
}

function query(): string {
    const id = serviceOf(subject);
    const include = [...(withTotals ? ['totals'] : []), ...(subject ? ['services'] : []), ...(id ? ['servers'] : [])];
    const isLarge = subject === '*' && (frame.peek()?.totals?.service_count ?? 0) > MANY_SERVICES;
    const parameters = new URLSearchParams({
        interval_seconds: isLarge ? '5' : '2',
        include: include.join(',') || 'services',
    });
    if (id) parameters.set('service', id);
    return `v1/stats/stream?${parameters}`;
}

function open(): void {
    stop();
    const abort = new AbortController();
    current = abort;
    run(abort).catch((error: unknown) => {
        if (current === abort) fail(error);
    });
}

async function run(abort: AbortController): Promise<void> {
    // The daemon may be another one than before, or have another policy.
    if (link.peek().state !== 'live') await identify();
    if (session.peek().state !== 'known' || current !== abort) return;
    let silence: number | undefined;
    const expect = (seconds: number) => {
        window.clearTimeout(silence);
        silence = window.setTimeout(() => abort.abort(), Math.max(LEAST_SILENCE, 3000 * seconds));
    };
    try {
        expect(10);
        const response = await send('GET', query(), {
            headers: { Accept: 'text/event-stream' },
            signal: abort.signal,
        });
        void loadHistory(abort);
        for await (const event of events(response.body!)) {
            if (current !== abort) return;
            if (event.name === 'end') return ended(event.data);
            if (event.name !== 'stats') continue;
            const next = JSON.parse(event.data) as Frame;
            accept(next);
            expect(next.interval_seconds || 2);
        }
        throw new ApiError(0, 'NO_RESPONSE', 'The stream has ended.');
    } finally {
        window.clearTimeout(silence);
    }
}

function accept(next: Frame): void {
    wait = FIRST_WAIT;
    totals.push(next, next.totals);
    const shown = ofService.peek();
    if (shown) shown.series.push(next, next.services?.find(({ id }) => id === shown.id));
    if (subject === '*') {
        sparks.push(next);
        services.value = new Map(next.services?.map((service) => [service.id, service]));
    } else if (next.services) {
        const known = new Map(services.peek());
        for (const service of next.services) known.set(service.id, service);
        services.value = known;
    }
    receivedAt.value = now.value = Date.now();
    link.value = { state: 'live' };
    // Last: those who render a frame see the rest.
    frame.value = next;
}

/** Fills the charts with what the daemon remembers, where they have nothing. */
async function loadHistory(abort: AbortController): Promise<void> {
    const id = serviceOf(subject);
    const shown = ofService.peek();
    const load = async (series: Series, service: string) => {
        const query = `window_seconds=${WINDOW_SECONDS}` + (service ? `&service=${segment(service)}` : '');
        const { points } = await get<History>(`v1/stats/history?${query}`, { signal: abort.signal });
        const merged = new Series();
        const sample = (point: Frame) =>
            service ? point.services?.find((known) => known.id === service) : point.totals;
        for (const point of points) merged.push(point, sample(point));
        series.merge(merged);
    };
    try {
        if (withTotals) await load(totals, '');
        if (id && shown) await load(shown.series, id);
    } catch {
        // The charts begin with what is streamed.
    }
}

/** The daemon has ended the stream: the credential is not valid any more, or may do less. */
function ended(data: string): void {
    const { reason } = JSON.parse(data) as { reason?: string };
    if (reason === 'UNAUTHENTICATED') endSession('the credential is not valid any more');
    else fail(new ApiError(403, reason ?? '', 'The daemon has ended the stream: it is not permitted any more.'));
}

function fail(error: unknown): void {
    if (error instanceof ApiError && error.status === 401) return;
    if (error instanceof ApiError && error.status === 403 && withTotals) {
        // A principal whose scope limits reads gets no totals.
        withTotals = false;
        return open();
    }
    const isRefusal = error instanceof ApiError && error.status > 0;
    const delay = isRefusal ? Math.max(REFUSED_WAIT, 1000 * error.retryAfter) : wait * (0.75 + Math.random() / 2);
    const retryAt = Date.now() + delay;
    if (isRefusal) {
        link.value = { state: 'refused', error, retryAt };
    } else {
        wait = Math.min(2 * wait, LONGEST_WAIT);
        const before = link.peek();
        link.value = { state: 'lost', since: before.state === 'lost' ? before.since : Date.now(), retryAt };
    }
    timer = window.setTimeout(open, delay);
}
