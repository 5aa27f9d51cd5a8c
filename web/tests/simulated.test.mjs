// The page on daemons with a simulated kernel: access, controls, faults, size.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Browser, Daemon, request, service, until, VIEWS } from './support.mjs';

let browser;
before(async () => (browser = await Browser.start()));
after(() => browser.stop());

/** Runs with a daemon that is removed at the end. */
async function withDaemon(roles, run) {
    const daemon = await Daemon.start(roles);
    try {
        await run(daemon);
    } finally {
        await daemon.remove();
    }
}

const UNAUTHENTICATED = /status of 401/;
const FORBIDDEN = /status of 403/;
const UNREACHABLE = /ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET)/;

test('every view is accessible in light and dark, on a desktop and on a phone', () =>
    withDaemon(undefined, async (daemon) => {
        for (const number of [1, 2, 3]) await daemon.api('POST', 'v1/services', service(number, { labels: { team: 'web' } }));
        await daemon.api('POST', 'v1/drains', { server: '192.168.10.1-80', services: ['tcp-192.0.2.1-80'] });
        for (const colorScheme of ['light', 'dark']) {
            for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
                const page = await browser.open(daemon.url, { colorScheme, viewport });
                assert.equal(page.page.url(), `${daemon.url}ui/`);
                await page.live();
                for (const view of VIEWS) {
                    await page.show(view);
                    await page.page.getByRole('heading', { level: 1 }).waitFor();
                    await until(() => page.page.evaluate(() => document.querySelector('dl, table, .empty') !== null), `${view} has nothing`);
                    await page.axe(`${view} ${colorScheme} ${viewport.width}`);
                    const overflow = await page.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
                    assert.ok(overflow <= 0, `${view} is ${overflow} pixels too wide for ${viewport.width}`);
                }
                await page.close();
            }
        }
    }));

test('who logs in gets a cookie that scripts cannot read, and logs out', () =>
    withDaemon(['admin', 'viewer'], async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const page = await browser.open(daemon.url);
        await page.axe('log-in');
        await page.logIn('ipvsd_wrong');
        await page.text('does not accept this token');
        await page.logIn(daemon.tokens.viewer);
        await page.live();
        await page.tileBecomes('Services', (text) => text === '1');
        const [cookie] = await page.page.context().cookies();
        assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict', JSON.stringify(cookie));
        const kept = await page.page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
        assert.deepEqual(kept, [0, 0, '']);
        await page.page.reload();
        await page.live();
        await page.page.getByRole('button', { name: 'Log out' }).click();
        await page.page.getByLabel('Token').waitFor();
        assert.equal((await page.page.context().cookies()).length, 0);
        await page.close([UNAUTHENTICATED]);
    }));

test('a viewer has no controls, and the daemon refuses what they would do', () =>
    withDaemon(['admin', 'viewer'], async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const page = await browser.open(daemon.url);
        await page.logIn(daemon.tokens.viewer);
        await page.live();
        await page.show('services/tcp-192.0.2.1-80');
        await page.text('You may not change weights or drain servers');
        for (const button of await page.row('192.168.10.1-80').getByRole('button').all()) assert.ok(await button.isDisabled());
        const status = await page.page.evaluate(async () => {
            const headers = { 'Content-Type': 'application/json' };
            const body = '{"server":"192.168.10.1-80"}';
            return (await fetch('../v1/drains', { method: 'POST', headers, body })).status;
        });
        assert.equal(status, 403);
        await page.show('connections');
        await page.text('operator', page.page.getByRole('alert'));
        assert.equal((await daemon.api('GET', 'v1/drains')).drains.length, 0);
        await page.close([UNAUTHENTICATED, FORBIDDEN]);
    }));

test('a refusal in the middle of the work is shown, with the reason', () =>
    withDaemon(['admin', 'operator'], async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const page = await browser.open(daemon.url);
        await page.logIn(daemon.tokens.operator);
        await page.live();
        await page.show('services/tcp-192.0.2.1-80');
        await page.row('192.168.10.1-80').getByRole('button', { name: /^Drain/ }).click();
        daemon.writePolicy({ operator: 'viewer' });
        daemon.reload();
        await until(
            async () => (await request(daemon.url, 'GET', 'v1/whoami', undefined, daemon.tokens.operator)).role === 'viewer',
            'the policy is not in effect',
        );
        await page.page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
        await page.text('operator', page.page.getByRole('dialog').getByRole('alert'));
        assert.equal((await daemon.api('GET', 'v1/drains')).drains.length, 0);
        await page.close([UNAUTHENTICATED, FORBIDDEN]);
    }));

test('an operator drains a server and sets a weight, with the keyboard alone', () =>
    withDaemon(['admin', 'operator'], async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const page = await browser.open(daemon.url);
        const { keyboard } = page.page;
        await until(() => page.page.evaluate(() => document.activeElement.id === 'token'), 'the log-in does not have the focus');
        await keyboard.insertText(daemon.tokens.operator);
        await keyboard.press('Enter');
        await page.live();
        await page.show('services');
        await page.page.getByRole('link', { name: 'tcp-192.0.2.1-80' }).waitFor();
        await keyboard.press('/');
        await keyboard.type('192.0.2.1-80');
        await page.page.getByRole('link', { name: 'tcp-192.0.2.1-80' }).focus();
        await keyboard.press('Enter');
        const row = page.row('192.168.10.1-80');
        const focus = (name) => row.getByRole('button', { name }).focus();
        await row.waitFor();
        await until(() => row.getByRole('button', { name: /^Drain/ }).isEnabled(), 'the control is disabled');
        await focus(/^Drain/);
        await keyboard.press('Enter');
        // The dialog has the focus; Escape leaves it without a change.
        await page.page.getByRole('dialog').waitFor();
        await keyboard.press('Escape');
        await until(async () => (await page.page.getByRole('dialog').count()) === 0, 'the dialog is open');
        assert.equal((await daemon.api('GET', 'v1/drains')).drains.length, 0);
        await focus(/^Drain/);
        await keyboard.press('Enter');
        const field = page.page.getByRole('dialog').getByRole('spinbutton');
        await until(() => field.evaluate((element) => element === document.activeElement), 'the dialog does not have the focus');
        await keyboard.type('300');
        await keyboard.press('Enter');
        await page.text('drained', row);
        const { drains } = await daemon.api('GET', 'v1/drains');
        assert.deepEqual([drains[0].server, drains[0].deadline_seconds], ['192.168.10.1-80', 300]);
        await focus(/^End drain/);
        await keyboard.press('Enter');
        await page.page.getByRole('dialog').getByRole('button', { name: 'End drain' }).focus();
        await keyboard.press('Enter');
        await row.getByRole('button', { name: /^Drain/ }).waitFor();
        await focus(/^Weight/);
        await keyboard.press('Enter');
        await page.page.getByRole('spinbutton').fill('7');
        await keyboard.press('Enter');
        await until(
            async () => (await daemon.api('GET', 'v1/services/tcp-192.0.2.1-80/servers/192.168.10.1-80')).weight === 7,
            'the weight is not 7',
        );
        await until(async () => (await row.getByRole('cell').nth(1).textContent()) === '7', 'the weight is not shown');
        await page.close([UNAUTHENTICATED]);
    }));

test('a daemon that restarts is found again, and the page says what is not current', () =>
    withDaemon(undefined, async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const page = await browser.open(daemon.url);
        await page.live();
        await page.page.evaluate(() => (window.isSamePage = true));
        await daemon.stop();
        const lost = page.page.getByTestId('lost');
        await page.text(/Connection lost/, lost);
        await page.text(/figures are \d+ s old/, lost);
        assert.equal(await page.page.getByTestId('freshness').textContent().then((text) => text.includes('Not live')), true);
        await daemon.restart();
        await page.live();
        assert.equal(await lost.count(), 0);
        assert.equal(await page.page.evaluate(() => window.isSamePage), true);
        // The simulated kernel has ended with the daemon.
        await page.tileBecomes('Services', (text) => text === '0');
        await page.close([UNREACHABLE]);
    }));

test('after a restart, who has logged in logs in again and continues where they were', () =>
    withDaemon(['admin', 'operator'], async (daemon) => {
        const page = await browser.open(daemon.url);
        await page.logIn(daemon.tokens.operator);
        await page.live();
        await page.show('settings');
        await page.text('run_estimation');
        await daemon.stop();
        await page.page.getByTestId('lost').waitFor();
        await daemon.restart();
        await page.text(/session has ended/);
        await page.logIn(daemon.tokens.operator);
        await page.live();
        await page.text('run_estimation');
        await page.close([UNAUTHENTICATED, UNREACHABLE]);
    }));

test('a refused stream is shown with its reason, beside what is known without it', () =>
    withDaemon(undefined, async (daemon) => {
        await daemon.api('POST', 'v1/services', service());
        const problem = { title: 'Busy', status: 503, detail: 'there are too many streams', reason: 'UNAVAILABLE', hint: 'end one' };
        const refusal = { status: 503, contentType: 'application/problem+json', body: JSON.stringify(problem) };
        const page = await browser.open(`${daemon.url}ui/#/services`, {}, (page) =>
            page.route('**/v1/stats/stream*', (route) => route.fulfill(refusal)),
        );
        await page.text('there are too many streams', page.page.getByRole('alert'));
        await page.text('end one', page.page.getByRole('alert'));
        await page.text('wrr', page.row('tcp-192.0.2.1-80'));
        await page.close([/status of 503/]);
    }));

test('thousands of services are searched, sorted and scrolled, and few are in the document', () =>
    withDaemon(undefined, async (daemon) => {
        const many = 5000;
        const services = Array.from({ length: many }, (_, index) => ({
            protocol: index % 2 ? 'udp' : 'tcp',
            address: `10.${index >> 8}.${index & 255}.1`,
            port: 1000 + index,
            scheduler: index % 5 ? 'wlc' : 'rr',
            servers: [{ address: '192.168.10.1', port: 80, forwarding: 'masquerade', weight: index % 100 ? 1 : 0 }],
        }));
        // On a machine that is busy, the request ends before the table is complete.
        await daemon.api('PUT', 'v1/tables/many', { services }).catch((error) => assert.match(error.message, /504/));
        await until(async () => (await daemon.api('GET', 'v1/stats')).service_count === many, 'the table is not complete');
        const page = await browser.open(`${daemon.url}ui/`);
        await page.live();
        await page.show('services');
        await page.text('5,000 services');
        const rows = () => page.page.locator('tbody tr:not(.space)').count();
        assert.ok((await rows()) < 100, `${await rows()} rows`);
        const region = page.page.getByRole('region', { name: 'Services' });
        // The time of one task, such as of a frame of all services. Generous: debug code runs beside it.
        const longest = await page.page.evaluate(async () => {
            const times = [];
            new PerformanceObserver((list) => times.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
            const table = document.querySelector('.table');
            for (let top = 0; top < table.scrollHeight; top += 5000) {
                table.scrollTop = top;
                await new Promise(requestAnimationFrame);
            }
            return Math.max(0, ...times);
        });
        console.log(`# longest task while scrolling through ${many} services: ${longest.toFixed(0)} ms`);
        await region.evaluate((element) => (element.scrollTop = element.scrollHeight));
        await page.row('udp-10.19.135.1-5999').waitFor();
        assert.ok((await rows()) < 100, `${await rows()} rows`);
        await page.page.getByRole('button', { name: 'Service' }).click();
        await region.evaluate((element) => (element.scrollTop = 0));
        await until(async () => (await page.page.locator('tbody th').first().textContent()) === 'udp-10.19.135.1-5999', 'not sorted');
        await page.page.getByLabel('Protocol').selectOption('udp');
        await page.text('2,500 of 5,000 services');
        await page.page.getByLabel('Search').fill('10.19.135');
        await page.text('1 of 5,000 services');
        // What is chosen is a part of the address.
        await page.page.reload();
        await page.text('1 of 5,000 services');
        await page.show('services');
        await page.page.getByLabel('Without available servers').check();
        await page.text('50 of 5,000 services');
        await page.close();
    }));
