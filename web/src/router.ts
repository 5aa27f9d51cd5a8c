// The view is in the fragment of the address: #/services/ID?parameter=value.

import { signal } from '@preact/signals';

export interface Route {
    segments: string[];
    parameters: URLSearchParams;
}

export const route = signal<Route>(parse(location.hash));

window.addEventListener('hashchange', () => {
    route.value = parse(location.hash);
});

/** Changes the parameters of the view, without an entry in the browser's history. */
export function setParameters(changes: Record<string, string>): void {
    const { segments, parameters } = route.peek();
    const next = new URLSearchParams(parameters);
    for (const [name, value] of Object.entries(changes)) {
        if (value) next.set(name, value);
        else next.delete(name);
    }
    const query = next.toString();
    history.replaceState(null, '', href(segments) + (query ? `?${query}` : ''));
    route.value = { segments, parameters: next };
}

export function href(segments: string[]): string {
    return '#/' + segments.map(encodeURIComponent).join('/');
}

function parse(hash: string): Route {
    const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
    return {
        segments: path.split('/').filter(Boolean).map(decode),
        parameters: new URLSearchParams(query),
    };
}

function decode(text: string): string {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}
