// A gateway: takes requests from outside, and brings them to services of the mesh.

import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { optionError, starlaneError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import { clearInterval, dateNow, setInterval, setTimeout } from '../../util/runtime/real-timers.js';
import { MAX_TIMEOUT_MS, Timers } from '../../util/timers.js';
import { Http1Pool } from './circuit/http1-pool.js';
import { Http2Pool } from './circuit/http2-pool.js';
import { type GatewayConfig, resolveConfig } from './config.js';
import { Counters, type GatewayStats } from './counters.js';
import { Exchange } from './exchange.js';
import { type Failure, TOO_MANY } from './failure.js';
import { type Connection, Front } from './front.js';
import type { Caller, Inbound } from './inbound/inbound.js';
import { Acme } from './listen/acme.js';
import { Listener, listenerKey } from './listen/listener.js';
import { TlsEntrance } from './listen/tls-entrance.js';
import type { GatewayListener, GatewayOptions } from './options.js';

/** One request, as `'access'` reports it when it has ended. */
export interface GatewayAccess {
  /** When the request began, in ms since 1970. */
  readonly time: number;
  /** Until the end of the answer, in ms. */
  readonly durationMs: number;
  readonly requestId: string;
  readonly method: string;
  /** The host that the client asked for; empty if it said none. */
  readonly host: string;
  /** Path and query. */
  readonly path: string;
  /** '1.0', '1.1' or '2'. */
  readonly version: string;
  /** The status of the answer; 0 when the client was gone before. */
  readonly status: number;
  /** The address of the service; empty if there was none. */
  readonly service: string;
  /** The node that got the request; empty if none did. */
  readonly nodeId: string;
  /** The code, if the gateway itself has answered, or the answer broke off. */
  readonly code: string | undefined;
  /** Bytes of the body of the request, and of the answer. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The address of the caller; undefined for a node of the mesh. */
  readonly remoteAddress: string | undefined;
  /** The id of the caller, if it is a node of the mesh. */
  readonly peerId: string | undefined;
}

export interface GatewayEvents {
  access: [entry: GatewayAccess];
  warning: [error: Error];
  close: [];
}

export interface GatewayCloseOptions {
  /** Milliseconds that open requests have to end, 0 to 2147483647. Then they are broken off. Default 10000. */
  timeoutMs?: number | undefined;
}

/** Where a gateway listens. */
export interface GatewayAddress {
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** The path of a unix socket. */
  readonly path: string | undefined;
  /** The name under which it is bound in the mesh. */
  readonly service: string | undefined;
  readonly tls: boolean;
}

const CLOSE_TIMEOUT_MS = 10_000;
const SWEEP_MS = 1_000;
/** While a gateway drains, an idle connection has so long to bring a request, whose answer then says that it was the last one. */
const IDLE_GRACE_MS = 1_000;
const IDLE_CHECK_MS = 100;

// It is the owner of exchanges, fronts and listeners, which 'implements' would show to users.
export class Gateway extends EventEmitter<GatewayEvents> {
  /** @internal */
  readonly http1: Http1Pool;
  /** @internal */
  readonly http2: Http2Pool;
  /** @internal */
  readonly timers = new Timers();
  /** @internal */
  readonly counters = new Counters();
  /** @internal */
  isDraining = false;
  /** @internal */
  config: GatewayConfig;
  /** @internal TLS for the listeners that have it. */
  entrance: TlsEntrance | undefined;
  private acme: Acme | undefined;
  private listeners_: Listener[] = [];
  private front: Front;
  private readonly oldFronts = new Set<Front>();
  private readonly exchanges = new Map<Exchange, Connection>();
  private readonly byAddress = new Map<string, number>();
  private readonly idPrefix = randomBytes(6).toString('base64url');
  private requestCount = 0;
  private readonly sweep: NodeJS.Timeout;
  private closing: Promise<void> | undefined;
  private isClosed = false;

  /** @internal Gateways come from `gateway`. @throws ERR_STARLANE_OPTION */
  constructor(
    /** @internal */
    readonly node: Node,
    options: GatewayOptions,
  ) {
    super();
    this.config = resolveConfig(options);
    this.http1 = new Http1Pool(node);
    this.http2 = new Http2Pool(node);
    this.front = new Front(this, this.config.limits);
    this.sweep = setInterval(() => this.onSweep(), SWEEP_MS).unref();
  }

  /** @internal */
  async listen(): Promise<void> {
    try {
      const { acme, entrance } = await this.prepareTls(this.config);
      this.entrance = entrance;
      this.acme = acme;
      this.listeners_ = await this.openListeners(this.config, []);
      entrance?.watch();
      acme?.start();
    } catch (error) {
      await this.close({ timeoutMs: 0 });
      throw error;
    }
  }

  /** Where it listens, in the order of the option `listen`. */
  get addresses(): GatewayAddress[] {
    return this.listeners_.map((listener) => listener.address);
  }

  /** Returns the counters. */
  stats(): GatewayStats {
    const { counters } = this;
    return {
      state: this.isClosed ? 'closed' : this.isDraining ? 'draining' : 'open',
      connections: {
        open: counters.connections,
        total: counters.totalConnections,
        refused: counters.refusedConnections,
      },
      requests: {
        open: this.exchanges.size,
        total: counters.total,
        rejected: counters.rejected,
        retried: counters.retried,
        byService: counters.byService(),
      },
      circuits: { http1: this.http1.size, http2: this.http2.size },
      bytes: { in: counters.bytesIn, out: counters.bytesOut },
    };
  }

  /**
   * Replaces the options. Requests that are open end as they began; connections stay, unless their listener is not among the new ones: then
   * they end with their requests. Certificates are read again. If it fails, nothing has changed.
   * @throws ERR_STARLANE_OPTION; the errors of listening, such as EADDRINUSE
   */
  async reload(options: GatewayOptions): Promise<void> {
    if (this.isDraining) throw starlaneError('ERR_STARLANE_CLOSED', 'the gateway is closing');
    const config = resolveConfig(options);
    const kept = this.listeners_;
    const { acme, entrance } = await this.prepareTls(config);
    const listeners = await this.openListeners(config, kept);
    const before = this.config;
    this.config = config;
    this.listeners_ = listeners;
    this.acme?.close();
    this.entrance?.close();
    this.acme = acme;
    this.entrance = entrance;
    entrance?.watch();
    acme?.start();
    for (const listener of kept) if (!listeners.includes(listener)) listener.close();
    if (JSON.stringify(before.limits) !== JSON.stringify(config.limits)) {
      this.oldFronts.add(this.front);
      this.front = new Front(this, config.limits);
    }
  }

  /**
   * Stops listening, lets open requests end, and closes. Clients learn that a connection ends (`Connection: close`, GOAWAY) with the answer to
   * their last request; an idle one has a second to bring another. The promise resolves when nothing is left, at the latest after `timeoutMs`.
   */
  close(options: GatewayCloseOptions = {}): Promise<void> {
    const { timeoutMs = CLOSE_TIMEOUT_MS } = options;
    if (!(timeoutMs >= 0 && timeoutMs <= MAX_TIMEOUT_MS))
      throw optionError('timeoutMs', 'must be a number from 0 to 2147483647');
    this.closing ??= this.drainAndClose(timeoutMs);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // --- connections ---

  /** @internal */
  acceptConnection(socket: Duplex, caller: Caller, protocol: 'h2' | 'http/1.1' | undefined): void {
    this.front.accept(socket, caller, protocol);
  }

  /** @internal Returns whether there is room for a connection, and counts it until it closes. */
  admit(socket: Duplex, address: string | undefined): boolean {
    const { counters, config, byAddress } = this;
    const { maxConnections, maxConnectionsPerAddress } = config.limits;
    const isLimited = address !== undefined && !(config.trust.isPartial && config.trust.includesAddress(address));
    const ofAddress = isLimited ? (byAddress.get(address) ?? 0) : 0;
    if (this.isClosed || counters.connections >= maxConnections || ofAddress >= maxConnectionsPerAddress) {
      counters.refusedConnections++;
      socket.on('error', () => {});
      socket.destroy();
      return false;
    }
    counters.connections++;
    counters.totalConnections++;
    if (isLimited) byAddress.set(address, ofAddress + 1);
    socket.on('close', () => {
      counters.connections--;
      if (!isLimited) return;
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
    return true;
  }

  /** @internal */
  warn(error: Error): void {
    if (this.listenerCount('warning') > 0) this.emit('warning', error);
    else process.emitWarning(error);
  }

  // --- requests ---

  /** @internal */
  newRequestId(): string {
    this.requestCount++;
    return `${this.idPrefix}-${this.requestCount.toString(36)}`;
  }

  /** @internal */
  onRequest(inbound: Inbound, connection: Connection): void {
    const { counters, config } = this;
    const token = inbound.caller.isSecure ? undefined : this.acme?.answerTo(inbound.path);
    const exchange = new Exchange(this, config, inbound);
    this.exchanges.set(exchange, connection);
    counters.total++;
    if (this.exchanges.size > config.limits.maxRequests) exchange.answerFailure(TOO_MANY);
    else if (token !== undefined) exchange.answerText(token);
    else exchange.start();
  }

  /** @internal */
  onRejected(failure: Failure, caller: Caller, method: string, path: string): void {
    const { counters } = this;
    counters.total++;
    counters.rejected++;
    counters.count('', failure.status);
    if (this.listenerCount('access') === 0) return;
    this.emit('access', {
      time: dateNow(),
      durationMs: 0,
      requestId: '',
      method,
      host: '',
      path: path.slice(0, 1_024),
      version: '',
      status: failure.status,
      service: '',
      nodeId: '',
      code: failure.code,
      bytesIn: 0,
      bytesOut: 0,
      remoteAddress: caller.address,
      peerId: caller.peerId,
    });
  }

  /** @internal */
  onExchangeEnd(exchange: Exchange): void {
    const { counters } = this;
    const connection = this.exchanges.get(exchange);
    this.exchanges.delete(exchange);
    if (connection !== undefined) {
      connection.open--;
      connection.requests.delete(exchange.inbound);
      connection.idleSinceMs = dateNow();
    }
    const { inbound, service, status, nodeId, bytesIn, bytesOut, failure } = exchange;
    counters.bytesIn += bytesIn;
    counters.bytesOut += bytesOut;
    // A name that strangers have made up gets no counter of its own.
    counters.count(failure === 'ENOTFOUND' ? '' : service, status);
    if (this.listenerCount('access') === 0) return;
    const durationMs = this.timers.now() - exchange.startMs;
    this.emit('access', {
      time: dateNow() - durationMs,
      durationMs,
      requestId: exchange.requestId,
      method: inbound.method,
      host: inbound.authority,
      path: inbound.path,
      version: inbound.version,
      status,
      service,
      nodeId,
      code: failure,
      bytesIn,
      bytesOut,
      remoteAddress: inbound.caller.address,
      peerId: inbound.caller.peerId,
    });
  }

  // --- its life ---

  /** Reads the certificates of a configuration. */
  private async prepareTls({
    tls,
    acme: options,
    limits,
  }: GatewayConfig): Promise<{ acme: Acme | undefined; entrance: TlsEntrance | undefined }> {
    const files = [...(tls?.certificates ?? [])];
    let acme: Acme | undefined;
    let entrance: TlsEntrance | undefined;
    const enter = async (): Promise<void> => {
      const all = acme !== undefined && (await acme.hasCertificate()) ? [...files, acme.files] : files;
      const made = new TlsEntrance(this, all, tls, limits.headersTimeoutMs);
      await made.load();
      entrance = made;
    };
    if (options !== undefined) {
      acme = new Acme(
        options,
        async () => {
          const before = entrance;
          await enter();
          if (this.entrance !== before) return;
          before?.close();
          this.entrance = entrance;
          entrance?.watch();
        },
        (error) => this.warn(error),
      );
      await acme.prepare();
    }
    if (acme !== undefined || files.length > 0) await enter();
    return { acme, entrance };
  }

  /** Opens the listeners of a configuration, but for those that are open already. All of them, or none. */
  private async openListeners(config: GatewayConfig, kept: readonly Listener[]): Promise<Listener[]> {
    const free = [...kept];
    const opened: Listener[] = [];
    const result: Listener[] = [];
    try {
      for (const options of config.listeners) {
        const at = free.findIndex((listener) => listener.key === listenerKey(options));
        if (at >= 0) result.push(...free.splice(at, 1));
        else {
          const listener = await this.openListener(options);
          opened.push(listener);
          result.push(listener);
        }
      }
      return result;
    } catch (error) {
      for (const listener of opened) listener.close();
      throw error;
    }
  }

  private async openListener(options: GatewayListener): Promise<Listener> {
    const listener = new Listener(this, options);
    await listener.open();
    return listener;
  }

  private onSweep(): void {
    this.front.sweep();
    for (const front of this.oldFronts) {
      front.sweep();
      if (front.size > 0) continue;
      front.destroy();
      this.oldFronts.delete(front);
    }
  }

  private async drainAndClose(timeoutMs: number): Promise<void> {
    this.isDraining = true;
    for (const listener of this.listeners_) listener.close();
    const fronts = [this.front, ...this.oldFronts];
    for (const front of fronts) front.drain();
    const endMs = dateNow() + timeoutMs;
    const graceMs = Math.min(IDLE_GRACE_MS, timeoutMs / 2);
    const startMs = dateNow();
    while (this.counters.connections > 0 && dateNow() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(IDLE_CHECK_MS, timeoutMs)));
      if (dateNow() - startMs < graceMs) continue;
      for (const front of fronts) front.closeIdle(graceMs);
    }
    for (const exchange of [...this.exchanges.keys()]) exchange.abort();
    for (const front of fronts) front.destroy();
    for (const listener of this.listeners_) listener.destroy();
    this.acme?.close();
    this.entrance?.close();
    this.http1.close();
    this.http2.close();
    clearInterval(this.sweep);
    this.isClosed = true;
    this.emit('close');
  }
}
