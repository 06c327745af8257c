// The monitor page with 1,000 nodes and 10,000 services in Chromium: how smooth it is while it changes each second, is scrolled, searched and moved.
// See docs/monitor.md.

import { cpus } from 'node:os';
import { type CDPSession, chromium, type Page } from 'playwright-core';
import type { PageFile } from '../../lib/http/monitor/page-files.js';
import { startMonitor } from '../../lib/http/monitor/server.js';
import { FakeSource } from '../../spec/http/monitor/fake-source.js';

const SIZE = { nodes: 1_000, services: 10_000, links: 40, streams: 400 };
const UPDATE_MS = 1_000;

/** Runs in the page before its own scripts: the time between frames, and tasks above 50 ms. */
const RECORDER = `
  self.record = { frames: [], tasks: [] };
  new PerformanceObserver((list) => self.record.tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: 'longtask', buffered: true });
  let last = performance.now();
  const frame = (now) => { self.record.frames.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);`;

interface Recorded {
  readonly frames: number[];
  readonly tasks: number[];
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Measurement {
  constructor(
    private readonly page: Page,
    private readonly session: CDPSession,
  ) {}

  async phase(name: string, act: () => Promise<void>): Promise<void> {
    await this.page.evaluate('self.record = { frames: [], tasks: [] }');
    const [busy, from] = [await this.busyMs(), performance.now()];
    await act();
    const share = ((await this.busyMs()) - busy) / (performance.now() - from);
    this.print(name, share, (await this.page.evaluate('self.record')) as Recorded);
  }

  /** The processor time of the main thread, in ms. */
  async busyMs(): Promise<number> {
    const { metrics } = await this.session.send('Performance.getMetrics');
    return (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0) * 1_000;
  }

  private print(name: string, share: number, { frames, tasks }: Recorded): void {
    frames.sort((one, other) => one - other);
    const at = (part: number): string =>
      `${Math.round(frames[Math.min(frames.length - 1, Math.floor(frames.length * part))] ?? 0)}`.padStart(4);
    const blocked = tasks.reduce((sum, duration) => sum + Math.max(0, duration - 50), 0);
    const longest = Math.round(Math.max(0, ...tasks));
    console.log(
      `${name.padEnd(30)} ${at(0.5)} ${at(0.95)} ${at(0.99)} ${at(1)}   ${String(longest).padStart(5)} ${String(Math.round(blocked)).padStart(6)}   ${`${Math.round(share * 100)} %`.padStart(5)}`,
    );
  }
}

export async function measure(files: Readonly<Record<string, PageFile>>): Promise<void> {
  const source = new FakeSource(SIZE);
  const monitor = await startMonitor(source, { port: 0 }, files);
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--headless'],
  });
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.addInitScript(RECORDER);
  console.log(
    `${browser.version()}, Node ${process.version}, ${cpus().length} cores, ${SIZE.nodes} nodes, ${SIZE.services} services\n`,
  );

  const from = performance.now();
  await page.goto(monitor.url);
  await page.waitForSelector('#panel-services tbody button');
  const all = await page.evaluate(
    `fetch('/api/snapshot').then((answer) => answer.text()).then(({ length }) => length)`,
  );
  console.log(
    `first rows after ${Math.round(performance.now() - from)} ms; the snapshot has ${Math.round(Number(all) / 1024)} KiB\n`,
  );
  console.log(`${''.padEnd(30)} ms between frames     longest  ms above   main`);
  console.log(`${''.padEnd(30)}  p50  p95  p99  max   task ms  50 ms    thread`);

  const measurement = new Measurement(page, session);
  console.log(
    `${'until then, and two seconds'.padEnd(30)} ${Math.round(await measurement.busyMs())} ms of the main thread`,
  );
  await pause(2_000);
  await measurement.phase('nothing changes', () => pause(4_000));
  const churn = setInterval(() => {
    source.tick(200);
    source.event('service', 'good', 'web at n00001aaaaA');
  }, UPDATE_MS);
  for (const name of ['services', 'nodes', 'links']) {
    await page.click(`#tab-${name}`);
    await measurement.phase(`updates each second, ${name}`, () => pause(6_000));
  }
  await page.click('#tab-services');
  const list = await page.locator('#panel-services .scroller').boundingBox();
  const map = await page.locator('#graph').boundingBox();
  if (list === null || map === null) throw new Error('the page shows no tables');
  await page.mouse.move(list.x + 200, list.y + 200);
  await measurement.phase('scroll the services', async () => {
    for (let turn = 0; turn < 60; turn++) {
      await page.mouse.wheel(0, 1_500);
      await pause(30);
    }
  });
  await measurement.phase('search', async () => {
    await page.locator('#query').pressSequentially('billing-1', { delay: 80 });
    await pause(500);
    await page.fill('#query', '');
    await pause(500);
  });
  await page.mouse.move(map.x + 50, map.y + 50);
  await measurement.phase('move the topology', async () => {
    await page.mouse.down();
    for (let turn = 0; turn < 60; turn++) {
      await page.mouse.move(map.x + 50 + turn * 4, map.y + 50 + turn * 2);
      await pause(16);
    }
    await page.mouse.up();
  });
  await measurement.phase('zoom the topology', async () => {
    for (let turn = 0; turn < 40; turn++) {
      await page.mouse.wheel(0, turn < 20 ? -100 : 100);
      await pause(30);
    }
  });
  await measurement.phase('nodes come and go', async () => {
    for (let turn = 0; turn < 5; turn++) {
      source.addNode(`x0000${turn}aaaaA`, `new-${turn}`);
      source.change();
      await pause(1_000);
    }
  });
  clearInterval(churn);
  await browser.close();
  await monitor.close();
}
