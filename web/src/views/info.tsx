import { useEffect } from 'preact/hooks';

import { count } from '../format';
import { watch } from '../live';
import { Facts, Fault, Heading, useLoaded } from '../parts';
import { session } from '../session';
import type { Info } from '../types';

const LINKS: [path: string, label: string][] = [
    ['../docs/', 'Reference of the HTTP API'],
    ['../openapi.json', 'Description of the API (OpenAPI)'],
    ['../metrics', 'Metrics for Prometheus'],
    ['../v1/listing', 'The table as ipvsadm -L prints it'],
    ['licenses.txt', 'Licences of the packages in this page'],
];

export function InfoView() {
    useEffect(() => watch(''), []);
    const [state] = useLoaded<Info>('v1/info', 30);
    const { value, error } = state.value;
    return (
        <div class="view">
            <Heading>Info</Heading>
            {error !== undefined && <Fault error={error} />}
            {value && <Facts entries={factsOf(value)} />}
            {value && (
                <section aria-labelledby="schedulers">
                    <h2 id="schedulers">Schedulers</h2>
                    <table class="plain narrow">
                        <thead>
                            <tr>
                                <th scope="col">Name</th>
                                <th scope="col">Description</th>
                                <th scope="col">Loaded</th>
                            </tr>
                        </thead>
                        <tbody>
                            {value.schedulers.map(({ name, description, loaded }) => (
                                <tr key={name}>
                                    <th scope="row">{name}</th>
                                    <td>{description}</td>
                                    <td>{loaded ? 'yes' : 'no'}</td>
                                </tr>
                            ))}
                        </tbody>
                    </table>
                </section>
            )}
            <section aria-labelledby="links">
                <h2 id="links">More</h2>
                <ul>
                    {LINKS.map(([path, label]) => (
                        <li key={path}>
                            <a href={path}>{label}</a>
                        </li>
                    ))}
                </ul>
            </section>
        </div>
    );
}

function factsOf({ version, kernel, namespace, persistence_engines }: Info): [string, string][] {
    const current = session.value;
    const who = current.state === 'known' ? current.principal : undefined;
    return [
        ['ipvsd', version],
        ['Kernel', kernel.kind === 'fake' ? 'simulated' : kernel.release],
        ['IPVS', kernel.ipvs_version],
        ['Buckets of the connection table', count(kernel.connection_table_size)],
        ['Updates counters', kernel.estimation === false ? 'no' : 'yes'],
        ['Features', kernel.features.join(', ') || 'none'],
        ['Persistence engines', persistence_engines.join(', ') || 'none'],
        ['Network namespace', namespace ?? "that of the daemon"],
        ['You are', who ? `${who.name}, role ${who.role ?? 'none'}, recognised by ${who.kind}` : ''],
        ['Your scope', who?.scope ? JSON.stringify(who.scope) : 'everything'],
    ];
}
