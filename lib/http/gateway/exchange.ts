// One request and its answer: chooses a service, sends the request on, and brings the answer back. Nothing is collected: each side reads
// as fast as the other one writes.
//
// A request goes to one service only. It is sent again in two cases: a dial has failed so that no service has got it; or the circuit had
// waited idle and broke before a byte of the answer, and the request is idempotent and has no body (RFC 9110, section 9.2.2).

import { randomBytes } from 'node:crypto';
import { parseServiceAddress } from '../../address.js';
import { codeOf, netError, starlaneError } from '../../errors.js';
import { hash, random, type Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import { nextTick } from '../../util/runtime/real-timers.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Http1Circuit } from './circuit/http1-circuit.js';
import type { Http1Pool } from './circuit/http1-pool.js';
import type { Http2Pool } from './circuit/http2-pool.js';
import type { OutboundRequest, RequestSink, ServiceDial } from './circuit/outbound.js';
import type { AnswerHead } from './circuit/response-parser.js';
import type { GatewayConfig } from './config.js';
import type { Counters } from './counters.js';
import { badRequest, type Failure, failureOf, isGrpc, NO_RULE, pageFor } from './failure.js';
import { forwardedLines, identityLines } from './forwarded.js';
import {
  answerFields,
  cookieOf,
  FieldKind,
  fieldOf,
  type HeaderList,
  kindOf,
  namedByConnection,
  passedTrailers,
} from './headers.js';
import type { BodySink, Inbound } from './inbound/inbound.js';
import { inOrder, type Route } from './routes.js';
import { rulePath } from './rule-path.js';
import { Tunnel } from './tunnel.js';

/** What requests of a gateway share. */
export interface ExchangeHost {
  readonly node: Node;
  readonly http1: Http1Pool;
  readonly http2: Http2Pool;
  readonly timers: Timers;
  readonly counters: Counters;
  /** Whether connections should end with the request that they carry. */
  readonly isDraining: boolean;
  newRequestId(): string;
  onExchangeEnd(exchange: Exchange): void;
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);
/** Requests with these methods say that they have no body, as some servers ask for it (RFC 9110, section 8.6). */
const USUALLY_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
/** Ends of a dial that do not say whether the service has got what was written. */
const UNKNOWN_ENDS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT']);
const USUAL_HTTP_PORT = 80;
const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

export class Exchange implements RequestSink, BodySink, Timed {
  readonly startMs: number;
  readonly requestId: string;
  /** The address of the service; empty as long as there is none. */
  service = '';
  /** The node that got the request, if it is known. */
  nodeId = '';
  /** Of the answer; 0 as long as there is none. */
  status = 0;
  /** The code of the failure, if the gateway itself has answered. */
  failure: string | undefined;
  bytesIn = 0;
  isDone = false;
  private readonly isTrusted: boolean;
  private readonly host: string;
  private services: readonly string[] = [];
  private route: Route | undefined;
  private key: string | undefined;
  private attempt = 0;
  private outbound: OutboundRequest | undefined;
  private isReused = false;
  private isReading = false;
  private isBodyRead: boolean;
  private isAnswering = false;
  private mustFlush = false;
  /** Of the body of the answer, where its length is known. */
  private leftBytes: number | undefined;
  private isEnded = false;
  /** The client reads the answer more slowly than the service sends it. */
  private isBlocked = false;
  private tunnel: Tunnel | undefined;
  private timer: Timer | undefined;
  private activeMs: number;

  constructor(
    private readonly gateway: ExchangeHost,
    private readonly config: GatewayConfig,
    readonly inbound: Inbound,
  ) {
    const { headers, caller, authority } = inbound;
    this.startMs = gateway.timers.now();
    this.activeMs = this.startMs;
    this.isBodyRead = !inbound.hasBody;
    this.isTrusted = config.trust.includes(caller);
    const given = this.isTrusted ? fieldOf(headers, 'x-request-id') : undefined;
    this.requestId = given !== undefined && REQUEST_ID.test(given) ? given : gateway.newRequestId();
    this.host = hostOf(authority);
    inbound.setSink(this);
  }

  /** Finds the service and sends the request to it. */
  start(): void {
    const { inbound, config } = this;
    const route = config.routes.find(this.host, rulePath(inbound.path));
    if (route === undefined || route === null) {
      this.answerFailure(route === null ? badRequest(400) : NO_RULE);
      return;
    }
    this.route = route;
    this.key = this.stickyKey(route);
    this.services = inOrder(route, this.key, (address) => this.instancesOf(address) !== 0);
    this.arm(this.answerTimeoutMs);
    this.send(true);
  }

  /** Answers with a failure of the gateway itself. */
  answerFailure(failure: Failure): void {
    if (this.isDone) return;
    this.failure = failure.code;
    const { inbound } = this;
    this.outbound?.abort();
    this.outbound = undefined;
    if (inbound.hasResponded || this.isAnswering) {
      inbound.abort();
      this.finish();
      return;
    }
    this.isAnswering = true;
    const page = pageFor(failure, this.service, this.requestId, inbound.headers);
    this.status = page.status;
    if (this.gateway.isDraining || !this.isBodyRead) inbound.setLast();
    const hasBody = page.body.length > 0 && inbound.method !== 'HEAD';
    try {
      inbound.respond(page.status, page.reason, page.headers, hasBody ? 'plain' : 'none');
      if (hasBody) inbound.write(page.body);
      if (hasBody || inbound.version !== '2') inbound.end([]);
    } catch {
      inbound.abort();
    }
    if (!this.isBodyRead) inbound.discard();
    this.finish();
  }

  /** Answers with a text of the gateway itself. */
  answerText(text: string): void {
    const { inbound } = this;
    const body = Buffer.from(text);
    this.status = 200;
    this.isAnswering = true;
    inbound.respond(200, 'OK', ['Content-Type', 'text/plain', 'Content-Length', String(body.length)], 'plain');
    inbound.write(body);
    inbound.end([]);
    this.finish();
  }

  /** Breaks it off, at the deadline of a gateway that closes. */
  abort(): void {
    if (this.isDone) return;
    this.outbound?.abort();
    this.tunnel?.destroy();
    this.inbound.abort();
    this.finish();
  }

  // --- the request ---

  private send(mayReuse: boolean): void {
    const address = this.services[this.attempt];
    this.service = address;
    try {
      const dial = this.dialTo(address);
      if (this.isHttp2) this.sendByHttp2(dial);
      else this.sendByHttp1(dial, mayReuse);
    } catch (error) {
      this.onFailure(error as Error);
    }
  }

  private get isHttp2(): boolean {
    const protocol = this.route?.protocol;
    return protocol === 'h2c' || (protocol === 'auto' && isGrpc(this.inbound.headers));
  }

  private sendByHttp1(dial: ServiceDial, mayReuse: boolean): void {
    const { inbound, gateway } = this;
    const { hasBody, length, upgrade } = inbound;
    const head = this.http1Head();
    let circuit: Http1Circuit | undefined = mayReuse && upgrade === undefined ? gateway.http1.take(dial) : undefined;
    this.isReused = circuit !== undefined;
    circuit ??= gateway.http1.dial(dial);
    this.outbound = circuit;
    const body = !hasBody ? 'none' : (length ?? 'chunked');
    circuit.send(head, inbound.method, this, body, upgrade !== undefined);
  }

  private sendByHttp2(dial: ServiceDial): void {
    const { inbound } = this;
    const headers: HeaderList = [];
    for (const line of this.fields(true).split('\r\n')) {
      const colon = line.indexOf(': ');
      if (colon > 0) headers.push(line.slice(0, colon), line.slice(colon + 2));
    }
    const authority = inbound.authority === '' ? this.service : inbound.authority;
    const head = { method: inbound.method, path: this.pathFor(), authority, headers };
    this.isReused = false;
    this.outbound = this.gateway.http2.send(dial, head, inbound.hasBody, this);
    // It may have connected before it was known here.
    if (this.outbound.isConnected) this.onConnected();
  }

  private http1Head(): string {
    const { inbound } = this;
    const { method, authority, hasBody, length, upgrade } = inbound;
    const host = authority === '' ? this.service : authority;
    let head = `${method} ${this.pathFor()} HTTP/1.1\r\nHost: ${host}\r\n${this.fields(false)}`;
    if (hasBody) head += length === undefined ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${length}\r\n`;
    else if (USUALLY_WITH_BODY.has(method)) head += 'Content-Length: 0\r\n';
    if (upgrade !== undefined) {
      head += `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`;
      if (inbound.isExtendedConnect) head += `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n`;
    }
    return `${head}\r\n`;
  }

  private pathFor(): string {
    const { path } = this.inbound;
    const strip = this.route?.strip ?? '';
    if (strip === '') return path;
    // A rule may have matched another spelling of the prefix. Two slashes at the front would be a host for some.
    const rest = (path.startsWith(strip) ? path : (rulePath(path) ?? path)).slice(strip.length);
    return `/${rest.replace(/^\/+/, '')}`;
  }

  /** Returns the fields that go to the service as lines: those of the request, and what the gateway adds. */
  private fields(isHttp2: boolean): string {
    const { inbound, isTrusted } = this;
    const { headers, caller } = inbound;
    const named = namedByConnection(headers);
    const trusted: HeaderList = [];
    let text = '';
    for (let index = 0; index < headers.length; index += 2) {
      const name = headers[index];
      const value = headers[index + 1];
      switch (kindOf(name)) {
        case FieldKind.OTHER:
        case FieldKind.COOKIE:
          if (named?.has(name.toLowerCase()) !== true) text += `${name}: ${value}\r\n`;
          break;
        case FieldKind.FORWARDED:
          if (isTrusted) trusted.push(name, value);
          break;
        case FieldKind.EXPECT:
          if (inbound.expectsContinue && !isHttp2) text += 'Expect: 100-continue\r\n';
          break;
        case FieldKind.TE:
          // The only value that is not for this connection alone.
          if (/(?:^|,)[ \t]*trailers[ \t]*(?:,|;|$)/i.test(value)) text += isHttp2 ? 'te: trailers\r\n' : TE_TRAILERS;
          break;
        case FieldKind.CONTENT_LENGTH:
          if (isHttp2 && inbound.hasBody) text += `content-length: ${value}\r\n`;
          break;
      }
    }
    const host = inbound.authority;
    text += forwardedLines({ caller, trusted, host, prefix: this.route?.strip ?? '' });
    return `${text}${identityLines(caller)}X-Request-Id: ${this.requestId}\r\n`;
  }

  // --- where it goes ---

  /** Returns how many instances of a service are known; undefined for an address of a node, which is not looked up. */
  private instancesOf(address: string): number | undefined {
    return this.instances(address)?.length;
  }

  private instances(address: string): readonly ServiceInfo[] | undefined {
    const target = parseServiceAddress(address);
    if (target.kind !== 'service') return undefined;
    const all = this.gateway.node.serviceMap().get(target.service);
    const { port } = target;
    const atPort = port === undefined ? all : all.filter((info) => info.port === port || info.port === 0);
    const node = this.route?.node;
    return node === undefined ? atPort : atPort.filter(({ nodeId }) => nodeId === this.nodeNamed(node));
  }

  /** Returns the id of a node by its id or its name as a member. */
  private nodeNamed(node: string): string {
    return this.gateway.node.members().find(({ name }) => name === node)?.id ?? node;
  }

  private dialTo(address: string): ServiceDial {
    const { limits, secure } = this.config;
    const { key, route } = this;
    const preferred: Selector = key === undefined ? random : hash(key);
    const node = route?.node;
    const wanted = node === undefined ? undefined : this.nodeNamed(node);
    const selector: Selector = (instances) => {
      const allowed = wanted === undefined ? instances : instances.filter(({ nodeId }) => nodeId === wanted);
      if (allowed.length === 0) return undefined;
      const usual = allowed.filter(({ port }) => port === USUAL_HTTP_PORT || port === 0);
      return preferred(usual.length > 0 ? usual : allowed);
    };
    const instances = this.instances(address);
    const isAbsent = instances !== undefined && instances.length === 0;
    const timeoutMs = isAbsent ? Math.min(limits.absentTimeoutMs, limits.dialTimeoutMs) : limits.dialTimeoutMs;
    const dial = { address, timeoutMs, selector, secure };
    if (instances === undefined) return { ...dial, instance: undefined };
    if (isAbsent || (key === undefined && wanted === undefined && !this.isHttp2))
      return { ...dial, instance: wanted === undefined ? undefined : { nodeId: wanted, port: 0 } };
    const instance = selector(instances);
    if (instance === undefined) return { ...dial, instance };
    const { nodeId, port } = instance;
    const first: Selector = (others) =>
      others.find((info) => info.nodeId === nodeId && info.port === port) ?? selector(others);
    return { ...dial, selector: first, instance: { nodeId, port } };
  }

  private stickyKey({ sticky }: Route): string | undefined {
    const { headers, caller } = this.inbound;
    switch (sticky?.from) {
      case undefined:
        return undefined;
      case 'cookie':
        return cookieOf(headers, sticky.name);
      case 'header':
        return fieldOf(headers, sticky.name);
      case 'ip': {
        const forwarded = this.isTrusted ? fieldOf(headers, 'x-forwarded-for') : undefined;
        return forwarded?.split(',')[0].trim() ?? caller.address ?? caller.peerId;
      }
    }
  }

  // --- from the client ---

  onBody(chunk: Buffer): void {
    const { outbound } = this;
    this.touch();
    this.bytesIn += chunk.length;
    if (outbound?.write(chunk) === false) this.inbound.pause();
  }

  onBodyEnd(trailers: HeaderList): void {
    this.touch();
    this.isBodyRead = true;
    this.outbound?.end(passedTrailers(trailers));
  }

  onGone(): void {
    // A tunnel sees it by itself.
    if (this.isDone || this.tunnel !== undefined) return;
    this.outbound?.abort();
    this.outbound = undefined;
    this.finish();
  }

  onAnswerDrain(): void {
    this.touch();
    this.isBlocked = false;
    this.outbound?.resume();
  }

  // --- from the service ---

  onConnected(): void {
    const { inbound, outbound } = this;
    if (outbound === undefined) return;
    this.touch();
    this.nodeId = outbound.nodeId;
    if (!inbound.hasBody || this.isReading) return;
    this.isReading = true;
    inbound.read();
  }

  onDrain(): void {
    this.touch();
    if (this.isReading) this.inbound.resume();
  }

  onInformational(status: number, headers: HeaderList): void {
    this.touch();
    if (status === 100 && !this.inbound.expectsContinue) return;
    this.inbound.informational(status, status === 100 ? [] : answerFields(headers, false));
  }

  onHead(head: AnswerHead): void {
    if (this.isDone) return;
    this.touch();
    const { inbound } = this;
    this.status = head.status;
    this.isAnswering = true;
    if (head.status === 101) {
      this.startTunnel(head);
      return;
    }
    if (this.gateway.isDraining || (inbound.expectsContinue && !this.isBodyRead)) inbound.setLast();
    const hasBody = !head.isEmpty && inbound.method !== 'HEAD';
    // An answer of status 204 has no length (RFC 9110, section 8.6).
    const headers = answerFields(head.headers, head.status !== 204);
    headers.push('X-Request-Id', this.requestId);
    try {
      inbound.respond(head.status, head.reason, headers, !hasBody ? 'none' : head.isChunked ? 'trailers' : 'plain');
    } catch {
      // The service would send on to nobody.
      this.outbound?.abort();
      this.outbound = undefined;
      this.isAnswering = inbound.hasResponded;
      this.answerFailure(failureOf(starlaneError('ERR_STARLANE_MESSAGE')));
      return;
    }
    if (!hasBody) return;
    // What follows the head at once leaves with it. A stream that has nothing to say yet begins with the head alone.
    this.mustFlush = true;
    this.leftBytes = head.isChunked ? undefined : head.length;
    nextTick(flush, this);
  }

  /** Sends the head of an answer whose body has not begun. */
  flushHead(): void {
    if (this.mustFlush && !this.isDone) this.inbound.flush();
  }

  onData(chunk: Buffer): void {
    if (this.isDone) return;
    this.touch();
    this.mustFlush = false;
    if (this.leftBytes !== undefined) {
      this.leftBytes -= chunk.length;
      if (this.leftBytes === 0) {
        // In one write with what comes before.
        this.isEnded = true;
        this.inbound.end([], chunk);
        return;
      }
    }
    if (this.inbound.write(chunk) === false) {
      this.isBlocked = true;
      this.outbound?.pause();
    }
  }

  onEnd(trailers: HeaderList): void {
    const { inbound } = this;
    this.outbound = undefined;
    if (this.isDone) return;
    this.mustFlush = false;
    // A service may answer before it has the whole request. The client gets the answer, and the rest of the request is dropped.
    if (!this.isBodyRead) {
      inbound.setLast();
      inbound.discard();
    }
    try {
      if (!this.isEnded) inbound.end(passedTrailers(trailers));
    } catch {
      inbound.abort();
    }
    this.finish();
  }

  onFailure(error: Error): void {
    const { outbound, inbound } = this;
    if (this.isDone) return;
    this.outbound = undefined;
    if (this.isAnswering) {
      // The status is sent already. All that can be said is that the answer is not whole.
      this.failure = codeOf(error) ?? 'ECONNRESET';
      inbound.abort();
      this.finish();
      return;
    }
    const wasConnected = outbound?.isConnected === true && outbound.nodeId !== '';
    const isLost = this.isReused && outbound?.hasAnswer !== true;
    if (isLost && !inbound.hasBody && IDEMPOTENT.has(inbound.method)) {
      this.gateway.counters.retried++;
      this.send(false);
    } else if (!wasConnected && this.mayGoOn(error) && this.attempt + 1 < this.services.length) {
      this.gateway.counters.retried++;
      this.attempt++;
      this.send(true);
    } else this.answerFailure(failureOf(error));
  }

  /** Whether the next service may get the request after a dial that has failed. */
  private mayGoOn(error: Error): boolean {
    if (this.isReading) return false;
    const { hasBody, method } = this.inbound;
    // The head leaves with the dial. Where no answer to the dial has come, a service may have read it, which is the whole request.
    return hasBody || IDEMPOTENT.has(method) || !UNKNOWN_ENDS.has(codeOf(error) ?? '');
  }

  // --- a protocol of its own ---

  private startTunnel(head: AnswerHead): void {
    const { inbound, outbound } = this;
    const fields = answerFields(head.headers, false);
    const circuit = (outbound as Http1Circuit).detach();
    this.outbound = undefined;
    if (inbound.isExtendedConnect) {
      const at = fields.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'sec-websocket-accept');
      if (at >= 0) fields.splice(at, 2);
    } else fields.push('Upgrade', fieldOf(head.headers, 'upgrade') ?? inbound.upgrade ?? '', 'Connection', 'Upgrade');
    let client: ReturnType<Inbound['switchProtocols']>;
    try {
      client = inbound.switchProtocols(fields);
    } catch (error) {
      circuit.socket.destroy();
      this.onFailure(error as Error);
      return;
    }
    this.tunnel = new Tunnel(client, circuit.socket, circuit.rest, {
      onBytes: (bytesIn, bytesOut) => {
        this.touch();
        this.bytesIn += bytesIn;
        this.tunnelBytes += bytesOut;
      },
      onClose: () => this.finish(),
    });
  }

  private tunnelBytes = 0;

  /** Bytes of the answer's body. */
  get bytesOut(): number {
    return this.inbound.bytesOut + this.tunnelBytes;
  }

  // --- time ---

  private touch(): void {
    this.activeMs = this.gateway.timers.now();
  }

  private get answerTimeoutMs(): number {
    return this.route?.answerTimeoutMs ?? this.config.limits.answerTimeoutMs;
  }

  /** How long nothing may happen in the present state. */
  private get allowedMs(): number {
    const { limits } = this.config;
    if (this.isBlocked) return limits.bodyTimeoutMs;
    if (this.isAnswering || (this.isReading && this.isHttp2)) return limits.idleTimeoutMs;
    return this.isReading && !this.isBodyRead ? limits.bodyTimeoutMs : this.answerTimeoutMs;
  }

  /** Sets the timer. What is allowed may become less meanwhile, so it looks again after the shortest of the times. */
  private arm(leftMs: number): void {
    const { bodyTimeoutMs, idleTimeoutMs } = this.config.limits;
    const delayMs = Math.min(leftMs, bodyTimeoutMs, idleTimeoutMs, this.answerTimeoutMs);
    this.timer = this.gateway.timers.schedule(delayMs, this);
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    if (this.isDone) return;
    const leftMs = this.activeMs + this.allowedMs - now;
    if (leftMs > 0) {
      this.arm(leftMs);
      return;
    }
    if (this.tunnel !== undefined) {
      this.tunnel.destroy();
      this.finish();
    } else if (!this.isAnswering && this.isReading && !this.isBodyRead && !this.isHttp2)
      this.answerFailure(badRequest(408));
    else this.answerFailure(failureOf(netError('ETIMEDOUT', 'read')));
  }

  private finish(): void {
    if (this.isDone) return;
    this.isDone = true;
    if (this.timer !== undefined) this.gateway.timers.cancel(this.timer);
    this.gateway.onExchangeEnd(this);
  }
}

const TE_TRAILERS = 'TE: trailers\r\nConnection: TE\r\n';

/** One function for all: a closure for each request would cost as much as the call. */
function flush(exchange: Exchange): void {
  exchange.flushHead();
}

/** Returns the host without its port, in lower case. */
function hostOf(authority: string): string {
  const end = authority.startsWith('[') ? authority.indexOf(']') + 1 : authority.indexOf(':');
  return (end > 0 ? authority.slice(0, end) : authority).toLowerCase();
}
