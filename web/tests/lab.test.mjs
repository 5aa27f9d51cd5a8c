// The page on a real kernel under traffic: lab/demo in User Mode Linux.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { resolve } from 'node:path';

import { Browser, IPVSD, Program, request, until } from './support.mjs';

const LAB = resolve(import.meta.dirname, '../../lab');
const SERVICE = 'tcp-207.175.44.110-80';
const SERVER = '192.168.10.1-80';

let browser, demo, url;
before(async () => {
    // The third argument is a program that demo only names.
    const args = ['-t', '0', '-p', '0:4787', `${LAB}/demo`, IPVSD, 'http://127.0.0.1', 'ipvsctl'];
    demo = new Program(`${LAB}/uml-run`, args, /127\.0\.0\.1:(\d+)/);
    url = `http://127.0.0.1:${await demo.port}/`;
    // The port is open before the guest has begun.
    await until(async () => {
        const answer = await fetch(`${url}v1/services/${SERVICE}`).catch(() => undefined);
        return answer?.ok;
    }, 'the lab has no service').catch((error) => assert.fail(`${error.message}: ${demo.output}`));
    browser = await Browser.start();
});
after(async () => {
    await browser?.stop();
    await demo?.stop();
});

const number = (text) => Number(text.replace(/[^\d.]/g, ''));

test('the figures of real traffic change, and a drained server loses its connections', async () => {
    const page = await browser.open(url);
    await page.live();
    // Two requests a second.
    await page.tileBecomes('New connections', (text) => number(text) > 0.5 && number(text) < 5);
    const before = number(await page.tile('Connections'));
    await page.tileBecomes('Connections', (text) => number(text) > before);
    await page.show(`services/${SERVICE}`);
    const row = page.row(SERVER);
    await until(async () => number(await row.getByRole('cell').nth(3).textContent()) > 0, 'the server has no connection');
    await row.getByRole('button', { name: /^Drain/ }).click();
    await page.page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await page.text(/^draining, \d+ left$/, row);
    // The kernel forgets a connection two minutes after its end.
    const patience = 200_000;
    const left = async () => number(await row.getByText(/^drain/).first().textContent());
    const first = await left();
    await until(async () => (await left()) < first, `${first} connections are left`, patience);
    await row.getByText('drained', { exact: true }).waitFor({ timeout: patience });
    assert.equal(await row.getByRole('cell').nth(2).textContent(), '0');
    assert.equal(await row.getByRole('cell').nth(3).textContent(), '0');
    // The daemon counts them by itself, once a second.
    await until(async () => {
        const { drains } = await request(url, 'GET', 'v1/drains');
        return drains.length === 1 && drains[0].server === SERVER && drains[0].state === 'drained';
    }, 'the drain has not ended');
    // The others get the traffic.
    await until(async () => number(await page.tile('New connections')) > 0.5, 'there is no traffic');
    await page.show('connections');
    await page.text('192.168.10.2:80');
    await page.close();
});

if (process.env.SCREENSHOTS) test('the screenshots of the documentation', async () => {
    for (const [name, view, options] of [
        ['dashboard-light.png', '', { colorScheme: 'light' }],
        ['dashboard-dark.png', `services/${SERVICE}`, { colorScheme: 'dark' }],
        ['dashboard-phone.png', '', { colorScheme: 'light', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 }],
    ]) {
        const page = await browser.open(url, options);
        await page.live();
        const history = page.page.waitForResponse(/\/history/);
        // Shown anew, with the history in the charts.
        await page.show('settings');
        await page.show(view);
        await (await history).finished();
        await until(async () => number(await page.tile('New connections')) > 0, 'there is no traffic');
        await page.screenshot(name);
        await page.close();
    }
});
