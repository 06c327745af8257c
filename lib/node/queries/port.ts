// The port of queries: HTTP/1.1 over circuits. Nothing of HTTP is loaded before the first one comes. What a caller may take is limited here:
// connections, the size and the time of a request, the time of an answer, and requests a second.

import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import { kRemote } from '../../mux/hidden.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { nodeHttp } from '../../util/runtime/builtins.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { Timers } from '../../util/timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import type { ErrorAnswer } from './answers.js';
import { type QueryHandler, sendJson } from './api.js';
import { CallerWork, WORK_OF_ALL } from './work.js';

/** Connections of all callers, and of one. */
export const MAX_CONNECTIONS = 256;
export const MAX_CONNECTIONS_PER_CALLER = 16;
/** Connections of one caller beyond that which learn so. */
const MAX_REFUSED_PER_CALLER = 4;
/** Of one request, all together. */
export const MAX_HEADER_BYTES = 8 * 1024;
/** From the first moment of a connection to the end of the headers of its first request. */
export const REQUEST_MS = 5_000;
/** From the end of an answer to the end of the headers of the next request: those who watch a node ask every few seconds. */
export const IDLE_MS = 15_000;
/** How long the caller may take nothing of an answer. */
export const ANSWER_MS = 30_000;
/** Requests of one caller, over all of its connections. */
export const RATE = { perS: 50, burst: 100 } as const;
/** Bytes of answers that wait for their callers, of all together. Beyond that, nothing is answered. */
export const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Callers whose rate is remembered. */
const MAX_CALLERS = 1_024;

/** Returns an answer as bytes, to end a connection with that has no request. */
function lastAnswer(status: string, code: string, message: string): string {
  const body = JSON.stringify({ error: { code, message } } satisfies ErrorAnswer);
  const head = `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\n`;
  return `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

const TOO_MANY = lastAnswer(
  '429 Too Many Requests',
  'EAGAIN',
  `more than ${MAX_CONNECTIONS_PER_CALLER} connections of one node`,
);
const TOO_LARGE = lastAnswer(
  '431 Request Header Fields Too Large',
  'ERR_STARLANE_ARGUMENT',
  `a request has at most ${MAX_HEADER_BYTES} bytes`,
);
const MALFORMED = lastAnswer('400 Bad Request', 'ERR_STARLANE_ARGUMENT', 'the request is malformed');

/** What counts for the node at the other end. */
interface Caller {
  connections: number;
  /** Connections that are too many and about to end. */
  refused: number;
  readonly bucket: TokenBucket;
  readonly work: CallerWork;
}

export class QueryPort {
  private server: HttpServer | undefined;
  private readonly connections = new Map<Socket, Connection>();
  private readonly callers = new Map<string, Caller>();
  private readonly work = new TokenBucket(WORK_OF_ALL);
  private isEnding = false;

  constructor(
    private readonly timers: Timers,
    private readonly handler: QueryHandler,
  ) {}

  /** How many connections are open. */
  get size(): number {
    return this.connections.size;
  }

  /** Takes a circuit. */
  onSocket(socket: Socket): void {
    const remote = socket[kRemote] as RemoteEndpoint | null;
    if (remote === null) return;
    const caller = this.callerOf(callerKey(remote));
    socket.on('error', () => {});
    if (caller.connections >= MAX_CONNECTIONS_PER_CALLER) {
      this.refuse(socket, caller);
      return;
    }
    caller.connections++;
    const connection = new Connection(socket, this.timers, caller);
    this.connections.set(socket, connection);
    socket.once('close', () => {
      connection.dispose();
      this.connections.delete(socket);
      caller.connections--;
    });
    this.server ??= withoutContext(() => this.makeServer());
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

  /** Ends a connection that is too many, with the reason, unless some get it already: they must not take the places of other callers. */
  private refuse(socket: Socket, caller: Caller): void {
    if (caller.refused >= MAX_REFUSED_PER_CALLER) {
      socket.destroy();
      return;
    }
    caller.refused++;
    socket.once('close', () => caller.refused--);
    // Whatever the caller does, the connection ends as soon as the link has this.
    socket.end(TOO_MANY, () => socket.destroy());
  }

  private makeServer(): HttpServer {
    const { createServer } = nodeHttp();
    const server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, noDelay: false },
      (request, response) => this.onRequest(request, response),
    );
    server.timeout = 0;
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (socket.writable)
        socket.end(error.code === 'HPE_HEADER_OVERFLOW' ? TOO_LARGE : MALFORMED, () => socket.destroy());
      else socket.destroy();
    });
    return server;
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.connections.get(request.socket as unknown as Socket);
    if (connection === undefined) return;
    connection.onRequest(response, () => this.isEnding);
    // No query has a body, and what comes as one is not read.
    const hasBody =
      request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
    if (hasBody || this.isEnding) response.setHeader('connection', 'close');
    if (hasBody) {
      sendJson(response, 413, { error: { code: 'ERR_STARLANE_ARGUMENT', message: 'a query has no body' } });
      return;
    }
    if (!connection.takeRequest()) {
      response.setHeader('retry-after', '1');
      const message = `more than ${RATE.perS} requests a second`;
      sendJson(response, 429, { error: { code: 'EAGAIN', message } });
      return;
    }
    if (this.waitingBytes > MAX_WAITING_BYTES) {
      response.setHeader('retry-after', '1');
      sendJson(response, 503, { error: { code: 'EAGAIN', message: 'too many answers wait to be read' } });
      return;
    }
    this.handler(request, response, connection.work);
  }

  private get waitingBytes(): number {
    let bytes = 0;
    for (const connection of this.connections.values()) bytes += connection.waitingBytes;
    return bytes;
  }

  private callerOf(key: string): Caller {
    let caller = this.callers.get(key);
    if (caller === undefined) {
      if (this.callers.size >= MAX_CALLERS) this.forgetCallers();
      caller = {
        connections: 0,
        refused: 0,
        bucket: new TokenBucket(RATE),
        work: new CallerWork(this.timers, this.work),
      };
      this.callers.set(key, caller);
    }
    return caller;
  }

  private forgetCallers(): void {
    for (const [key, { connections, refused }] of this.callers) {
      if (connections + refused === 0) this.callers.delete(key);
    }
  }
}

/**
 * Returns what a circuit counts for: the node at the other end, if it has proved who it is. Others count for the neighbour that they came
 * by, or anybody could use up what is another's.
 */
function callerKey({ peerId, isVerified, via }: RemoteEndpoint): string {
  return isVerified ? peerId : `by ${via[0]}`;
}

/** One connection, and how long it may take for what comes next. */
class Connection {
  private readonly deadline: Deadline;
  /** The answer that is being made, or sent. */
  private response: ServerResponse | undefined;
  private sentBytes = 0;
  private readonly responses = new Set<ServerResponse>();

  constructor(
    private readonly socket: Socket,
    private readonly timers: Timers,
    private readonly caller: Caller,
  ) {
    this.deadline = new Deadline(timers, () => this.onLate());
    this.deadline.set(REQUEST_MS);
  }

  /** Counts a request. Returns false when there are too many. */
  takeRequest(): boolean {
    const now = this.timers.now();
    const { bucket } = this.caller;
    if (!bucket.canTake(now)) return false;
    bucket.take(now);
    return true;
  }

  onRequest(response: ServerResponse, isEnding: () => boolean): void {
    this.response = response;
    this.responses.add(response);
    this.sentBytes = this.taken;
    this.deadline.set(ANSWER_MS);
    response.once('close', () => {
      this.responses.delete(response);
      if (this.response !== response) return;
      this.response = undefined;
      if (isEnding()) this.socket.end();
      else this.deadline.set(IDLE_MS);
    });
  }

  /** Bytes of answers that wait for the caller, also those of requests that it has sent before it got the answer to another one. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const response of this.responses) bytes += response.writableLength;
    return bytes;
  }

  get work(): CallerWork {
    return this.caller.work;
  }

  endIfIdle(): void {
    if (this.response === undefined) this.socket.end();
  }

  dispose(): void {
    this.deadline.clear();
  }

  /** Bytes that the other end, or the link to it, has taken. */
  private get taken(): number {
    return this.socket.bytesWritten - this.socket.writableLength;
  }

  private onLate(): void {
    const { response, taken } = this;
    // An answer may take its time as long as some of it leaves, or nothing waits: events, and queries that wait for something.
    if (response !== undefined && (this.socket.writableLength === 0 || taken > this.sentBytes)) {
      this.sentBytes = taken;
      this.deadline.set(ANSWER_MS);
      return;
    }
    this.socket.destroy();
  }
}
