import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { segment } from '../api';
import { Charts } from '../charts';
import { bytes, byteRate, count, plural, rate } from '../format';
import { ofService, services, watch } from '../live';
import { Facts, Fault, Heading, Tiles, useLoaded } from '../parts';
import { href, route } from '../router';
import { permission, session } from '../session';
import { sorted, Table, type Column } from '../table';
import type { Permission, Server, ServerFrame, Service } from '../types';
import { Actions, type Action } from './actions';

/** A server: its configuration, its figures, and the id of the drain that holds it. */
export interface Row {
    server: Server;
    figures?: ServerFrame;
    drain?: string;
}

/** Seconds after which the configuration is read again. */
const INTERVAL = 3;

export function ServiceView() {
    const id = route.value.segments[1]!;
    useEffect(() => watch({ service: id }), [id]);
    const [service, reload] = useLoaded<Service>(`v1/services/${segment(id)}`, INTERVAL);
    const action = useSignal<Action | undefined>(undefined);
    const order = useSignal('id');
    const permissions = usePermissions(id);

    const { value, error } = service.value;
    const figures = services.value.get(id);
    const series = ofService.value?.id === id ? ofService.value.series : undefined;
    const current = new Map(figures?.servers?.map((server) => [server.id, server]));
    const rows = (value?.servers ?? []).map((server) => ({
        server,
        figures: current.get(server.id),
        drain: server.holds?.find(({ kind }) => kind === 'drain')?.id,
    }));
    const columns = columnsOf(permissions, (next) => (action.value = next));
    return (
        <div class="view">
            <p class="small">
                <a href={href(['services'])}>Services</a>
            </p>
            <Heading>{id}</Heading>
            {error !== undefined && <Fault error={error} />}
            {value && <Facts entries={factsOf(value)} />}
            {value && (
                <Tiles
                    entries={[
                        ['New connections', rate(figures?.rates?.connections)],
                        ['Incoming', byteRate(figures?.rates?.bytes_in)],
                        ['Outgoing', byteRate(figures?.rates?.bytes_out)],
                        ['Active connections', count(figures?.active_connections ?? sum(value, 'active_connections'))],
                        ['Inactive connections', count(figures?.inactive_connections ?? sum(value, 'inactive_connections'))],
                        ['Connections so far', count(figures?.stats.connections)],
                        ['Bytes so far', bytes(figures && figures.stats.bytes_in + figures.stats.bytes_out)],
                    ]}
                />
            )}
            {value && (
                <section aria-labelledby="servers">
                    <h2 id="servers">{plural(rows.length, 'server')}</h2>
                    <Refusals permissions={permissions} />
                    <Table
                        label={`Servers of ${id}`}
                        rows={sorted(rows, columns, order.value)}
                        columns={columns}
                        keyOf={({ server }) => server.id}
                        order={order.value}
                        onOrder={(next) => (order.value = next)}
                        empty="The service has no servers."
                    />
                </section>
            )}
            {value && series && <Charts series={series} />}
            {action.value && (
                <Actions service={id} action={action.value} onClose={() => (action.value = undefined)} onDone={reload} />
            )}
        </div>
    );
}

interface Permissions {
    weight?: Permission;
    drain?: Permission;
}

function usePermissions(service: string): Permissions {
    const known = useSignal<Permissions>({});
    useEffect(() => {
        known.value = {};
        for (const [name, verb] of [['weight', 'update_weight'], ['drain', 'drain']] as const) {
            permission(verb, service).then(
                (answer) => (known.value = { ...known.peek(), [name]: answer }),
                () => {},
            );
        }
        // The daemon says anew who the page is when the connection is made anew.
    }, [service, session.value]);
    return known.value;
}

/** Why there are no controls. */
function Refusals({ permissions: { weight, drain } }: { permissions: Permissions }) {
    if (weight?.allowed !== false && drain?.allowed !== false) return null;
    const what = weight?.allowed === false && drain?.allowed === false ? 'change weights or drain servers' : weight?.allowed === false ? 'change weights' : 'drain servers';
    return (
        <p class="note" data-testid="refused">
            You may not {what} of this service: {(weight?.allowed === false ? weight : drain)?.reason ?? 'not permitted'}.
        </p>
    );
}

function columnsOf({ weight, drain }: Permissions, choose: (action: Action) => void): Column<Row>[] {
    const controls = (row: Row) => (
        <span class="controls">
            <button type="button" disabled={!weight?.allowed} onClick={() => choose({ kind: 'weight', row })}>
                Weight<span class="hidden"> of {row.server.id}</span>
            </button>
            <button type="button" disabled={!drain?.allowed} onClick={() => choose({ kind: row.drain ? 'undrain' : 'drain', row })}>
                {row.drain ? 'End drain' : 'Drain'}
                <span class="hidden"> of {row.server.id}</span>
            </button>
        </span>
    );
    return [
        { name: 'id', label: 'Server', width: 'min(13rem, 40vw)', sort: ({ server }) => server.id, render: ({ server }) => server.id },
        { name: 'forwarding', label: 'Forwarding', width: '8rem', kind: 'wide', sort: ({ server }) => String(server.forwarding), render: ({ server }) => server.forwarding },
        { name: 'weight', label: 'Weight', width: '5.5rem', kind: 'number', sort: ({ server }) => server.effective_weight, render: weightOf },
        { name: 'active', label: 'Active', width: '5rem', kind: 'number', sort: active, render: (row) => count(active(row)) },
        { name: 'inactive', label: 'Inactive', width: '5.5rem', kind: 'number', sort: inactive, render: (row) => count(inactive(row)) },
        { name: 'rate', label: 'Connections', width: '7.5rem', kind: 'number wide', sort: ({ figures }) => figures?.rates?.connections ?? -1, render: ({ figures }) => rate(figures?.rates?.connections) },
        { name: 'in', label: 'Incoming', width: '6.5rem', kind: 'number wide', sort: ({ figures }) => figures?.rates?.bytes_in ?? -1, render: ({ figures }) => byteRate(figures?.rates?.bytes_in) },
        { name: 'out', label: 'Outgoing', width: '6.5rem', kind: 'number wide', sort: ({ figures }) => figures?.rates?.bytes_out ?? -1, render: ({ figures }) => byteRate(figures?.rates?.bytes_out) },
        { name: 'state', label: 'State', width: '9.5rem', sort: stateOf, render: stateOf },
        { name: 'controls', label: 'Controls', width: '12rem', render: controls },
    ];
}

const active = ({ figures, server }: Row) => (figures ?? server).active_connections;
const inactive = ({ figures, server }: Row) => (figures ?? server).inactive_connections;

function weightOf({ server: { weight, effective_weight } }: Row) {
    if (weight === effective_weight) return count(weight);
    return (
        <span title={`${effective_weight} in the kernel, ${weight} is intended`}>
            {count(effective_weight)} of {count(weight)}
        </span>
    );
}

/** What keeps the server from its weight, and the connections that are left. */
function stateOf({ server, figures, drain }: Row): string {
    if (drain) {
        const { active_connections, inactive_connections, persistent_connections } = figures ?? server;
        const left = active_connections + inactive_connections + persistent_connections;
        return left ? `draining, ${count(left)} left` : 'drained';
    }
    if (server.membership) return server.membership;
    if (server.holds?.length) return `ramp to ${count(server.weight)}`;
    return server.effective_weight === 0 ? 'weight 0' : '';
}

function sum(service: Service, name: 'active_connections' | 'inactive_connections'): number {
    return (service.servers ?? []).reduce((total, server) => total + server[name], 0);
}

function factsOf(service: Service): [string, string][] {
    const { persistence, labels, owner } = service;
    const facts: [string, string | undefined][] = [
        ['Scheduler', [service.scheduler, ...service.scheduler_flags].join(', ')],
        ['Persistence', persistence && `${persistence.timeout_seconds} s`],
        ['Persistence engine', service.persistence_engine],
        ['One-packet scheduling', service.one_packet ? 'yes' : undefined],
        ['Owner', owner === '_unmanaged' ? 'none' : owner],
        ['Labels', labels && Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(', ')],
    ];
    return facts.filter((fact): fact is [string, string] => Boolean(fact[1]));
}
