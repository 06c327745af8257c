// Pages of the monitor in Chromium. What a page must never do is a problem: an error, a violation of its policy, a request to another origin.

import { expect } from '@jest/globals';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import type { Monitor, MonitorOptions } from '../../../lib/http/monitor/monitor.js';
import type { PageFile } from '../../../lib/http/monitor/page-files.js';
import { startMonitor } from '../../../lib/http/monitor/server.js';
import type { MonitorSource } from '../../../lib/http/monitor/source.js';
import { buildPage } from '../../../scripts/page.mjs';
import { findProgram } from '../../clients/server-program.js';

export const CHROMIUM = { programs: ['chromium'], debian: 'chromium' };

/** How long a page may take for anything, on a busy machine. */
export const PAGE_MS = 20_000;

export interface OpenPage {
  readonly page: Page;
  readonly monitor: Monitor;
}

export class Chromium {
  private browser: Browser | undefined;
  private files: Readonly<Record<string, PageFile>> | undefined;
  private readonly closers: Array<() => Promise<void>> = [];
  private readonly problems: string[] = [];

  async start(): Promise<void> {
    this.files = await buildPage();
    this.browser = await chromium.launch({
      executablePath: findProgram('chromium') as string,
      args: ['--no-sandbox', '--headless'],
    });
  }

  async stop(): Promise<void> {
    await this.browser?.close();
  }

  async monitor(source: MonitorSource, options: MonitorOptions = {}): Promise<Monitor> {
    const monitor = await startMonitor(source, { port: 0, ...options }, this.files);
    this.closers.push(() => monitor.close());
    return monitor;
  }

  /** Opens a window without a page yet. `url` is where its requests may go. */
  async window(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const { origin } = new URL(url);
    const context = await (this.browser as Browser).newContext({ viewport: { width: 1280, height: 800 }, ...options });
    this.closers.push(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(PAGE_MS);
    page.on('console', (message) => {
      const isExpected = message
        .text()
        .startsWith('Failed to load resource: the server responded with a status of 401');
      if (['error', 'warning'].includes(message.type()) && !isExpected) this.problems.push(message.text());
    });
    page.on('pageerror', (error) => this.problems.push(String(error.stack)));
    page.on('dialog', (dialog) => {
      this.problems.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) this.problems.push(`a request to ${request.url()}`);
    });
    return page;
  }

  /** Opens the page of a source, and waits until it shows something. */
  async open(source: MonitorSource, options: BrowserContextOptions = {}): Promise<OpenPage> {
    const monitor = await this.monitor(source);
    const page = await this.window(monitor.url, options);
    await page.goto(monitor.url);
    await page.getByText('Live', { exact: true }).waitFor({ state: 'attached' });
    return { page, monitor };
  }

  /** Leaves out problems that a test has caused. */
  forget(expected: RegExp): void {
    const others = this.problems.filter((problem) => !expected.test(problem));
    this.problems.splice(0, this.problems.length, ...others);
  }

  /** Ends what a test has opened, and says what was wrong. */
  async finish(): Promise<void> {
    for (const close of this.closers.splice(0).reverse()) await close();
    expect(this.problems.splice(0)).toEqual([]);
  }
}
