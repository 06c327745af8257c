// The port of an agent: HTTP/1.1 over circuits. What callers may take is limited here: connections, the size and the time of a request,
// the time of an answer, and requests a second.

import type { Server as HttpServer } from 'node:http';
import { nodeHttp } from '../../util/runtime/builtins.js';
import { clearTimeout, performanceNow, setTimeout } from '../../util/runtime/real-timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import type { OverlaySocket } from '../run/overlay.js';
import { sendError, sendJson } from './answer.js';
import type { AgentHandler } from './routes.js';
import type { Caller, CallerRights } from './rules.js';

/** The name of the service; the name of the member is the one of the instance. */
export const AGENT_SERVICE = 'agent';
/** The virtual port, by which one host is dialled: `@nodeId:19`. It lies beside those of messages, topics and broadcasts. */
export const AGENT_PORT = 19;

/** Connections of all callers that rules name, and of one. */
const MAX_CONNECTIONS = 128;
const MAX_CONNECTIONS_PER_CALLER = 16;
/** Connections of all callers that no rule names: they get their refusal, and no more. */
const MAX_STRANGERS = 8;
const MAX_HEADER_BYTES = 8 * 1024;
/** From the begin of a connection, or from the end of an answer, to the end of the headers of the next request. */
const REQUEST_MS = 15_000;
/** How long a caller may take nothing of an answer. */
const ANSWER_MS = 30_000;
/** Requests of one caller. */
const RATE = { perS: 50, burst: 100 } as const;
/** Callers whose rate is remembered. */
const MAX_CALLERS = 1_024;

export interface PortCaller {
  readonly caller: Caller;
  readonly rights: CallerRights;
}

interface Counts {
  connections: number;
  readonly bucket: TokenBucket;
}

export class AgentPort {
  private server: HttpServer | undefined;
  private readonly connections = new Map<OverlaySocket, Connection>();
  private readonly counts = new Map<string, Counts>();
  private strangers = 0;
  private isEnding = false;

  constructor(private readonly handler: AgentHandler) {}

  get size(): number {
    return this.connections.size;
  }

  /** Takes a circuit. `whoIs` is asked again for each request, as rules and certificates change. */
  onSocket(socket: OverlaySocket, whoIs: () => PortCaller): void {
    socket.on('error', () => {});
    const { caller, rights } = whoIs();
    const isStranger = !rights.isNamed;
    const counts = this.countsOf(isStranger ? '' : caller.id);
    const isFull = isStranger
      ? this.strangers >= MAX_STRANGERS
      : this.connections.size - this.strangers >= MAX_CONNECTIONS || counts.connections >= MAX_CONNECTIONS_PER_CALLER;
    if (this.isEnding || isFull) {
      socket.destroy();
      return;
    }
    counts.connections++;
    if (isStranger) this.strangers++;
    const connection = new Connection(socket, whoIs, counts.bucket);
    this.connections.set(socket, connection);
    socket.once('close', () => {
      connection.dispose();
      this.connections.delete(socket);
      counts.connections--;
      if (isStranger) this.strangers--;
    });
    this.server ??= this.makeServer();
    this.server.emit('connection', socket);
  }

  /** Ends connections that wait for a request, and others after their answer. */
  drain(): void {
    this.isEnding = true;
    for (const connection of this.connections.values()) connection.endIfIdle();
  }

  /** Ends all connections. */
  close(): void {
    this.isEnding = true;
    for (const socket of [...this.connections.keys()]) socket.destroy();
  }

  private makeServer(): HttpServer {
    const { createServer } = nodeHttp();
    const server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, noDelay: false },
      (request, response) => {
        const connection = this.connections.get(request.socket as unknown as OverlaySocket);
        if (connection === undefined) return;
        connection.onRequest(response, () => this.isEnding);
        if (this.isEnding) response.setHeader('connection', 'close');
        if (!connection.takeRequest()) {
          response.setHeader('connection', 'close');
          response.setHeader('retry-after', '1');
          const message = `more than ${RATE.perS} requests a second`;
          sendJson(response, 429, { error: { code: 'EAGAIN', message } });
          return;
        }
        const { caller, rights } = connection.whoIs();
        try {
          this.handler(request, response, caller, rights);
        } catch (error) {
          sendError(response, error);
        }
      },
    );
    server.timeout = 0;
    server.on('clientError', (_error, socket) => socket.destroy());
    return server;
  }

  private countsOf(id: string): Counts {
    let counts = this.counts.get(id);
    if (counts === undefined) {
      if (this.counts.size >= MAX_CALLERS) {
        for (const [key, { connections }] of this.counts) if (connections === 0) this.counts.delete(key);
      }
      counts = { connections: 0, bucket: new TokenBucket(RATE) };
      this.counts.set(id, counts);
    }
    return counts;
  }
}

/** One connection, and how long it may take for what comes next. */
class Connection {
  private timer: NodeJS.Timeout | undefined;
  private isAnswering = false;
  private waitingBytes = 0;
  private hasMoved = false;

  constructor(
    private readonly socket: OverlaySocket,
    readonly whoIs: () => PortCaller,
    private readonly bucket: TokenBucket,
  ) {
    socket.on('drain', () => {
      this.hasMoved = true;
    });
    this.set(REQUEST_MS);
  }

  takeRequest(): boolean {
    const now = performanceNow();
    if (!this.bucket.canTake(now)) return false;
    this.bucket.take(now);
    return true;
  }

  onRequest(response: { once(event: 'close', listener: () => void): unknown }, isEnding: () => boolean): void {
    this.isAnswering = true;
    this.set(ANSWER_MS);
    response.once('close', () => {
      this.isAnswering = false;
      if (isEnding()) this.socket.end();
      else if (!this.socket.destroyed) this.set(REQUEST_MS);
    });
  }

  endIfIdle(): void {
    if (!this.isAnswering) this.socket.end();
  }

  dispose(): void {
    clearTimeout(this.timer);
  }

  private set(delayMs: number): void {
    clearTimeout(this.timer);
    this.waitingBytes = this.socket.writableLength;
    this.hasMoved = false;
    this.timer = setTimeout(() => this.onLate(), delayMs) as NodeJS.Timeout;
  }

  private onLate(): void {
    const { writableLength } = this.socket;
    // An answer may take its time as long as some of it leaves, or nothing waits: a caller that follows a log waits for what comes.
    if (this.isAnswering && (writableLength === 0 || writableLength < this.waitingBytes || this.hasMoved)) {
      this.set(ANSWER_MS);
      return;
    }
    this.socket.destroy();
  }
}
