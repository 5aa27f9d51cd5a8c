// A TypeScript client, with the types that openapi-typescript generates from the OpenAPI document:
// create, list, get-edit-put, errors. Usage: IPVSD_TEST_TOKEN=TOKEN node test.js http://ADDRESS

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Server = components["schemas"]["Server"];
type Service = components["schemas"]["Service"];
type Query = NonNullable<paths["/v1/services"]["get"]["parameters"]["query"]>;

declare const process: { argv: string[]; env: Record<string, string | undefined> };
const baseUrl = process.argv[2];
check(baseUrl !== undefined, "usage: node test.js http://ADDRESS");
const headers = { Authorization: `Bearer ${process.env["IPVSD_TEST_TOKEN"]}` };
const client = createClient<paths>({ baseUrl, headers });
const service = "tcp-192.0.2.201-80";
const path = { service };

function check(condition: boolean, message: string): asserts condition {
    if (!condition) throw new Error(message);
}

function equal<T>(actual: T, expected: T, message: string): void {
    check(Object.is(actual, expected), `${message}: ${String(actual)} instead of ${String(expected)}`);
}

async function get(): Promise<{ body: Service; etag: string }> {
    const { data, error, response } = await client.GET("/v1/services/{service}", { params: { path } });
    check(error === undefined, `get: ${JSON.stringify(error)}`);
    const etag = response.headers.get("ETag");
    check(etag !== null, "get: no ETag");
    return { body: data, etag };
}

function servers(body: Service): Server[] {
    check(body.servers != null, "servers are included by default");
    return body.servers;
}

async function create(): Promise<void> {
    const body: Service = {
        id: service,
        scheduler: "wrr",
        persistence: { timeout_seconds: 60 },
        servers: [{ address: "192.0.2.10", forwarding: "masquerade", weight: 2 }],
    };
    const { data, error } = await client.POST("/v1/services", { body });
    check(error === undefined, `create: ${JSON.stringify(error)}`);
    equal(data.id, service, "id");
    equal(data.changed, true, "changed");
    equal(servers(data)[0]?.weight, 2, "weight");
    const again = await client.POST("/v1/services", { body });
    equal(again.response.status, 409, "status");
    equal(again.error?.reason, "SERVICE_EXISTS", "reason");

    const batch = await client.POST("/v1/services/{service}/servers", {
        params: { path },
        body: { servers: [{ address: "192.0.2.11" }, { address: "192.0.2.12", weight: 0 }] },
    });
    check(batch.data !== undefined && "servers" in batch.data, "the response has the form of the request");
    equal(batch.data.servers?.length, 2, "number of servers");
}

async function list(): Promise<void> {
    const query: Query = {
        include: ["stats", "servers"],
        sort: ["-rates.connections"],
        protocol: "tcp",
        page_size: 100,
    };
    const { data, error } = await client.GET("/v1/services", { params: { query } });
    check(error === undefined, `list: ${JSON.stringify(error)}`);
    const found = data.services.find(({ id }) => id === service);
    check(found !== undefined, "the service is listed");
    equal(found.stats?.bytes_in, 0, "bytes_in");
    equal(found.rates, undefined, "rates are not included");
    equal(data.next_page_token, undefined, "next_page_token");
}

async function getEditPut(): Promise<void> {
    const { body, etag } = await get();
    const unchanged = await client.PUT("/v1/services/{service}", { params: { path }, body });
    equal(unchanged.data?.changed, false, "a body from GET changes nothing");

    const first = servers(body)[0];
    check(first !== undefined, "there is a server");
    first.weight = (first.weight ?? 0) + 7;
    body.scheduler = "wlc";
    body.persistence = null;
    const params = { path, header: { "If-Match": etag } };
    const dry = await client.PUT("/v1/services/{service}", {
        params: { ...params, query: { dry_run: true } },
        body,
    });
    check(dry.error === undefined, `dry run: ${JSON.stringify(dry.error)}`);
    equal(dry.data.changed, true, "the dry run would change something");
    equal((await get()).etag, etag, "the dry run changes nothing");

    const { data, error } = await client.PUT("/v1/services/{service}", { params, body });
    check(error === undefined, `put: ${JSON.stringify(error)}`);
    equal(data.changed, true, "changed");
    equal(data.scheduler, "wlc", "scheduler");
    equal(data.persistence, undefined, "persistence");
    equal(servers(data).find(({ id }) => id === first.id)?.weight, first.weight, "weight");

    const late = await client.PUT("/v1/services/{service}", { params, body });
    equal(late.response.status, 412, "status of a stale ETag");
    equal(late.error?.reason, "REVISION_MISMATCH", "reason of a stale ETag");
}

async function patch(): Promise<void> {
    const params = { path: { service, server: "192.0.2.10-80" } };
    const url = "/v1/services/{service}/servers/{server}";
    const zero = await client.PATCH(url, { params, body: { weight: 0 } });
    equal(zero.data?.weight, 0, "weight");
    const reset = await client.PATCH(url, { params, body: { weight: null } });
    equal(reset.data?.weight, 1, "null resets to the default");
    const { data } = await client.GET(url, { params: { ...params, query: { include: ["rates"] } } });
    equal(data?.forwarding, "masquerade", "forwarding");
    equal(data?.rates?.connections, 0, "rates");
}

async function errors(): Promise<void> {
    const missing = await client.GET("/v1/services/{service}", {
        params: { path: { service: "udp-192.0.2.201-53" } },
    });
    equal(missing.response.status, 404, "status");
    equal(missing.error?.reason, "SERVICE_NOT_FOUND", "reason");
    const invalid = await client.PUT("/v1/services/{service}/servers/{server}", {
        params: { path: { service, server: "192.0.2.13-80" } },
        body: { weight: 70000 },
    });
    equal(invalid.response.status, 400, "status");
    equal(invalid.error?.errors?.[0]?.field, "weight", "field");
    const kernel = await client.PATCH("/v1/services/{service}", { params: { path }, body: { scheduler: "wrd" } });
    equal(kernel.error?.reason, "SCHEDULER_UNAVAILABLE", "reason");
    equal(kernel.error?.errno, "ENOENT", "errno");
}

async function others(): Promise<void> {
    const settings = await client.GET("/v1/settings");
    check(settings.data !== undefined, "settings");
    const same = await client.PATCH("/v1/settings", {
        body: { expire_nodest_conn: settings.data.expire_nodest_conn ?? false },
    });
    equal(same.data?.changed, false, "changed");
    const connections = await client.GET("/v1/connections", { params: { query: { count_by: "state" } } });
    check(connections.data !== undefined && typeof connections.data === "object", "connections");
    const info = await client.GET("/v1/info");
    equal(info.data?.kernel.kind, "fake", "kernel");
    const header = { "X-Request-Id": "test" };
    const deleted = await client.DELETE("/v1/services/{service}", { params: { path, header } });
    equal(deleted.response.status, 204, "status");
    const gone = await client.DELETE("/v1/services/{service}", {
        params: { path, header, query: { allow_missing: true } },
    });
    equal(gone.response.status, 204, "status");
}

for (const step of [create, list, getEditPut, patch, errors, others]) {
    await step();
}
