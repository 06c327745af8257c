// The servers that read requests: of HTTP/1.1 and of HTTP/2, from node. They listen nowhere: connections are given to them when it is known
// what the client speaks.
//
//   connection -> (PROXY header) -> TLS: by ALPN     -> HTTP/1.1 or HTTP/2
//                                   else: first bytes -> HTTP/1.1 or HTTP/2 with prior knowledge

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../errors.js';
import { clearTimeout, dateNow, performanceNow, setTimeout } from '../../util/runtime/real-timers.js';
import { type Rate, TokenBucket } from '../../util/token-bucket.js';
import type { GatewayConfig } from './config.js';
import { badRequest, type Failure, pageFor, TOO_MANY } from './failure.js';
import { Http1Request, responseFor, upgradeOf } from './inbound/http1-request.js';
import { Http2Request } from './inbound/http2-request.js';
import { BadRequest, type Caller, type Inbound } from './inbound/inbound.js';

export interface FrontOwner {
  /** Called with a request that is well formed. */
  onRequest(inbound: Inbound, connection: Connection): void;
  /** Called for a request that is not, or is beyond a limit, after it was answered. */
  onRejected(failure: Failure, caller: Caller, method: string, path: string): void;
  readonly isDraining: boolean;
  newRequestId(): string;
}

/** A connection of a client. */
export interface Connection {
  readonly socket: Duplex;
  readonly caller: Caller;
  session: ServerHttp2Session | undefined;
  /** Requests without a whole answer. */
  open: number;
  readonly requests: Set<Inbound>;
  /** When the last of them ended, or the connection began, in ms. */
  idleSinceMs: number;
  /** Whether a request has come. */
  hasServed: boolean;
}

/** Streams of HTTP/2 that a client may cancel, and control frames that it may send, without losing the connection (CVE-2023-44487). */
const CANCELS: Rate = { perS: 20, burst: 200 };
const CONTROLS: Rate = { perS: 20, burst: 200 };
const CANCELLED: ReadonlySet<number> = new Set([constants.NGHTTP2_CANCEL, constants.NGHTTP2_PROTOCOL_ERROR]);
const MAX_SESSION_MB = 16;
const MAX_BAD_FRAMES = 100;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n');
/** Java's client asks for HTTP/2 in its first request and takes an answer of HTTP/1.1 as well. */
const UPGRADE_TO_H2C = /\r\nupgrade:[ \t]*h2c[ \t]*\r\n/i;

const REJECTED_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

export class Front {
  private readonly http1: Server;
  /** Ignores the header Upgrade. */
  private readonly http1Only: Server;
  private readonly http2: Http2Server;
  private readonly connections = new Map<Duplex, Connection>();
  /** The one whose session is being made. */
  private starting: Connection | undefined;

  constructor(
    private readonly owner: FrontOwner,
    private readonly limits: GatewayConfig['limits'],
  ) {
    this.http1 = this.http1Server();
    this.http1.on('upgrade', (message: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.onUpgrade(message, socket, head),
    );
    this.http1Only = this.http1Server();
    this.http2 = this.http2Server();
  }

  /** Connections that are open. */
  get open(): Iterable<Connection> {
    return this.connections.values();
  }

  get size(): number {
    return this.connections.size;
  }

  /** Serves a connection whose protocol is known from ALPN, or is found out by its first bytes. */
  accept(socket: Duplex, caller: Caller, protocol: 'h2' | 'http/1.1' | undefined): void {
    const now = dateNow();
    const connection: Connection = {
      socket,
      caller,
      session: undefined,
      open: 0,
      requests: new Set(),
      idleSinceMs: now,
      hasServed: false,
    };
    this.connections.set(socket, connection);
    socket.on('close', () => {
      this.connections.delete(socket);
      for (const request of [...connection.requests]) request.onConnectionClose();
    });
    socket.on('error', () => {});
    if (protocol === 'h2') this.startHttp2(connection);
    else if (protocol === 'http/1.1') this.http1.emit('connection', socket);
    else this.sniff(connection);
  }

  /** Closes connections of HTTP/1.1 that have been idle for so long. A session of HTTP/2 that drains ends with its last stream. */
  closeIdle(idleMs: number): void {
    const now = dateNow();
    for (const { open, idleSinceMs, session, socket } of this.connections.values()) {
      const isIdle = session === undefined && open === 0 && socket.writableLength === 0;
      if (isIdle && now - idleSinceMs >= idleMs) socket.destroy();
    }
  }

  /** Sweeps connections that wait: http ones of HTTP/1.1 are those of Node. */
  sweep(): void {
    const now = dateNow();
    const { headersTimeoutMs, keepAliveTimeoutMs } = this.limits;
    for (const { open, idleSinceMs, hasServed, session } of this.connections.values()) {
      if (session === undefined || open > 0) continue;
      const idleMs = now - idleSinceMs;
      if (idleMs > (hasServed ? keepAliveTimeoutMs : headersTimeoutMs)) session.close();
      if (idleMs > 2 * keepAliveTimeoutMs + headersTimeoutMs) session.destroy();
    }
  }

  /** Sends GOAWAY, so that clients of HTTP/2 begin nothing more here. */
  drain(): void {
    for (const { session } of this.connections.values()) session?.close();
  }

  destroy(): void {
    for (const { session, socket } of this.connections.values()) {
      session?.destroy();
      socket.destroy();
    }
    // Stops the timers of Node.
    this.http1.close();
    this.http1Only.close();
    this.http2.close();
  }

  // --- what does the client speak ---

  private sniff(connection: Connection): void {
    const { socket } = connection;
    const timer = setTimeout(() => socket.destroy(), this.limits.headersTimeoutMs).unref();
    let seen: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const length = Math.min(seen.length, PREFACE.length);
      const isPreface = seen.compare(PREFACE, 0, length, 0, length) === 0;
      if (isPreface && seen.length < PREFACE.length) return;
      stop();
      socket.unshift(seen);
      if (isPreface) this.startHttp2(connection);
      else if (UPGRADE_TO_H2C.test(seen.toString('latin1', 0, 65_536))) this.http1Only.emit('connection', socket);
      else this.http1.emit('connection', socket);
    };
    const stop = (): void => {
      clearTimeout(timer);
      socket.off('readable', onReadable);
      socket.off('end', onEnd);
    };
    const onEnd = (): void => {
      socket.destroy();
    };
    socket.on('readable', onReadable);
    socket.on('end', onEnd);
    socket.on('close', () => clearTimeout(timer));
  }

  // --- HTTP/1.1 ---

  private http1Server(): Server {
    const { limits } = this;
    const server = createServer({
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      // A request may take long. Pauses in it are limited.
      requestTimeout: 0,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(Math.ceil(limits.headersTimeoutMs / 2), 1_000),
      insecureHTTPParser: false,
      requireHostHeader: true,
    });
    // Node drops what is beyond this limit, and a request without some of its fields is another request: it is counted in onRequest.
    server.maxHeadersCount = limits.maxHeaders + 1;
    // For a client that does not read the end of its answer.
    server.timeout = Math.max(limits.idleTimeoutMs, limits.answerTimeoutMs) + 1_000;
    server.on('request', (message: IncomingMessage, response: ServerResponse) =>
      this.onHttp1(message, response, false, undefined, undefined),
    );
    server.on('checkContinue', (message: IncomingMessage, response: ServerResponse) =>
      this.onHttp1(message, response, true, undefined, undefined),
    );
    server.on('checkExpectation', (message: IncomingMessage, response: ServerResponse) =>
      this.reject(message, response, badRequest(417)),
    );
    server.on('connect', (message: IncomingMessage) => this.reject(message, responseFor(message), badRequest(405)));
    server.on('clientError', (error: Error, socket: Duplex) => this.onClientError(error, socket));
    // From then on it times its connections.
    server.emit('listening');
    return server;
  }

  private onUpgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const response = responseFor(message);
    socket.on('error', () => {});
    this.onHttp1(message, response, false, upgradeOf(message.rawHeaders), head);
  }

  private onHttp1(
    message: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    upgrade: string | undefined,
    head: Buffer | undefined,
  ): void {
    const connection = this.connections.get(message.socket);
    if (connection === undefined) {
      message.socket.destroy();
      return;
    }
    const { limits } = this;
    let failure: Failure | undefined;
    let inbound: Http1Request | undefined;
    if (message.rawHeaders.length > 2 * limits.maxHeaders) failure = badRequest(431);
    else if (connection.open >= limits.maxRequestsPerConnection) failure = TOO_MANY;
    else {
      try {
        inbound = new Http1Request(connection.caller, message, response, limits, expectsContinue, upgrade, head);
        // Its bytes would be taken for those of the new protocol.
        if (head !== undefined && inbound.hasBody) failure = badRequest(400);
      } catch (error) {
        failure = badRequest(error instanceof BadRequest ? error.status : 400);
      }
    }
    if (failure !== undefined || inbound === undefined) this.reject(message, response, failure ?? badRequest(400));
    else this.begin(inbound, connection);
  }

  private begin(inbound: Inbound, connection: Connection): void {
    connection.open++;
    connection.requests.add(inbound);
    connection.hasServed = true;
    this.owner.onRequest(inbound, connection);
  }

  private reject(message: IncomingMessage, response: ServerResponse, failure: Failure): void {
    const connection = this.connections.get(message.socket);
    const page = pageFor(failure, '', this.owner.newRequestId(), message.rawHeaders);
    // What follows on this connection may not be what it seems.
    response.shouldKeepAlive = false;
    response.writeHead(page.status, page.reason, page.headers as never);
    response.end(message.method === 'HEAD' ? undefined : page.body);
    if (connection !== undefined)
      this.owner.onRejected(failure, connection.caller, message.method ?? '', message.url ?? '');
  }

  private onClientError(error: Error, socket: Duplex): void {
    const connection = this.connections.get(socket);
    const code = codeOf(error) ?? '';
    if (connection === undefined || connection.open > 0 || code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const failure = badRequest(REJECTED_STATUS[code] ?? 400);
    const { status, reason, headers, body } = pageFor(failure, '', this.owner.newRequestId(), []);
    let text = `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\n`;
    for (let index = 0; index < headers.length; index += 2) text += `${headers[index]}: ${headers[index + 1]}\r\n`;
    socket.end(`${text}\r\n${body}`, () => socket.destroy());
    this.owner.onRejected(failure, connection.caller, '', '');
  }

  // --- HTTP/2 ---

  private http2Server(): Http2Server {
    const { limits } = this;
    const server = createHttp2Server({
      settings: {
        maxConcurrentStreams: limits.maxRequestsPerConnection,
        maxHeaderListSize: limits.maxHeaderBytes,
        enableConnectProtocol: true,
      },
      // Five are pseudo headers.
      maxHeaderListPairs: limits.maxHeaders + 5,
      maxSessionMemory: MAX_SESSION_MB,
      maxSessionInvalidFrames: MAX_BAD_FRAMES,
      maxSessionRejectedStreams: MAX_BAD_FRAMES,
    });
    server.on('session', (session) => this.onSession(session));
    server.on('sessionError', () => {});
    return server;
  }

  private startHttp2(connection: Connection): void {
    this.starting = connection;
    this.http2.emit('connection', connection.socket as NetSocket);
    this.starting = undefined;
  }

  private onSession(session: ServerHttp2Session): void {
    const connection = this.starting;
    if (connection === undefined) {
      session.destroy();
      return;
    }
    connection.session = session;
    sessions.set(session, { connection, cancels: new TokenBucket(CANCELS) });
    session.on('error', () => {});
    // Not by the server: a stream that has ended already does not say whose it is.
    session.on('stream', ((stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) =>
      this.onStream(session, stream, headers, raw)) as (
      stream: ServerHttp2Stream,
      headers: IncomingHttpHeaders,
    ) => void);
    const controls = new TokenBucket(CONTROLS);
    const onControl = (): void => limit(session, controls);
    session.on('remoteSettings', onControl);
    session.on('ping', onControl);
    if (this.owner.isDraining) session.close();
  }

  private onStream(
    session: ServerHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: string[],
  ): void {
    const found = sessions.get(session);
    stream.on('error', () => {});
    if (found === undefined) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    const { connection, cancels } = found;
    // Cancelled in the same packet that brought it: its 'close' may be over.
    if (stream.closed || stream.destroyed) {
      limit(session, cancels);
      return;
    }
    let inbound: Http2Request | undefined;
    // Whatever the code: a reset without an error costs as much.
    stream.on('close', () => {
      const isReset = stream.aborted || CANCELLED.has(stream.rstCode);
      if (isReset && inbound?.isAborted !== true) limit(session, cancels);
    });
    let failure: Failure;
    if (raw.length > 2 * (this.limits.maxHeaders + 5)) failure = badRequest(431);
    else {
      try {
        inbound = new Http2Request(connection.caller, stream, headers, raw, this.limits);
        this.begin(inbound, connection);
        return;
      } catch (error) {
        failure = badRequest(error instanceof BadRequest ? error.status : 400);
      }
    }
    const page = pageFor(failure, '', this.owner.newRequestId(), []);
    if (!stream.destroyed) {
      const fields: Record<string, string | number> = { ':status': page.status };
      for (let index = 0; index < page.headers.length; index += 2)
        fields[page.headers[index].toLowerCase()] = page.headers[index + 1];
      stream.respond(fields);
      stream.end(page.body);
      stream.resume();
    }
    this.owner.onRejected(failure, connection.caller, String(headers[':method']), String(headers[':path']));
  }
}

const sessions = new WeakMap<ServerHttp2Session, { connection: Connection; cancels: TokenBucket }>();

/** Ends a session that does something more often than it may. */
function limit(session: ServerHttp2Session, bucket: TokenBucket): void {
  const now = performanceNow();
  if (bucket.canTake(now)) bucket.take(now);
  else session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}
