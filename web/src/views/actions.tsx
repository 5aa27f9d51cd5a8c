// What can be done to a server: each is confirmed in a dialog.

import { useRef } from 'preact/hooks';

import { segment, write } from '../api';
import { count } from '../format';
import { Dialog, Fault, useLoaded } from '../parts';
import type { Drain } from '../types';
import type { Row } from './service';

export interface Action {
    kind: 'weight' | 'drain' | 'undrain';
    row: Row;
}

interface Properties {
    service: string;
    action: Action;
    onClose: () => void;
    /** Something was changed. */
    onDone: () => void;
}

export function Actions({ action, ...rest }: Properties) {
    const Form = { weight: Weight, drain: DrainServer, undrain: EndDrain }[action.kind];
    return <Form row={action.row} {...rest} />;
}

interface FormProperties extends Omit<Properties, 'action'> {
    row: Row;
}

function Weight({ service, row: { server, drain }, onClose, onDone }: FormProperties) {
    const input = useRef<HTMLInputElement>(null);
    const confirm = async () => {
        const path = `v1/services/${segment(service)}/servers/${segment(server.id)}`;
        // Fails if somebody has changed the server since it was read.
        await write('PATCH', path, { body: { weight: Number(input.current!.value) }, headers: { 'If-Match': `"${server.etag}"` } });
        onDone();
    };
    return (
        <Dialog title={`Weight of ${server.id}`} action="Set weight" onConfirm={confirm} onClose={onClose}>
            <p>
                Service {service}. A server of weight 0 gets no new connections; existing ones continue.
                {drain && ' A new weight ends the drain of this server.'}
            </p>
            <label>
                Weight (0 to 65535)
                <input ref={input} type="number" min={0} max={65535} step={1} required defaultValue={String(server.weight)} />
            </label>
        </Dialog>
    );
}

function DrainServer({ service, row: { server }, onClose, onDone }: FormProperties) {
    const deadline = useRef<HTMLInputElement>(null);
    const confirm = async () => {
        const seconds = deadline.current!.value;
        const body = { server: server.id, services: [service], ...(seconds && { deadline_seconds: Number(seconds) }) };
        await write('POST', 'v1/drains', { body });
        onDone();
    };
    return (
        <Dialog title={`Drain ${server.id}`} action="Drain" onConfirm={confirm} onClose={onClose}>
            <p>
                In service {service}, the server gets no new connections until the drain is ended.{' '}
                {count(server.active_connections + server.inactive_connections)} existing connections continue.
            </p>
            <label>
                Report when it is not drained after (seconds, optional)
                <input ref={deadline} type="number" min={1} max={2678400} step={1} />
            </label>
        </Dialog>
    );
}

function EndDrain({ row: { server, drain: id = '' }, onClose, onDone }: FormProperties) {
    const path = `v1/drains/${segment(id)}`;
    const [state] = useLoaded<Drain>(path, 60);
    const confirm = async () => {
        await write('DELETE', path);
        onDone();
    };
    const { value: drain, error } = state.value;
    const others = (drain?.members.length ?? 1) - 1;
    return (
        <Dialog title={`End the drain of ${server.id}`} action="End drain" onConfirm={confirm} onClose={onClose}>
            <p>
                The server gets its weight {count(server.weight)} again.
                {others > 0 && ` The drain also ends for ${count(others)} others that it covers.`}
                {drain?.table && ` The drain belongs to the table of ${drain.table}.`}
            </p>
            {drain && drain.blockers.length > 0 && (
                <>
                    <p>New connections can come in spite of the drain:</p>
                    <ul>
                        {drain.blockers.map((text) => (
                            <li key={text}>{text}</li>
                        ))}
                    </ul>
                </>
            )}
            {error !== undefined && <Fault error={error} />}
        </Dialog>
    );
}
