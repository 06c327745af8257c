// The HTTP server of the monitor: who may ask, what there is, and how much of it at a time. Everything is read with GET or HEAD; only login and logout are POST.

import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { optionError } from '../../errors.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { Access } from './access.js';
import { Feed } from './feed.js';
import type { Monitor, MonitorOptions } from './monitor.js';
import { type ResolvedOptions, resolveOptions, urlHost } from './options.js';
import type { PageFile } from './page-files.js';
import { type Site, SiteFiles } from './site-files.js';
import { TABLE_NAMES } from './snapshot.js';
import type { MonitorSource } from './source.js';

const MAX_CONNECTIONS = 256;
const MAX_ANSWERS = 32;
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
/** How long an answer may wait for a reader that takes nothing of it. */
const ANSWER_IDLE_MS = 30_000;
const MAX_FORM_BYTES = 4 * 1024;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const HEADERS: ReadonlyArray<readonly [string, string]> = [
  ['Content-Security-Policy', POLICY],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Permissions-Policy', 'camera=(), geolocation=(), microphone=()'],
  ['Cache-Control', 'no-store'],
];

/** Files that the login needs, which anyone may read. */
const PUBLIC_FILES: Readonly<Record<string, string>> = {
  '/login': 'login.html',
  '/login.js': 'login.js',
  '/page.css': 'page.css',
  '/icon.svg': 'icon.svg',
};
const FILES: Readonly<Record<string, string>> = { '/': 'index.html', '/page.js': 'page.js' };

/** Starts a monitor of any source. `files` are those of the page, for specs. */
export async function startMonitor(
  source: MonitorSource,
  options: MonitorOptions,
  files?: Readonly<Record<string, PageFile>> | undefined,
): Promise<Monitor> {
  const resolved = await resolveOptions(options);
  // A quarter of a megabyte, which only a program with a monitor needs.
  const built = files ?? (await import('./page-files.js')).PAGE_FILES;
  if (built === undefined) throw new Error('the page is not built: npm run build');
  const server = await createServer(resolved);
  const running = new RunningMonitor(source, resolved, new SiteFiles(built), server);
  await running.listen();
  return running;
}

async function createServer({ tls }: ResolvedOptions): Promise<Server> {
  const settings = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 16 * 1024,
  };
  if (tls === undefined) return (await import('node:http')).createServer(settings);
  const { createServer: create } = await import('node:https');
  try {
    return create({ ...settings, ...tls });
  } catch (error) {
    throw optionError('tls', (error as Error).message);
  }
}

class RunningMonitor implements Monitor {
  url = '';
  readonly token: string | undefined;
  private readonly access: Access;
  private readonly feed: Feed;
  private answers = 0;
  private closing: Promise<void> | undefined;

  constructor(
    source: MonitorSource,
    private readonly options: ResolvedOptions,
    private readonly files: Site,
    private readonly server: Server,
  ) {
    const { token, guestToken, hosts, tls, maxReaders } = options;
    this.token = token;
    this.access = new Access({ token, guestToken, hosts, isSecure: tls !== undefined, now: dateNow });
    this.feed = new Feed(source, maxReaders, () => void this.close());
    // Connections that read the live stream do not count twice.
    server.maxConnections = MAX_CONNECTIONS + maxReaders;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.onRequest(request, response));
  }

  get loginUrl(): string {
    return this.token === undefined ? this.url : `${this.url}#token=${encodeURIComponent(this.token)}`;
  }

  async listen(): Promise<void> {
    const { host, address, port, tls } = this.options;
    this.server.listen(port, address);
    try {
      await once(this.server, 'listening');
    } catch (error) {
      this.feed.close();
      throw error;
    }
    // A connection that cannot be accepted (EMFILE) is lost, and no reason to end the process.
    this.server.on('error', () => {});
    const bound = (this.server.address() as AddressInfo).port;
    this.access.port = bound;
    this.url = `${tls === undefined ? 'http' : 'https'}://${urlHost(host)}:${bound}/`;
  }

  close(): Promise<void> {
    this.closing ??= new Promise((resolve) => {
      this.feed.close();
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
    return this.closing;
  }

  ref(): this {
    this.server.ref();
    return this;
  }

  unref(): this {
    this.server.unref();
    return this;
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of HEADERS) response.setHeader(name, value);
    response.on('error', () => {});
    response.setTimeout(ANSWER_IDLE_MS, () => response.destroy());
    try {
      this.answer(request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else fail(response, 500, (error as Error).message);
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    if (!this.access.isHostAllowed(request)) return fail(response, 403, 'this monitor has another name');
    const path = (request.url ?? '/').replace(/[?#].*$/, '');
    if (request.method === 'POST' && (path === '/login' || path === '/logout'))
      return this.logInOrOut(path, request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return fail(response, 405, 'the monitor is read-only');
    }
    const open = PUBLIC_FILES[path];
    if (open !== undefined) return this.files.send(open, request, response);
    if (this.access.isGuest(request)) return this.answerGuest(path, request, response);
    if (!this.access.isAuthorized(request)) {
      // A browser keeps what is behind # in the address.
      return path === '/' ? redirect(response, '/login') : fail(response, 401, 'log in first');
    }
    const file = FILES[path];
    if (file !== undefined) return this.files.send(file, request, response);
    if (path.startsWith('/api/')) return this.answerApi(path.slice('/api/'.length), request, response);
    return fail(response, 404, 'there is no such page');
  }

  /** Answers a client that is no member: queries, within what every node may ask. */
  private answerGuest(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { guestApi } = this.feed.source;
    if (!path.startsWith('/api/v1/') || guestApi === undefined) return fail(response, 403, 'guests may read /api/v1/');
    if (this.answers >= MAX_ANSWERS) return busy(response);
    this.countAnswer(response);
    request.url = (request.url as string).replace('/api/', '/');
    guestApi(request, response);
  }

  private answerApi(name: string, request: IncomingMessage, response: ServerResponse): void {
    const site = request.headers['sec-fetch-site'];
    // Pages of others cannot read an answer, but could keep all places of readers taken.
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      return fail(response, 403, 'ask from the page itself');
    if (name === 'live') return this.stream(request, response);
    if (name === 'session') return sendJson(request, response, { isGuarded: this.access.isGuarded });
    if (this.answers >= MAX_ANSWERS) return busy(response);
    const { api } = this.feed.source;
    if (name.startsWith('v1/') && api !== undefined) {
      // Readers of events have a limit of their own.
      if (name !== 'v1/events') this.countAnswer(response);
      request.url = (request.url as string).replace('/api/', '/');
      api(request, response);
      return;
    }
    const snapshot = this.feed.read();
    const table = TABLE_NAMES.find((one) => one === name);
    let value: unknown;
    if (name === 'snapshot') value = { snapshot, events: this.feed.log.since(0) };
    else if (name === 'events') value = this.feed.log.since(0);
    else if (name === 'topology') value = { self: snapshot.self, nodes: snapshot.nodes, edges: snapshot.edges };
    else if (name === 'totals') value = { at: snapshot.at, self: snapshot.self, totals: snapshot.totals };
    else if (table !== undefined) value = snapshot[table];
    else return fail(response, 404, 'there is no such table');
    this.countAnswer(response);
    sendJson(request, response, value);
  }

  private countAnswer(response: ServerResponse): void {
    this.answers++;
    response.once('close', () => this.answers--);
  }

  private stream(request: IncomingMessage, response: ServerResponse): void {
    if (this.feed.isFull) return busy(response);
    response.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Proxies that buffer would hold updates back.
    response.setHeader('X-Accel-Buffering', 'no');
    response.writeHead(200);
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    // The feed has limits of its own, and updates come each second.
    response.setTimeout(0);
    // Without a wait of the browser, which is three seconds.
    response.write('retry: 1000\n\n');
    this.feed.add(response);
  }

  private logInOrOut(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { origin, host } = request.headers;
    const site = request.headers['sec-fetch-site'];
    if ((origin !== undefined && origin !== 'null' && !origin.endsWith(`://${host}`)) || site === 'cross-site') {
      return fail(response, 403, 'log in from the page itself');
    }
    if (path === '/logout') {
      response.setHeader('Set-Cookie', this.access.end(request));
      request.resume();
      return redirect(response, '/login');
    }
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('error', () => {});
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= MAX_FORM_BYTES) chunks.push(chunk);
      else if (!response.headersSent) {
        response.setHeader('Connection', 'close');
        fail(response, 413, 'the form is too long');
      }
    });
    request.on('end', () => {
      if (length > MAX_FORM_BYTES) return;
      const token = new URLSearchParams(Buffer.concat(chunks).toString('utf8')).get('token') ?? '';
      const answer = this.access.accepts(token.trim(), request);
      if (answer === 'yes') {
        response.setHeader('Set-Cookie', this.access.begin());
        redirect(response, '/');
      } else if (!this.access.isGuarded) redirect(response, '/');
      else redirect(response, `/login?${answer}`);
    });
  }
}

function redirect(response: ServerResponse, path: string): void {
  response.setHeader('Location', path);
  response.writeHead(303).end();
}

function sendJson(request: IncomingMessage, response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(request.method === 'HEAD' ? undefined : JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, text: string): void {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.writeHead(status).end(`${text}\n`);
}

function busy(response: ServerResponse): void {
  response.setHeader('Retry-After', '5');
  fail(response, 503, 'too many readers');
}
