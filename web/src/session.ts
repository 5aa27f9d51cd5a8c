// Who uses the page. The token is sent once, for a session whose cookie no script can read; it is not kept.

import { signal } from '@preact/signals';

import { ApiError, get, send, setUnauthenticated } from './api';
import type { Permission, Principal } from './types';

export type Session =
    /** Not known yet: the daemon has not answered. */
    | { state: 'unknown' }
    /** Nobody: the log-in is shown, with the reason if a session has ended. */
    | { state: 'none'; ended: string }
    | { state: 'known'; principal: Principal };

export const session = signal<Session>({ state: 'unknown' });

setUnauthenticated((error) => endSession(error.detail));

/** Shows the log-in. */
export function endSession(reason: string): void {
    const ended = session.peek().state === 'known' ? `The session has ended: ${reason}` : '';
    if (session.peek().state !== 'none') session.value = { state: 'none', ended };
}

/** Asks the daemon who it takes the page for. */
export async function identify(): Promise<void> {
    try {
        const principal = await get<Principal>('v1/whoami', { expects401: true });
        session.value = { state: 'known', principal };
    } catch (error) {
        if (!(error instanceof ApiError && error.status === 401)) throw error;
        endSession(error.detail);
    }
}

export async function logIn(token: string): Promise<void> {
    await send('POST', 'v1/session', { headers: { Authorization: `Bearer ${token}` }, expects401: true });
    await identify();
}

export async function logOut(): Promise<void> {
    await send('DELETE', 'v1/session', { expects401: true });
    session.value = { state: 'none', ended: '' };
}

/** Whether the page has a session that can be ended. */
export function hasSession(principal: Principal): boolean {
    return principal.kind === 'token' || principal.kind === 'jwt';
}

/** Whether the principal may do something, to a service or to all. */
export function permission(verb: string, service?: string): Promise<Permission> {
    const query = new URLSearchParams(service ? { verb, service } : { verb });
    return get<Permission>(`v1/can-i?${query}`);
}
