import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { send } from '../api';
import { count, duration, endpoint, plural } from '../format';
import { watch } from '../live';
import { Fault, Heading } from '../parts';
import { parts } from '../sse';
import { sorted, Table, type Column } from '../table';
import type { Connection } from '../types';

interface Row extends Connection {
    key: string;
}

/** The filters of the API, each with its label and an example. */
const FILTERS: [name: string, label: string, example: string][] = [
    ['client', 'Client', '198.51.100.7'],
    ['virtual', 'Virtual address', '192.0.2.1:80'],
    ['destination', 'Server', '192.168.10.1:80'],
    ['state', 'State', 'ESTABLISHED'],
    ['protocol', 'Protocol', 'tcp'],
];
const LIMITS = [1000, 10_000, 100_000];
/** Milliseconds between two changes of the table while connections come. */
const PAINT = 150;

const COLUMNS: Column<Row>[] = [
    { name: 'client', label: 'Client', width: '14rem', sort: ({ client }) => endpoint(client), render: ({ client }) => endpoint(client) },
    { name: 'virtual', label: 'Virtual address', width: '14rem', sort: virtualOf, render: virtualOf },
    { name: 'destination', label: 'Server', width: '14rem', sort: ({ destination }) => endpoint(destination), render: ({ destination }) => endpoint(destination) },
    { name: 'state', label: 'State', width: '9rem', sort: stateOf, render: stateOf },
    { name: 'protocol', label: 'Protocol', width: '6rem', kind: 'wide', sort: ({ protocol }) => String(protocol), render: ({ protocol }) => protocol },
    { name: 'expires', label: 'Expires in', width: '7rem', kind: 'number wide', sort: ({ expires_in_seconds }) => expires_in_seconds, render: ({ expires_in_seconds }) => duration(expires_in_seconds) },
];

export function Connections() {
    useEffect(() => watch(''), []);
    const rows = useSignal<Row[]>([]);
    const error = useSignal<unknown>(undefined);
    const outcome = useSignal('');
    const order = useSignal('');
    const isReading = useSignal(false);
    const form = useRef<HTMLFormElement>(null);
    const abort = useRef<AbortController | undefined>(undefined);

    const read = async (event?: Event) => {
        event?.preventDefault();
        abort.current?.abort();
        const mine = (abort.current = new AbortController());
        const query = new URLSearchParams();
        for (const [name, value] of new FormData(form.current!)) if (value) query.set(name, String(value).trim());
        const limit = Number(query.get('limit'));
        // One more than is shown, to see that there are more.
        query.set('limit', String(limit + 1));
        error.value = undefined;
        outcome.value = '';
        isReading.value = true;
        const found: Row[] = [];
        rows.value = [];
        const show = () => (rows.value = found.slice(0, limit));
        const timer = window.setInterval(show, PAINT);
        try {
            const headers = { Accept: 'application/x-ndjson' };
            const response = await send('GET', `v1/connections?${query}`, { headers, signal: mine.signal });
            for await (const line of parts(response.body!, '\n')) {
                if (line) found.push({ ...(JSON.parse(line) as Connection), key: String(found.length) });
            }
            outcome.value = found.length > limit ? `The first ${count(limit)} connections; there are more.` : plural(found.length, 'connection');
        } catch (reason) {
            if (mine.signal.aborted) outcome.value = `Stopped after ${plural(found.length, 'connection')}.`;
            else error.value = reason;
        } finally {
            window.clearInterval(timer);
            if (abort.current === mine) {
                show();
                isReading.value = false;
            }
        }
    };
    useEffect(() => {
        void read();
        return () => abort.current?.abort();
    }, []);

    return (
        <div class="view full">
            <Heading>Connections</Heading>
            <form class="filters" ref={form} onSubmit={read} role="search">
                {FILTERS.map(([name, label, example]) => (
                    <label key={name}>
                        {label}
                        <input name={name} placeholder={example} autocomplete="off" spellcheck={false} />
                    </label>
                ))}
                <label>
                    Kind
                    <select name="templates">
                        <option value="">all</option>
                        <option value="false">connections</option>
                        <option value="true">persistence templates</option>
                    </select>
                </label>
                <label>
                    At most
                    <select name="limit">
                        {LIMITS.map((limit) => (
                            <option key={limit} value={limit}>
                                {count(limit)}
                            </option>
                        ))}
                    </select>
                </label>
                <button type="submit" class="primary">
                    Read
                </button>
                <button type="button" disabled={!isReading.value} onClick={() => abort.current?.abort()}>
                    Stop
                </button>
                <output class="small">{isReading.value ? `Reading: ${plural(rows.value.length, 'connection')}` : outcome.value}</output>
            </form>
            {error.value !== undefined && <Fault error={error.value} />}
            <Table
                label="Connections"
                rows={sorted(rows.value, COLUMNS, order.value)}
                columns={COLUMNS}
                keyOf={({ key }) => key}
                order={order.value}
                onOrder={(next) => (order.value = next)}
                empty={isReading.value ? 'Reading' : error.value ? 'Nothing was read.' : 'No connection matches.'}
            />
        </div>
    );
}

function virtualOf({ virtual, fwmark }: Connection): string {
    return fwmark === undefined ? endpoint(virtual) : `mark ${fwmark}`;
}

function stateOf({ state, template }: Connection): string {
    return template ? `${state} (template)` : state;
}
