// Parts that several views have.

import { useSignal, type Signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import { ApiError, get, messageOf } from './api';

/** An error with the remedy, as the daemon names it. */
export function Fault({ error, children }: { error: unknown; children?: ComponentChildren }) {
    return (
        <div class="note error" role="alert">
            <p>
                {children}
                {messageOf(error)}
            </p>
            {error instanceof ApiError && error.hint && <p>Remedy: {error.hint}.</p>}
            {error instanceof ApiError && error.requestId && <p class="small">Request {error.requestId}</p>}
        </div>
    );
}

export function Heading({ children }: { children: ComponentChildren }) {
    return (
        <h1 tabIndex={-1} id="heading">
            {children}
        </h1>
    );
}

export interface Loaded<T> {
    value?: T;
    error?: unknown;
}

/** What a path of the API has, read again every `seconds`, and on `reload`. */
export function useLoaded<T>(path: string, seconds: number): [Signal<Loaded<T>>, () => void] {
    const state = useSignal<Loaded<T>>({});
    const turn = useSignal(0);
    useEffect(() => {
        const abort = new AbortController();
        let timer: number | undefined;
        const load = async () => {
            try {
                state.value = { value: await get<T>(path, { signal: abort.signal }) };
            } catch (error) {
                if (abort.signal.aborted) return;
                // What was read before stays, unless it is not permitted or not there any more.
                const isGone = error instanceof ApiError && error.status >= 400 && error.status < 500;
                state.value = { value: isGone ? undefined : state.peek().value, error };
            }
            if (!abort.signal.aborted) timer = window.setTimeout(load, 1000 * seconds);
        };
        void load();
        return () => {
            abort.abort();
            window.clearTimeout(timer);
        };
    }, [path, turn.value]);
    return [state, () => turn.value++];
}

/** A question with a form. The browser keeps the focus in it, and Escape closes it. */
export function Dialog({
    title,
    action,
    onConfirm,
    onClose,
    children,
}: {
    title: string;
    action: string;
    onConfirm: () => Promise<void>;
    onClose: () => void;
    children: ComponentChildren;
}) {
    const element = useRef<HTMLDialogElement>(null);
    const error = useSignal<unknown>(undefined);
    const isBusy = useSignal(false);
    useEffect(() => element.current?.showModal(), []);
    const confirm = async (event: Event) => {
        event.preventDefault();
        isBusy.value = true;
        error.value = undefined;
        try {
            await onConfirm();
            onClose();
        } catch (reason) {
            error.value = reason;
        } finally {
            isBusy.value = false;
        }
    };
    return (
        <dialog ref={element} aria-labelledby="dialog-title" onClose={onClose}>
            <form onSubmit={confirm}>
                <h2 id="dialog-title">{title}</h2>
                {children}
                {error.value !== undefined && <Fault error={error.value} />}
                <div class="buttons">
                    <button type="button" onClick={onClose}>
                        Cancel
                    </button>
                    <button type="submit" class="primary" disabled={isBusy.value}>
                        {action}
                    </button>
                </div>
            </form>
        </dialog>
    );
}

/** Names and values. */
export function Facts({ entries }: { entries: [string, ComponentChildren][] }) {
    return (
        <dl class="facts">
            {entries.map(([name, value]) => (
                <div key={name}>
                    <dt>{name}</dt>
                    <dd>{value}</dd>
                </div>
            ))}
        </dl>
    );
}

export function Tiles({ entries }: { entries: [string, string][] }) {
    return (
        <dl class="tiles">
            {entries.map(([name, value]) => (
                <div key={name}>
                    <dt>{name}</dt>
                    <dd>{value}</dd>
                </div>
            ))}
        </dl>
    );
}
