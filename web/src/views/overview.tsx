import { useEffect } from 'preact/hooks';

import { Sparkline } from '../chart';
import { Charts } from '../charts';
import { bytes, byteRate, count, rate } from '../format';
import { frame, services, sparks, totals, watch } from '../live';
import { Heading, Tiles } from '../parts';
import { href } from '../router';
import type { ServiceFrame } from '../types';

/** Number of services that the overview lists. */
const BUSIEST = 8;

export function Overview() {
    useEffect(() => watch('*'), []);
    const current = frame.value?.totals;
    const busiest = [...services.value.values()].sort((a, b) => connections(b) - connections(a)).slice(0, BUSIEST);
    return (
        <div class="view">
            <Heading>Overview</Heading>
            <Tiles
                entries={[
                    ['New connections', rate(current?.rates?.connections)],
                    ['Incoming', byteRate(current?.rates?.bytes_in)],
                    ['Outgoing', byteRate(current?.rates?.bytes_out)],
                    ['Active connections', count(current?.active_connections)],
                    ['Inactive connections', count(current?.inactive_connections)],
                    ['Services', count(current?.service_count)],
                    ['Servers', count(current?.server_count)],
                ]}
            />
            <Charts series={totals} />
            <section aria-labelledby="busiest">
                <h2 id="busiest">Services with the most new connections</h2>
                {busiest.length === 0 ? (
                    <p class="empty">No figures of services yet.</p>
                ) : (
                    <table class="plain">
                        <thead>
                            <tr>
                                <th scope="col">Service</th>
                                <th scope="col" class="wide">
                                    <span class="hidden">Trend</span>
                                </th>
                                <th scope="col" class="number">
                                    Connections
                                </th>
                                <th scope="col" class="number wide">
                                    Incoming
                                </th>
                                <th scope="col" class="number wide">
                                    Outgoing
                                </th>
                                <th scope="col" class="number">
                                    Servers
                                </th>
                            </tr>
                        </thead>
                        <tbody>
                            {busiest.map((service) => (
                                <tr key={service.id}>
                                    <th scope="row">
                                        <a href={href(['services', service.id])}>{service.id}</a>
                                    </th>
                                    <td class="wide">
                                        <Sparkline values={sparks.of(service.id)} />
                                    </td>
                                    <td class="number">{rate(service.rates?.connections)}</td>
                                    <td class="number wide">{byteRate(service.rates?.bytes_in)}</td>
                                    <td class="number wide">{byteRate(service.rates?.bytes_out)}</td>
                                    <td class="number">
                                        <Availability service={service} />
                                    </td>
                                </tr>
                            ))}
                        </tbody>
                    </table>
                )}
                <p>
                    <a href={href(['services'])}>All services</a>
                </p>
            </section>
            <section aria-labelledby="since">
                <h2 id="since">Since the counters were zeroed</h2>
                <Tiles
                    entries={[
                        ['Connections', count(current?.stats.connections)],
                        ['Packets in', count(current?.stats.packets_in)],
                        ['Packets out', count(current?.stats.packets_out)],
                        ['Bytes in', bytes(current?.stats.bytes_in)],
                        ['Bytes out', bytes(current?.stats.bytes_out)],
                    ]}
                />
            </section>
        </div>
    );
}

/** How many servers of a service get new connections. */
export function Availability({ service: { available_server_count: available, server_count } }: { service: ServiceFrame }) {
    return (
        <span class={available === 0 ? 'bad' : undefined}>
            {count(available)} of {count(server_count)}
        </span>
    );
}

function connections({ rates, stats }: ServiceFrame): number {
    return rates ? rates.connections : stats.connections / 1e12;
}
