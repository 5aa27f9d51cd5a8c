import { useComputed } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { catalog, catalogError, refresh } from '../catalog';
import { Sparkline } from '../chart';
import { byteRate, count, plural, rate } from '../format';
import { frame, link, now, services, sparks, watch } from '../live';
import { Fault, Heading } from '../parts';
import { href, route, setParameters } from '../router';
import { sorted, Table, type Column } from '../table';
import type { Service, ServiceFrame } from '../types';
import { Availability } from './overview';

/** A service: its figures, its configuration, or both. */
interface Row {
    id: string;
    figures?: ServiceFrame;
    config?: Service;
}

const COLUMNS: Column<Row>[] = [
    {
        name: 'id',
        label: 'Service',
        width: 'min(17rem, 48vw)',
        sort: ({ id }) => id,
        render: ({ id }) => <a href={href(['services', id])}>{id}</a>,
    },
    { name: 'scheduler', label: 'Scheduler', width: '7rem', kind: 'wide', sort: ({ config }) => config?.scheduler ?? '', render: ({ config }) => config?.scheduler },
    { name: 'owner', label: 'Owner', width: '8rem', kind: 'wide', sort: ({ config }) => ownerOf(config), render: ({ config }) => ownerOf(config) },
    {
        name: 'servers',
        label: 'Servers',
        width: 'min(7rem, 22vw)',
        kind: 'number',
        sort: ({ figures }) => figures?.available_server_count ?? -1,
        render: ({ figures }) => figures && <Availability service={figures} />,
    },
    { name: 'active', label: 'Active', width: '6rem', kind: 'number wide', sort: ({ figures }) => figures?.active_connections ?? -1, render: ({ figures }) => count(figures?.active_connections) },
    { name: 'inactive', label: 'Inactive', width: '6rem', kind: 'number wide', sort: ({ figures }) => figures?.inactive_connections ?? -1, render: ({ figures }) => count(figures?.inactive_connections) },
    { name: 'trend', label: 'Trend', width: '7rem', kind: 'wide', render: ({ id }) => <Sparkline values={sparks.of(id)} /> },
    { name: 'rate', label: 'Connections', width: 'min(8rem, 28vw)', kind: 'number', sort: ({ figures }) => figures?.rates?.connections ?? -1, render: ({ figures }) => rate(figures?.rates?.connections) },
    { name: 'in', label: 'Incoming', width: '7rem', kind: 'number wide', sort: ({ figures }) => figures?.rates?.bytes_in ?? -1, render: ({ figures }) => byteRate(figures?.rates?.bytes_in) },
    { name: 'out', label: 'Outgoing', width: '7rem', kind: 'number wide', sort: ({ figures }) => figures?.rates?.bytes_out ?? -1, render: ({ figures }) => byteRate(figures?.rates?.bytes_out) },
];

export function Services() {
    const search = useRef<HTMLInputElement>(null);
    useEffect(() => watch('*'), []);
    useEffect(() => {
        void refresh(services.value.keys(), link.peek().state === 'live');
    }, [frame.value, now.value]);
    useEffect(() => {
        const focus = (event: KeyboardEvent) => {
            const isTyping = (event.target as Element).closest('input, select, textarea, dialog');
            if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            search.current?.focus();
        };
        document.addEventListener('keydown', focus);
        return () => document.removeEventListener('keydown', focus);
    }, []);

    const all = useComputed(() => rowsOf(services.value, catalog.value));
    const chosen = Object.fromEntries(['q', 'protocol', 'scheduler', 'owner', 'only'].map((name) => [name, route.value.parameters.get(name) ?? '']));
    const order = route.value.parameters.get('sort') ?? 'id';
    const rows = sorted(all.value.filter((row) => matches(row, chosen)), COLUMNS, order);
    return (
        <div class="view full">
            <Heading>Services</Heading>
            <div class="filters" role="search">
                <label>
                    Search
                    <input
                        ref={search}
                        type="search"
                        value={chosen.q}
                        placeholder="id, label, owner"
                        aria-keyshortcuts="/"
                        onInput={(event) => setParameters({ q: event.currentTarget.value })}
                    />
                </label>
                <Choice name="protocol" label="Protocol" value={chosen.protocol} values={distinct(all.value, protocolOf)} />
                <Choice name="scheduler" label="Scheduler" value={chosen.scheduler} values={distinct(all.value, ({ config }) => config?.scheduler)} />
                <Choice name="owner" label="Owner" value={chosen.owner} values={distinct(all.value, ({ config }) => config?.owner)} />
                <label class="check">
                    <input
                        type="checkbox"
                        checked={chosen.only === 'unavailable'}
                        onChange={(event) => setParameters({ only: event.currentTarget.checked ? 'unavailable' : '' })}
                    />
                    Without available servers
                </label>
                <output class="small">
                    {rows.length === all.value.length ? plural(rows.length, 'service') : `${count(rows.length)} of ${plural(all.value.length, 'service')}`}
                </output>
            </div>
            {catalogError.value !== undefined && <Fault error={catalogError.value} />}
            <Table
                label="Services"
                rows={rows}
                columns={COLUMNS}
                keyOf={({ id }) => id}
                order={order}
                onOrder={(next) => setParameters({ sort: next === 'id' ? '' : next })}
                empty={all.value.length ? 'No service matches.' : catalog.value ? 'The table of IPVS is empty.' : 'Loading'}
            />
        </div>
    );
}

function Choice({ name, label, value, values }: { name: string; label: string; value?: string; values: string[] }) {
    return (
        <label>
            {label}
            <select value={value} onChange={(event) => setParameters({ [name]: event.currentTarget.value })}>
                <option value="">all</option>
                {[...new Set([...values, ...(value ? [value] : [])])].map((known) => (
                    <option key={known} value={known}>
                        {known}
                    </option>
                ))}
            </select>
        </label>
    );
}

function rowsOf(figures: Map<string, ServiceFrame>, configs: Map<string, Service> | undefined): Row[] {
    const ids = figures.size ? figures.keys() : (configs?.keys() ?? []);
    return [...ids].map((id) => ({ id, figures: figures.get(id), config: configs?.get(id) }));
}

function matches(row: Row, chosen: Record<string, string>): boolean {
    const { id, figures, config } = row;
    const labels = Object.entries(config?.labels ?? {}).map(([name, value]) => `${name}=${value}`);
    const text = [id, config?.owner, config?.scheduler, ...labels].join(' ').toLowerCase();
    const terms = (chosen.q ?? '').toLowerCase().split(/\s+/);
    return (
        terms.every((term) => text.includes(term)) &&
        (!chosen.protocol || protocolOf(row) === chosen.protocol) &&
        (!chosen.scheduler || config?.scheduler === chosen.scheduler) &&
        (!chosen.owner || config?.owner === chosen.owner) &&
        (chosen.only !== 'unavailable' || figures?.available_server_count === 0)
    );
}

function protocolOf({ id }: Row): string {
    return id.slice(0, id.indexOf('-'));
}

function ownerOf(config: Service | undefined): string {
    return config?.owner === '_unmanaged' ? '' : (config?.owner ?? '');
}

function distinct(rows: Row[], valueOf: (row: Row) => string | undefined): string[] {
    return [...new Set(rows.map(valueOf))].filter((value) => value !== undefined).sort();
}
