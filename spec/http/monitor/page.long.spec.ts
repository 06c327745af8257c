// The page of the monitor in a browser: what it shows, and how one works with it.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import type { FullUpdate, Update } from '../../../lib/http/monitor/snapshot.js';
import { describeWithPrograms } from '../../clients/server-program.js';
import { CHROMIUM, Chromium } from './chromium.js';
import { FakeSource } from './fake-source.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** First cells of the rows of the table in sight. */
async function rowsOf(page: Page): Promise<string[]> {
  return page.locator('[role=tabpanel]:not([hidden]) tbody button').allTextContents();
}

function tab(page: Page, name: string) {
  return page.getByRole('tab', { name: new RegExp(`^${name}`) });
}

/** Waits until a function of the spec returns a value that is expected. */
async function until(read: () => Promise<unknown>, expected: unknown): Promise<void> {
  const deadline = Date.now() + 15_000;
  let value = await read();
  while (JSON.stringify(value) !== JSON.stringify(expected) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    value = await read();
  }
  expect(value).toEqual(expected);
}

describeWithPrograms('the monitor page', CHROMIUM, () => {
  const chromium = new Chromium();
  beforeAll(() => chromium.start(), 60_000);
  afterAll(() => chromium.stop());
  afterEach(() => chromium.finish());

  it('shows the network, and follows links, services, nodes and events as they come and go', async () => {
    const source = new FakeSource({ nodes: 6, services: 4, links: 2 });
    const { page } = await chromium.open(source);
    expect(await page.title()).toBe('web-fra-0 · Starlane monitor');
    await until(() => rowsOf(page), ['api', 'auth', 'billing', 'web:80']);
    expect(await page.locator('#map-summary').textContent()).toContain('6 nodes');

    source.addService('fresh', source.id);
    source.event('service', 'good', 'fresh at here');
    await until(() => rowsOf(page), ['api', 'auth', 'billing', 'fresh', 'web:80']);
    await until(
      () =>
        page
          .locator('#events li')
          .allTextContents()
          .then((all) => all.length),
      1,
    );
    source.services = source.services.slice(1);
    source.change();
    await until(() => rowsOf(page), ['api', 'auth', 'billing', 'fresh']);

    await tab(page, 'Links').click();
    expect(await rowsOf(page)).toHaveLength(2);
    source.addLink(source.addNode('n90000aaaaA', 'newcomer'));
    source.change();
    await until(async () => (await rowsOf(page)).includes('newcomer'), true);
    await page.getByText('7 nodes').waitFor();
    source.links = [];
    source.change();
    await until(() => rowsOf(page), []);
    await page.locator('#panel-links').getByText('no links', { exact: true }).waitFor();
  }, 60_000);

  it('finds everything that a search fits, and all of it again after Escape', async () => {
    const source = new FakeSource({ nodes: 40, services: 60 });
    source.addService('needle', 'n00007aaaaA', 8443, '{"owner":"haystack"}');
    const { page } = await chromium.open(source);
    source.event('warning', 'bad', 'the needle is blunt');
    source.event('service', 'good', 'something else');
    await until(() => page.locator('#events li').count(), 2);
    await page.keyboard.press('/');
    await page.keyboard.type('needle');
    await until(() => rowsOf(page), ['needle:8443']);
    await page.getByText('Found 1 services, 1 event').waitFor({ state: 'attached' });
    await until(() => page.locator('#events li').count(), 1);
    expect(await tab(page, 'Nodes').textContent()).toBe('Nodes 0');
    await page.locator('#query').fill('HAYSTACK :8443');
    await until(() => rowsOf(page), ['needle:8443']);
    await page.locator('#query').fill('n00007');
    await until(async () => (await tab(page, 'Nodes').textContent()) === 'Nodes 1', true);
    await page.keyboard.press('Escape');
    await until(async () => (await tab(page, 'Nodes').textContent()) === 'Nodes 40', true);
    expect(await page.locator('#query').inputValue()).toBe('');
  }, 60_000);

  it('filters and sorts its tables, and says so', async () => {
    const { page } = await chromium.open(new FakeSource({ nodes: 30, services: 40, streams: 40 }));
    await tab(page, 'Nodes').click();
    await page.getByRole('button', { name: 'Draining' }).click();
    await until(async () => (await rowsOf(page)).length, 1);
    expect(await page.getByRole('button', { name: 'Draining' }).getAttribute('aria-pressed')).toBe('true');
    await page.locator('#panel-nodes').getByRole('button', { name: 'All' }).click();
    const head = page.getByRole('columnheader', { name: 'Node' });
    await head.getByRole('button').click();
    expect(await head.getAttribute('aria-sort')).toBe('ascending');
    const rising = await rowsOf(page);
    expect(rising).toEqual([...rising].sort((one, other) => (one.toLowerCase() < other.toLowerCase() ? -1 : 1)));
    await head.getByRole('button').click();
    expect(await head.getAttribute('aria-sort')).toBe('descending');
    await tab(page, 'Streams').click();
    await page.getByRole('button', { name: 'Stuck' }).click();
    await page.locator('#panel-streams').getByText('5 of 40').waitFor();
  }, 60_000);

  it('warns of certificates that have less than a quarter of their time left', async () => {
    const { page } = await chromium.open(new FakeSource({ nodes: 20, services: 1 }));
    await page.getByText('1 certificate has expired: mail-sin-11.').waitFor();
    await page.getByText('1 certificate has less than a quarter of its time left: images-sin-3.').waitFor();
    await page.locator('#alert button').click();
    await until(() => rowsOf(page), ['mail-sin-11', 'images-sin-3']);
  }, 60_000);

  it('is worked with the keyboard alone', async () => {
    const { page } = await chromium.open(new FakeSource({ nodes: 12, services: 30 }));
    const focused = (): Promise<string> => page.evaluate("document.activeElement?.textContent ?? ''");
    await page.keyboard.press('Tab');
    await until(focused, 'Skip to the tables');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await until(focused, 'Services 30');
    await page.keyboard.press('ArrowRight');
    await until(focused, 'Nodes 12');
    expect(await tab(page, 'Nodes').getAttribute('aria-selected')).toBe('true');
    await page.locator('#as-table').focus();
    await page.keyboard.press('Enter');
    const names = await rowsOf(page);
    await until(focused, names[0]);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await until(focused, names[2]);
    await page.keyboard.press('Enter');
    await until(() => page.locator('#details h2').textContent(), names[2]);
    await until(focused, names[2]);
    await page.keyboard.press('Escape');
    expect(await page.locator('#details').isHidden()).toBe(true);
    expect(await page.evaluate('document.activeElement?.className')).toBe('open');
    await page.locator('#graph').focus();
    for (const key of ['ArrowLeft', '+', '-', '0']) await page.keyboard.press(key);
  }, 60_000);

  it('has dark and light colours, as the system or the reader wants', async () => {
    const { page } = await chromium.open(new FakeSource({ nodes: 3, services: 1 }), { colorScheme: 'dark' });
    const ground = (): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(await ground()).toBe('rgb(13, 17, 23)');
    await page.emulateMedia({ colorScheme: 'light' });
    expect(await ground()).toBe('rgb(243, 245, 248)');
    await page.locator('#theme').selectOption('dark');
    expect(await ground()).toBe('rgb(13, 17, 23)');
    await page.reload();
    await until(ground, 'rgb(13, 17, 23)');
    expect(await page.locator('#theme').inputValue()).toBe('dark');
  }, 60_000);

  it.each(['light', 'dark'] as const)(
    'is accessible, as far as axe can see, in %s',
    async (colorScheme) => {
      const source = new FakeSource({ nodes: 24, services: 60, streams: 30 });
      for (const level of ['good', 'plain', 'bad'] as const) source.event('link', level, 'an event');
      const { page, monitor } = await chromium.open(source, { colorScheme });
      await until(async () => (await rowsOf(page)).length > 0, true);
      const violations = async (): Promise<unknown> => {
        await page.evaluate(AXE);
        // What fades in has other colours until it is there.
        await page.evaluate('Promise.all(document.getAnimations().map(({ finished }) => finished)).then(() => {})');
        return page.evaluate(`axe.run().then(({ violations }) =>
        violations.map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => html + failureSummary)]))`);
      };
      for (const name of ['Services', 'Nodes', 'Links', 'Streams', 'Members']) {
        await tab(page, name).click();
        expect(await violations()).toEqual([]);
      }
      await page.locator('#panel-members tbody button').first().click();
      expect(await violations()).toEqual([]);
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await violations()).toEqual([]);
      await page.goto(`${monitor.url}login`);
      expect(await violations()).toEqual([]);
    },
    90_000,
  );

  it('tells a screen reader of events now and then, and of their number', async () => {
    const source = new FakeSource({ nodes: 3, services: 1 });
    const monitor = await chromium.monitor(source);
    source.event('link', 'good', 'an old one');
    const page = await chromium.window(monitor.url);
    await page.goto(monitor.url);
    await until(() => page.locator('#events li').count(), 1);
    expect(await page.locator('#announce').textContent()).toBe('');
    source.event('link lost', 'bad', 'fra is gone');
    for (let at = 0; at < 5; at++) source.event('service', 'plain', `number ${at}`);
    source.change();
    await until(() => page.locator('#announce').textContent(), 'service: number 4, and 5 other events');
  }, 60_000);

  it('fits a phone of 360 px', async () => {
    const source = new FakeSource({ nodes: 24, services: 60, streams: 30 });
    const { page } = await chromium.open(source, {
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    });
    await until(async () => (await rowsOf(page)).length > 0, true);
    for (const name of ['Services', 'Nodes', 'Links', 'Streams', 'Members']) {
      await tab(page, name).click();
      const widths = await page.evaluate(`(() => {
        const scroller = document.querySelector('[role=tabpanel]:not([hidden]) .scroller');
        return {
          page: document.documentElement.scrollWidth,
          table: scroller.scrollWidth - scroller.clientWidth,
          first: scroller.querySelector('tbody tr:not(.spacer) td').clientWidth >= 80,
        };
      })()`);
      expect({ name, widths }).toEqual({ name, widths: { page: 360, table: 0, first: true } });
    }
  }, 60_000);

  it('shows markup from the network as text', async () => {
    const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>"\'><b>';
    const source = new FakeSource({ nodes: 3, services: 0 });
    const node = source.addNode('n90000aaaaA', evil);
    source.addLink(node);
    source.addService(evil, 'n90000aaaaA', 0, evil);
    source.members = source.members.map((row) => ({ ...row, name: evil, tags: [evil], until: row.since }));
    source.event(evil, 'bad', evil);
    const { page } = await chromium.open(source);
    await until(() => rowsOf(page), [evil]);
    for (const name of ['Nodes', 'Links', 'Members']) {
      await tab(page, name).click();
      await until(async () => (await rowsOf(page)).includes(evil), true);
      await page.locator('[role=tabpanel]:not([hidden]) tbody button').last().click();
      await page.keyboard.press('Escape');
    }
    await page.locator('#query').fill(evil);
    await page.getByText('Found').waitFor({ state: 'attached' });
    expect(await page.locator('main img, main script, main b, aside img, aside script, aside b').count()).toBe(0);
  }, 60_000);

  it('asks nothing of other origins, and finds its server again', async () => {
    const source = new FakeSource({ nodes: 5, services: 5 });
    const { page, monitor } = await chromium.open(source);
    await until(async () => (await rowsOf(page)).length, 5);
    const { port } = new URL(monitor.url);
    await monitor.close();
    await page.getByText('Connection lost, trying again').waitFor();
    source.addService('meanwhile', source.id);
    await chromium.monitor(source, { port: Number(port) });
    await page.getByText('Live', { exact: true }).waitFor();
    await until(async () => (await rowsOf(page)).includes('meanwhile'), true);
    chromium.forget(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE/);
  }, 60_000);

  it('says that too many pages are open', async () => {
    const source = new FakeSource({ nodes: 2, services: 1 });
    const monitor = await chromium.monitor(source, { maxReaders: 1 });
    const first = await chromium.window(monitor.url);
    await first.goto(monitor.url);
    await first.getByText('Live', { exact: true }).waitFor();
    const second = await chromium.window(monitor.url);
    await second.goto(monitor.url);
    await second.getByText('Too many pages are open').waitFor();
    await first.close();
    await second.getByText('Live', { exact: true }).waitFor();
    chromium.forget(/status of 503/);
  }, 60_000);

  describe('with a token', () => {
    const TOKEN = 'the-token-of-this-spec';

    it('logs in with the one behind #, which leaves the address and the history', async () => {
      const source = new FakeSource({ nodes: 2, services: 1 });
      const monitor = await chromium.monitor(source, { host: '0.0.0.0', insecure: true, token: TOKEN });
      const url = monitor.url.replace('0.0.0.0', '127.0.0.1');
      const page = await chromium.window(url);
      const seen: string[] = [];
      page.on('request', (request) => seen.push(request.url()));
      await page.goto(monitor.loginUrl.replace('0.0.0.0', '127.0.0.1'));
      await page.getByText('Live', { exact: true }).waitFor();
      expect(page.url()).toBe(url);
      expect(seen.filter((one) => one.includes(TOKEN) && !one.includes('#'))).toEqual([]);
      expect(await page.evaluate('document.cookie')).toBe('');
      await page.goto(`${url}#token=${TOKEN}`);
      await page.reload();
      await page.getByText('Live', { exact: true }).waitFor();
      expect(page.url()).toBe(url);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.waitForURL('**/login');
      await page.goto(url);
      await page.waitForURL('**/login');
    }, 60_000);

    it('asks for it, and again when it is wrong', async () => {
      const monitor = await chromium.monitor(new FakeSource({ nodes: 2, services: 1 }), { token: TOKEN });
      const page = await chromium.window(monitor.url);
      await page.goto(monitor.url);
      await page.getByLabel('Token').fill('something-else-entirely');
      await page.keyboard.press('Enter');
      await page.getByText('This is not the token.').waitFor();
      expect(new URL(page.url()).search).toBe('');
      await page.getByLabel('Token').fill(TOKEN);
      await page.keyboard.press('Enter');
      await page.getByText('Live', { exact: true }).waitFor();
    }, 60_000);
  });

  it('keeps a thousand nodes and ten thousand services in few elements', async () => {
    const source = new FakeSource({ nodes: 1_000, services: 10_000, links: 40, streams: 400 });
    const { page } = await chromium.open(source);
    await until(async () => (await tab(page, 'Services').textContent()) === 'Services 10,000', true);
    expect(await page.getByRole('table', { name: 'Services' }).getAttribute('aria-rowcount')).toBe('10001');
    const panel = page.locator('#panel-services .scroller');
    await panel.evaluate((scroller) => {
      scroller.scrollTop = scroller.scrollHeight;
    });
    await until(async () => (await rowsOf(page)).at(-1)?.startsWith('web-99'), true);
    expect(await page.locator('tbody tr').count()).toBeLessThan(100);
    await page.locator('#query').fill('web-99');
    await until(async () => (await rowsOf(page)).every((name) => name.startsWith('web-99')), true);
    // The middle of the picture is this node.
    const box = await page.locator('#graph canvas').boundingBox();
    await page.mouse.click((box?.x ?? 0) + (box?.width ?? 0) / 2, (box?.y ?? 0) + (box?.height ?? 0) / 2);
    await page.locator('#details').waitFor();
  }, 90_000);

  it('needs no more memory after a thousand updates than after a hundred', async () => {
    const source = new FakeSource({ nodes: 100, services: 500, links: 20 });
    const monitor = await chromium.monitor(source);
    const page = await chromium.window(monitor.url);
    let at = source.read().at;
    let events = 0;
    const updates = (number: number): string => {
      const all: FullUpdate = { snapshot: { ...source.read(), at }, events: [] };
      const messages = [`event: snapshot\ndata: ${JSON.stringify(all)}\n\n`];
      for (let update = 0; update < number; update++) {
        source.tick(30);
        at += 1_000;
        const { self, totals, links, nodes } = source.read();
        // Links and nodes that come and go, and events.
        const link = { ...links[0], id: `link ${update}`, peerId: `peer ${update}` };
        const node = { ...nodes[1], id: `node ${update}`, isSelf: false };
        const change = {
          at,
          self,
          totals,
          tables: {
            links: { set: [...links, link], gone: [`link ${update - 5}`] },
            nodes: { set: [node], gone: [`node ${update - 5}`] },
          },
          events: Array.from({ length: 20 }, () => ({
            id: ++events,
            at,
            kind: 'link',
            level: 'good',
            text: 'x'.repeat(100),
          })),
        } as unknown as Update;
        messages.push(`event: update\ndata: ${JSON.stringify(change)}\n\n`);
      }
      return messages.join('');
    };
    let body = '';
    await page.route('**/api/live', (route) =>
      route.fulfill({ status: 200, contentType: 'text/event-stream', body: `retry: 600000\n\n${body}` }),
    );
    const session = await page.context().newCDPSession(page);
    const measure = async (number: number): Promise<{ heap: number; elements: number }> => {
      body = updates(number);
      await page.goto(monitor.url);
      await until(() => page.locator('#events li').count(), 250);
      await tab(page, 'Links').click();
      await session.send('HeapProfiler.collectGarbage');
      const { usedSize } = await session.send('Runtime.getHeapUsage');
      return { heap: usedSize, elements: await page.locator('*').count() };
    };
    const few = await measure(130);
    const many = await measure(1_000);
    expect(many.heap).toBeLessThan(few.heap * 1.3 + 2_000_000);
    expect(many.elements).toBeLessThan(few.elements + 100);
  }, 120_000);
});
