// Requests to the daemon. Paths are relative to the page, so that it works behind a proxy with a prefix.

const BASE = new URL('../', document.baseURI);

/** An error of the API (RFC 9457), or `status` 0 if there was no response. */
export class ApiError extends Error {
    constructor(
        readonly status: number,
        readonly reason: string,
        readonly detail: string,
        readonly hint = '',
        readonly requestId = '',
        /** Seconds after which it can be tried again, if the daemon says so. */
        readonly retryAfter = 0,
    ) {
        super(detail);
    }
}

/** Is called when the daemon does not recognise the sender. */
let onUnauthenticated: (error: ApiError) => void = () => {};

export function setUnauthenticated(handler: (error: ApiError) => void): void {
    onUnauthenticated = handler;
}

export interface Options {
    body?: unknown;
    headers?: Record<string, string>;
    signal?: AbortSignal;
    /** Whether 401 is an answer, not the end of the session. */
    expects401?: boolean;
}

/** The response to a request, if it is a success. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json', ...options.headers };
    // The daemon refuses writes that a page of another site could have made a browser send.
    if (method !== 'GET') headers['X-Request-Id'] = requestId();
    if (options.body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
        response = await fetch(new URL(path, BASE), {
            method,
            headers,
            signal: options.signal,
            body: options.body === undefined ? undefined : JSON.stringify(options.body),
            credentials: 'same-origin',
            redirect: 'error',
            cache: 'no-store',
        });
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new ApiError(0, 'NO_RESPONSE', 'The daemon does not respond.');
    }
    if (response.ok) return response;
    const error = await problem(response);
    if (error.status === 401 && !options.expects401) onUnauthenticated(error);
    throw error;
}

export async function get<T>(path: string, options?: Options): Promise<T> {
    return (await (await send('GET', path, options)).json()) as T;
}

export async function write<T>(method: string, path: string, options?: Options): Promise<T | undefined> {
    const response = await send(method, path, options);
    return response.status === 204 ? undefined : ((await response.json()) as T);
}

/** A segment of a path: ids of services have colons and percent signs. */
export const segment = encodeURIComponent;

export function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

async function problem(response: Response): Promise<ApiError> {
    const retryAfter = Number(response.headers.get('Retry-After')) || 0;
    try {
        const body = (await response.json()) as Record<string, string>;
        const detail = body.detail || body.title || `status ${response.status}`;
        return new ApiError(response.status, body.reason ?? '', detail, body.hint, body.request_id, retryAfter);
    } catch {
        return new ApiError(response.status, '', `The daemon answered with status ${response.status}.`, '', '', retryAfter);
    }
}

function requestId(): string {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    return 'ui-' + [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
