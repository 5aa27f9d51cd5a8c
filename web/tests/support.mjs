// What the tests of the page share: daemons, browsers, and what every page must keep.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { chromium } from 'playwright-core';

const ROOT = resolve(import.meta.dirname, '../..');
export const IPVSD = process.env.IPVSD ?? join(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'debug/ipvsd');
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
/** Time within which something must happen, in milliseconds. Other suites may run beside. */
export const PATIENCE = 60_000;
/** Directory of screenshots. Without it there are none. */
const IMAGES = process.env.SCREENSHOTS;

export const VIEWS = ['', 'services', 'services/tcp-192.0.2.1-80', 'connections', 'sync', 'settings', 'info'];

/** A program that serves the API, once it has printed where. */
export class Program {
    constructor(command, args, found, variables = {}) {
        this.output = '';
        const env = { ...process.env, ...variables };
        this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
        this.ended = new Promise((done) => this.process.once('exit', done));
        this.port = new Promise((done, fail) => {
            const read = (chunk) => {
                this.output += chunk;
                const match = found.exec(this.output);
                if (match) done(Number(match[1]));
            };
            this.process.stdout.on('data', read);
            this.process.stderr.on('data', read);
            this.process.once('error', fail);
            this.process.once('exit', () => fail(new Error(`${command} has ended: ${this.output}`)));
        });
    }

    async stop() {
        this.process.kill('SIGTERM');
        await this.ended;
    }
}

/** A daemon with the simulated kernel. `roles` names the tokens of its policy; without, it needs none. */
export class Daemon {
    static async start(roles) {
        const daemon = new Daemon();
        daemon.directory = mkdtempSync(join(tmpdir(), 'ipvsd-page-'));
        daemon.roles = roles;
        daemon.tokens = Object.fromEntries((roles ?? []).map((role) => [role, `ipvsd_${randomBytes(24).toString('hex')}`]));
        if (roles) daemon.writePolicy({});
        await daemon.run(0);
        return daemon;
    }

    /** Writes the policy. `others` gives tokens another role than the one that they are named after. */
    writePolicy(others) {
        const entries = this.roles.map((role) => {
            const hash = createHash('sha256').update(this.tokens[role]).digest('hex');
            return `[[token]]\nname = "${role}"\nsha256 = "${hash}"\nrole = "${others[role] ?? role}"\n`;
        });
        writeFileSync(this.policy, entries.join('\n'), { mode: 0o600 });
    }

    get policy() {
        return join(this.directory, 'policy.toml');
    }

    async run(port) {
        const access = this.roles ? ['--policy', this.policy] : ['--dev'];
        const state = ['--state-dir', join(this.directory, 'state')];
        const args = ['--kernel', 'fake', '--listen', `127.0.0.1:${port}`, ...access, ...state];
        // Debug code reads a large table slowly, and the daemon would then read it rarely.
        const variables = { IPVSD_STATS_MAX_LOAD_PERCENT: '100' };
        this.program = new Program(IPVSD, args, /listening.*127\.0\.0\.1:(\d+)/, variables);
        this.port = await this.program.port;
        this.url = `http://127.0.0.1:${this.port}/`;
    }

    async stop() {
        await this.program.stop();
    }

    /** Starts it again, on the same port. */
    async restart() {
        await this.run(this.port);
    }

    /** Has it read its policy again. */
    reload() {
        this.program.process.kill('SIGHUP');
    }

    async remove() {
        await this.stop();
        rmSync(this.directory, { recursive: true });
    }

    api(method, path, body, token = this.tokens?.admin) {
        return request(this.url, method, path, body, token);
    }
}

export async function request(url, method, path, body, token) {
    const headers = { 'Content-Type': 'application/json', 'X-Request-Id': 'test' };
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(new URL(path, url), { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
    return text && JSON.parse(text);
}

/** A service with two servers, at port 80. */
export function service(number = 1, more = {}) {
    const servers = [1, 2].map((last) => ({ address: `192.168.10.${last}`, port: 80, weight: last }));
    return { protocol: 'tcp', address: `192.0.2.${number}`, port: 80, scheduler: 'wrr', servers, ...more };
}

export class Browser {
    static async start() {
        const browser = new Browser();
        const args = ['--no-sandbox', '--disable-dev-shm-usage'];
        browser.chromium = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
        return browser;
    }

    /** A page in a profile of its own, which records its faults. */
    async open(url, options = {}, prepare = async () => {}) {
        const { origin } = new URL(url);
        const context = await this.chromium.newContext({ viewport: { width: 1280, height: 800 }, ...options });
        context.setDefaultTimeout(PATIENCE);
        const page = await context.newPage();
        const faults = [];
        const foreign = [];
        page.on('console', (message) => {
            if (['error', 'warning'].includes(message.type())) faults.push(`${message.text()} ${message.location().url}`);
        });
        page.on('pageerror', (error) => faults.push(String(error)));
        page.on('request', (sent) => {
            if (new URL(sent.url()).origin !== origin) foreign.push(sent.url());
        });
        await prepare(page);
        await page.goto(url);
        return new Page(page, url, faults, foreign);
    }

    stop() {
        return this.chromium.close();
    }
}

export class Page {
    constructor(page, url, faults, foreign) {
        Object.assign(this, { page, url, faults, foreign });
    }

    async show(view) {
        await this.page.evaluate((hash) => (location.hash = hash), `#/${view}`);
    }

    /** Waits until the figures are those of a stream. */
    live() {
        return this.page.locator('.freshness.live').waitFor();
    }

    async text(text, within = this.page.locator('body')) {
        await within.getByText(text).first().waitFor();
    }

    /** The value of a tile. */
    async tile(name) {
        const tile = this.page.locator('.tiles > div').filter({ has: this.page.getByText(name, { exact: true }) });
        return (await tile.locator('dd').first().textContent()).trim();
    }

    async tileBecomes(name, accept) {
        await until(async () => accept(await this.tile(name)), `${name} is ${await this.tile(name)}`);
    }

    row(id) {
        return this.page.getByRole('row').filter({ hasText: id });
    }

    async logIn(token) {
        await this.page.getByLabel('Token').fill(token);
        await this.page.getByRole('button', { name: 'Log in' }).click();
    }

    async axe(name) {
        // Without the protocol of the browser, the policy of the page would refuse the script.
        if (!(await this.page.evaluate(() => 'axe' in window))) await this.page.evaluate(readAxe());
        const { violations } = await this.page.evaluate(() => window.axe.run());
        const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
        const shown = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join('; ')}`);
        assert.deepEqual(shown, [], name);
    }

    async screenshot(name) {
        if (IMAGES) await this.page.screenshot({ path: join(ROOT, IMAGES, name) });
    }

    /** Ends it. Faults of the console are failures, but for those that match `expected`. */
    async close(expected = []) {
        await this.page.context().close();
        const unexpected = this.faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)));
        assert.deepEqual(unexpected, [], 'the console');
        assert.deepEqual(this.foreign, [], 'requests to other hosts');
    }
}

let axe;
function readAxe() {
    axe ??= createRequire(import.meta.url)('node:fs').readFileSync(AXE, 'utf8');
    return axe;
}

/** Waits until a condition holds. */
export async function until(condition, what, patience = PATIENCE) {
    const end = Date.now() + patience;
    for (;;) {
        if (await condition()) return;
        if (Date.now() > end) assert.fail(`${what}, after ${patience / 1000} s`);
        await new Promise((done) => setTimeout(done, 100));
    }
}
