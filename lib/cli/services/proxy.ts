// starlane proxy

import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { netError } from '../../errors.js';
import { type Command, defineCommand } from '../command.js';
import { ENTRY_FLAGS, EntryTask, type EntryValues } from '../entry/entry-task.js';
import { bodyFor, endToEnd, splitAuthority, statusFor } from '../entry/http-message.js';
import type { Password } from '../entry/password.js';
import { flag } from '../flags.js';
import { shownAddress } from '../local/address.js';
import { useNetwork } from '../run/use-network.js';

const PORT = 3128;
const HEADERS_MS = 15_000;
const KEEP_ALIVE_MS = 60_000;
const RESPONSE_MS = 300_000;
const MAX_HEADERS = 200;
const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';

const FLAGS = {
  port: flag.integer('the port to listen at; 0 takes a free one', { min: 0, max: 65_535, otherwise: String(PORT) }),
  ...ENTRY_FLAGS,
  responseTimeout: flag.duration('how long a service may take to begin its answer to a request', {
    min: 1,
    otherwise: '5m',
  }),
} as const;

interface ProxyValues extends EntryValues {
  readonly responseTimeout?: number | undefined;
}

class ProxyTask extends EntryTask<ProxyValues> {
  private readonly exchanges = new Set<ServerResponse>();
  private readonly opening = new Set<Socket>();
  private requests = 0;
  private onEmpty: (() => void) | undefined;

  constructor(values: ProxyValues) {
    super('proxy', PORT, values);
  }

  override status(): Record<string, unknown> {
    return { ...super.status(), requests: this.requests, underWay: this.exchanges.size };
  }

  protected serve(): Server {
    const server = createServer({
      noDelay: true,
      keepAlive: true,
      headersTimeout: HEADERS_MS,
      // A body may take as long as it takes: it holds nothing up but its own circuit.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
    });
    server.maxHeadersCount = MAX_HEADERS;
    server.on('request', (request, response) => void this.onRequest(request, response));
    server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      void this.onConnect(request, socket, head);
    });
    server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
    });
    return server;
  }

  protected async endRest(signal: AbortSignal): Promise<void> {
    for (const socket of this.opening) socket.destroy();
    const server = this.server as Server;
    server.closeIdleConnections();
    if (this.exchanges.size === 0) return server.closeAllConnections();
    // Connections end with the answer that is under way.
    for (const response of this.exchanges) if (!response.headersSent) response.setHeader('Connection', 'close');
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    const end = () => server.closeAllConnections();
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    await empty;
    server.closeAllConnections();
  }

  // --- CONNECT ---

  private async onConnect(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const ignore = () => {};
    socket.on('error', ignore);
    const target = request.url ?? '';
    if (!isAllowed(this.password, request))
      return refuse(socket, 407, AUTHENTICATE, 'a name and a password are needed');
    const where = splitAuthority(target);
    if (where === undefined) return refuse(socket, 400, [], `${target}: must be HOST:PORT`);
    this.opening.add(socket);
    // What it sends early waits in the kernel.
    socket.pause();
    let circuit: Duplex | undefined;
    try {
      circuit = await this.open(where.host, where.port);
      const giveUp = () => circuit?.destroy();
      socket.once('close', giveUp);
      await connected(circuit);
      socket.removeListener('close', giveUp);
    } catch (error) {
      this.onFailed(error as Error);
      const status = statusFor(error);
      return refuse(socket, status, [], bodyFor(status, error as Error, target));
    } finally {
      this.opening.delete(socket);
    }
    socket.removeListener('error', ignore);
    socket.write(ESTABLISHED);
    if (head.length > 0) socket.unshift(head);
    this.join(socket, circuit);
  }

  // --- requests with a whole URL ---

  private async onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    this.exchanges.add(response);
    response.once('close', () => {
      this.exchanges.delete(response);
      if (this.exchanges.size === 0) this.onEmpty?.();
    });
    request.on('error', () => {});
    response.on('error', () => {});
    const target = request.url ?? '';
    if (!isAllowed(this.password, request)) {
      return answer(request, response, 407, 'starlane proxy: a name and a password are needed\n', {
        'Proxy-Authenticate': 'Basic realm="starlane"',
      });
    }
    const url = target.startsWith('http://') ? parsed(target) : undefined;
    if (!url) {
      const text = `starlane proxy: this is an HTTP proxy: it takes CONNECT HOST:PORT and URLs such as http://web/, not ${target}\n`;
      return answer(request, response, 400, text);
    }
    const host = url.hostname.replace(/^\[|\]$/g, '');
    try {
      const circuit = await this.open(host, url.port === '' ? 80 : Number(url.port));
      await this.exchange(request, response, url, circuit);
    } catch (error) {
      this.onFailed(error as Error);
      const status = statusFor(error);
      answer(request, response, status, bodyFor(status, error as Error, url.host));
    }
  }

  /** Resolves when the answer has begun. */
  private exchange(request: IncomingMessage, response: ServerResponse, url: URL, circuit: Duplex): Promise<void> {
    return new Promise((resolve, reject) => {
      const { headers, method, rawHeaders, httpVersion } = request;
      const kept = endToEnd(rawHeaders, headers.connection, ['host', 'expect', 'via']);
      const via = headers.via === undefined ? '' : `${headers.via}, `;
      const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
      if (hasBody && headers['content-length'] === undefined) kept.push('Transfer-Encoding', 'chunked');
      const onward = httpRequest({
        // Without `agent`, which would not use it.
        createConnection: () => circuit as Socket,
        method,
        path: `${url.pathname}${url.search}`,
        headers: ['Host', url.host, ...kept, 'Via', `${via}${httpVersion} starlane`, 'Connection', 'close'] as never,
        setHost: false,
      });
      const timer = setTimeout(
        () => onward.destroy(netError('ETIMEDOUT', 'read')),
        this.values.responseTimeout ?? RESPONSE_MS,
      );
      const over = () => {
        clearTimeout(timer);
        if (!response.writableFinished) onward.destroy();
      };
      response.once('close', over);
      onward.on('error', (error) => {
        clearTimeout(timer);
        // Half an answer must not look like a whole one.
        if (response.headersSent) response.destroy();
        else reject(error);
      });
      onward.once('response', (incoming) => {
        clearTimeout(timer);
        if (response.destroyed) return;
        incoming.on('error', () => response.destroy());
        incoming.once('aborted', () => response.destroy());
        const end = this.onEmpty === undefined ? [] : ['Connection', 'close'];
        response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, [
          ...endToEnd(incoming.rawHeaders, incoming.headers.connection),
          ...end,
        ]);
        response.flushHeaders();
        incoming.pipe(response);
        resolve();
      });
      if (hasBody) request.pipe(onward);
      else onward.end();
    });
  }
}

const AUTHENTICATE = ['Proxy-Authenticate: Basic realm="starlane"'];

function isAllowed(password: Password | undefined, { headers }: IncomingMessage): boolean {
  if (password === undefined) return true;
  const match = /^basic\s+([A-Za-z0-9+/=]+)$/i.exec(headers['proxy-authorization'] ?? '');
  const text = Buffer.from(match?.[1] ?? '', 'base64').toString();
  const colon = text.indexOf(':');
  return colon >= 0 && password.isRight(text.slice(0, colon), text.slice(colon + 1));
}

function parsed(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

function connected(circuit: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    circuit.once('connect', () => {
      circuit.removeListener('error', reject);
      resolve();
    });
    circuit.once('error', reject);
  });
}

/** Answers a CONNECT that fails. */
function refuse(socket: Socket, status: number, headers: readonly string[], text: string): void {
  const body = text.endsWith('\n') ? text : `starlane proxy: ${text}\n`;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...headers,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.resume();
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), 1_000);
  socket.once('close', () => clearTimeout(timer));
}

/** Answers a request that fails, if its answer has not begun. */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // What is left of the request is not read.
  request.resume();
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close', ...headers });
  response.end(text);
}

export const proxy: Command = defineCommand({
  name: 'proxy',
  summary: 'an HTTP proxy, whose hosts are the services of the network',
  description: 'Takes CONNECT and requests with a whole URL. The host web or web.starlane is the service web.',
  usesNode: true,
  flags: FLAGS,
  examples: [
    { line: 'starlane proxy --port 3128', about: 'then: curl -x http://localhost:3128 http://web/' },
    { line: 'starlane proxy --port 0', about: 'at a free port, which it prints' },
  ],
  task: (_key, values) => new ProxyTask(values as ProxyValues),
  async run(context, _args, values) {
    const task = new ProxyTask(values as ProxyValues);
    const access = await useNetwork(context, { needsLink: true, isLeaf: true });
    return access.work([task], () => {
      const at = task.listening === undefined ? '' : shownAddress(task.listening);
      context.output.json({ node: access.overlay.id, listen: at });
      context.output.line(`HTTP proxy at ${at}`);
    });
  },
});
