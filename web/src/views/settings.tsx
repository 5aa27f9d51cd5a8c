import { useEffect } from 'preact/hooks';

import { duration } from '../format';
import { watch } from '../live';
import { Facts, Fault, Heading, useLoaded } from '../parts';

type Values = Record<string, number | boolean | string | number[]>;

const TIMEOUTS: Record<string, string> = {
    tcp_seconds: 'TCP',
    tcp_fin_seconds: 'TCP after FIN',
    udp_seconds: 'UDP',
};

export function Settings() {
    useEffect(() => watch(''), []);
    const [timeouts] = useLoaded<Values>('v1/timeouts', 10);
    const [settings] = useLoaded<Values>('v1/settings', 10);
    return (
        <div class="view">
            <Heading>Settings</Heading>
            <section aria-labelledby="timeouts">
                <h2 id="timeouts">Timeouts of connections</h2>
                {timeouts.value.error !== undefined && <Fault error={timeouts.value.error} />}
                <Facts
                    entries={Object.entries(TIMEOUTS)
                        .filter(([name]) => timeouts.value.value?.[name] !== undefined)
                        .map(([name, label]) => [label, duration(Number(timeouts.value.value?.[name]))])}
                />
            </section>
            <section aria-labelledby="sysctls">
                <h2 id="sysctls">Settings of the kernel</h2>
                <p class="small">
                    Below <code>/proc/sys/net/ipv4/vs</code>; the documentation of Linux describes them (ipvs-sysctl).
                </p>
                {settings.value.error !== undefined && <Fault error={settings.value.error} />}
                <table class="plain narrow">
                    <thead>
                        <tr>
                            <th scope="col">Setting</th>
                            <th scope="col" class="number">
                                Value
                            </th>
                        </tr>
                    </thead>
                    <tbody>
                        {Object.entries(settings.value.value ?? {})
                            .filter(([name]) => name !== 'etag')
                            .map(([name, value]) => (
                                <tr key={name}>
                                    <th scope="row">
                                        <code>{name}</code>
                                    </th>
                                    <td class="number">{Array.isArray(value) ? value.join(' ') : String(value)}</td>
                                </tr>
                            ))}
                    </tbody>
                </table>
            </section>
        </div>
    );
}
