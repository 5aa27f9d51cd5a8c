// The parts of the API that the page uses. /openapi.json describes them.

export interface Counters {
    connections: number;
    packets_in: number;
    packets_out: number;
    bytes_in: number;
    bytes_out: number;
}

export interface ServerFrame {
    id: string;
    weight: number;
    active_connections: number;
    inactive_connections: number;
    persistent_connections: number;
    stats: Counters;
    rates?: Counters;
}

export interface ServiceFrame {
    id: string;
    stats: Counters;
    rates?: Counters;
    server_count: number;
    available_server_count: number;
    active_connections: number;
    inactive_connections: number;
    servers?: ServerFrame[];
}

export interface Totals {
    stats: Counters;
    rates?: Counters;
    service_count: number;
    server_count: number;
    active_connections: number;
    inactive_connections: number;
}

/** What a statistics stream sends, and a point of a history. */
export interface Frame {
    time: string;
    /** Absent in the first frame. */
    interval_seconds?: number;
    estimation: boolean;
    totals?: Totals;
    services?: ServiceFrame[];
}

export interface History {
    interval_seconds: number;
    points: Frame[];
}

export interface Hold {
    kind: string;
    id: string;
    weight: number;
}

export interface Server {
    id: string;
    address: string;
    port: number;
    forwarding: string | number;
    weight: number;
    effective_weight: number;
    upper_threshold: number;
    lower_threshold: number;
    holds?: Hold[];
    membership?: string;
    active_connections: number;
    inactive_connections: number;
    persistent_connections: number;
    etag: string;
}

export interface Service {
    id: string;
    protocol?: string | number;
    address?: string;
    port?: number;
    fwmark?: number;
    family?: string;
    scheduler: string;
    scheduler_flags: string[];
    one_packet: boolean;
    persistence?: { timeout_seconds: number; netmask?: string };
    persistence_engine?: string;
    owner?: string;
    labels?: Record<string, string>;
    servers?: Server[];
    etag: string;
}

export interface ServiceList {
    services: Service[];
    next_page_token?: string;
}

export interface DrainMember {
    service: string;
    server: string;
    active_connections: number;
    inactive_connections: number;
    persistent_connections: number;
    state: string;
}

export interface Drain {
    id: string;
    server: string;
    state: string;
    deadline_seconds?: number;
    then: string;
    members: DrainMember[];
    blockers: string[];
    table?: string;
}

export interface Principal {
    name: string;
    kind: string;
    role?: string;
    scope?: unknown[];
    scope_reads?: boolean;
}

export interface Permission {
    allowed: boolean;
    reason?: string;
}

export interface Endpoint {
    address: string;
    port?: number;
}

export interface Connection {
    protocol: string | number;
    client: Endpoint;
    virtual?: Endpoint;
    fwmark?: number;
    destination: Endpoint;
    state: string;
    template: boolean;
    expires_in_seconds: number;
}

export interface SyncDaemon {
    state: string;
    interface: string;
    sync_id: number;
    interface_state: string;
    [key: string]: unknown;
}

export interface Info {
    version: string;
    namespace?: string;
    kernel: {
        kind: string;
        release: string;
        ipvs_version: string;
        connection_table_size: number;
        estimation?: boolean;
        features: string[];
        [key: string]: unknown;
    };
    schedulers: { name: string; description: string; loaded: boolean }[];
    persistence_engines: string[];
    [key: string]: unknown;
}
