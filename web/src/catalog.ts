// The configuration of all services. Statistics do not have it.

import { signal } from '@preact/signals';

import { get } from './api';
import type { Service, ServiceList } from './types';

/** Age in milliseconds at which it is read again. */
const MAX_AGE = 30_000;
/** Least time in milliseconds between two reads, while services come and go. */
const MIN_AGE = 4000;

export const catalog = signal<Map<string, Service> | undefined>(undefined);
export const catalogError = signal<unknown>(undefined);

let readAt = 0;
let isReading = false;

/** Reads the services if those that are known are old, or are others than these. */
export async function refresh(ids: Iterable<string>, isCurrent: boolean): Promise<void> {
    const age = Date.now() - readAt;
    const known = catalog.peek();
    const list = [...ids];
    const differs = isCurrent && (known?.size !== list.length || list.some((id) => !known.has(id)));
    if (isReading || age < (differs ? MIN_AGE : MAX_AGE)) return;
    isReading = true;
    try {
        catalog.value = await read();
        catalogError.value = undefined;
    } catch (error) {
        catalogError.value = error;
    } finally {
        readAt = Date.now();
        isReading = false;
    }
}

async function read(): Promise<Map<string, Service>> {
    const services = new Map<string, Service>();
    let token = '';
    do {
        const query = new URLSearchParams({ include: 'none' });
        if (token) query.set('page_token', token);
        const page: ServiceList = await get(`v1/services?${query}`);
        for (const service of page.services) services.set(service.id, service);
        token = page.next_page_token ?? '';
    } while (token);
    return services;
}
