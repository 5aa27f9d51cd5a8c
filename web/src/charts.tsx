// The charts of the director, and of a service.

import { Chart } from './chart';
import { byteRate, count, rate } from './format';
import type { Series } from './series';

export function Charts({ series: { times, values, revision } }: { series: Series }) {
    const line = (label: string, colour: string, name: keyof typeof values) => ({ label, colour, values: values[name] });
    const common = { times, version: revision.value };
    return (
        <div class="charts">
            <Chart title="New connections" format={rate} lines={[line('per second', 'blue', 'connections')]} {...common} />
            <Chart
                title="Bytes"
                format={byteRate}
                lines={[line('incoming', 'blue', 'bytes_in'), line('outgoing', 'orange', 'bytes_out')]}
                {...common}
            />
            <Chart
                title="Connections"
                format={count}
                lines={[line('active', 'blue', 'active'), line('inactive', 'orange', 'inactive')]}
                {...common}
            />
        </div>
    );
}
