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
    | { state: 'refused'; error: unknown; retryAt: number }
    /** The stream is open, but the daemon cannot read the kernel. */
    | { state: 'unavailable'; detail: string };

/** What a view shows beside the totals: nothing, all services, or one with its servers. */
export type Subject = '' | '*' | { service: string };

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15_000;
/** Wait after a refusal, in milliseconds, and after the end of a stream that was permitted. */
const REFUSED_WAIT = 30_000;
const ENDED_WAIT = 2000;
/** Time without anything after which a stream is lost, in milliseconds. The daemon sends something every 10 s. */
const SILENCE = 15_000;
/** Interval of frames in seconds, and if each frame has many services. */
const INTERVAL = 2;
const LONG_INTERVAL = 6;
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
export const isStale = computed(() => link.value.state !== 'live' && link.value.state !== 'connecting');

let subject: Subject = '';
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
    open();
}

export function stop(): void {
    current?.abort();
    current = undefined;
    window.clearTimeout(timer);
}

/** Tries at once what else would be tried later. */
export function retry(): void {
    if (current && 'retryAt' in link.peek()) open();
}

function serviceOf(subject: Subject): string {
    return typeof subject === 'object' ? subject.service : '';
}

function query(): string {
    const id = serviceOf(subject);
    const isLarge = subject === '*' && (frame.peek()?.totals?.service_count ?? 0) > MANY_SERVICES;
    const parameters = new URLSearchParams({
        interval_seconds: String(isLarge ? LONG_INTERVAL : INTERVAL),
        include: id ? 'totals,services,servers' : subject ? 'totals,services' : 'totals',
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
    const expect = () => {
        window.clearTimeout(silence);
        silence = window.setTimeout(() => abort.abort(), SILENCE);
    };
    try {
        expect();
        const response = await send('GET', query(), {
            headers: { Accept: 'text/event-stream' },
            signal: abort.signal,
        });
        void loadHistory(abort);
        for await (const event of events(response.body!)) {
            if (current !== abort) return;
            expect();
            if (event.name === 'stats') accept(JSON.parse(event.data) as Frame);
            if (event.name === 'unavailable') unavailable(event.data);
            if (event.name === 'end') return ended(event.data);
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
        await load(totals, '');
        if (id && shown) await load(shown.series, id);
    } catch {
        // The charts begin with what is streamed.
    }
}

function unavailable(data: string): void {
    const { detail, reason } = JSON.parse(data) as { detail?: string; reason: string };
    link.value = { state: 'unavailable', detail: detail ?? reason };
}

/** The daemon has ended the stream: the credential is not valid any more, or may do less. */
function ended(data: string): void {
    const { reason } = JSON.parse(data) as { reason?: string };
    if (reason === 'UNAUTHENTICATED') endSession('the credential is not valid any more');
    else fail(new ApiError(403, reason ?? '', 'The daemon has ended the stream: it is not permitted any more.'), ENDED_WAIT);
}

function fail(error: unknown, refusedWait = REFUSED_WAIT): void {
    if (error instanceof ApiError && error.status === 401) return;
    const isRefusal = error instanceof ApiError && error.status > 0;
    const delay = isRefusal ? Math.max(refusedWait, 1000 * error.retryAfter) : wait * (0.75 + Math.random() / 2);
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
