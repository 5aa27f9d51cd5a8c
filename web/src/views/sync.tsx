import { useEffect } from 'preact/hooks';

import { watch } from '../live';
import { Facts, Fault, Heading, useLoaded } from '../parts';
import type { SyncDaemon } from '../types';

const NAMES: Record<string, string> = {
    interface: 'Interface',
    interface_state: 'State of the interface',
    sync_id: 'Sync id',
    max_length: 'Longest message (bytes)',
    multicast_group: 'Multicast group',
    multicast_port: 'UDP port',
    multicast_ttl: 'TTL',
};

export function SyncDaemons() {
    useEffect(() => watch(''), []);
    const [state] = useLoaded<{ sync_daemons: SyncDaemon[] }>('v1/sync-daemons', 5);
    const { value, error } = state.value;
    return (
        <div class="view">
            <Heading>Sync daemons</Heading>
            <p>They copy the connection table between directors: a master sends, a backup receives.</p>
            {error !== undefined && <Fault error={error} />}
            {value?.sync_daemons.length === 0 && <p class="empty">No sync daemon runs.</p>}
            {value?.sync_daemons.map((daemon) => (
                <section key={daemon.state}>
                    <h2>{daemon.state === 'master' ? 'Master' : 'Backup'}</h2>
                    {daemon.interface_state !== 'ok' && daemon.interface_state !== 'unknown' && (
                        <p class="note error">The interface is {daemon.interface_state}: nothing is synchronised.</p>
                    )}
                    <Facts
                        entries={Object.entries(NAMES)
                            .filter(([name]) => daemon[name] !== undefined)
                            .map(([name, label]) => [label, String(daemon[name])])}
                    />
                </section>
            ))}
        </div>
    );
}
