// An agent for node:http and node:https that dials its sockets by service name. Pools, queues and limits are those of Node's own agent;
// this file creates the sockets, and does what Node does with the system handle of a socket.

import { AsyncResource } from 'node:async_hooks';
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, type AgentOptions as NodeAgentOptions, type RequestOptions } from 'node:https';
import { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';
import { setImmediate } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import { secureSocket } from './secure-socket.js';
import { type HttpTarget, ServiceDialer, type ServiceOptions, USUAL_PORT } from './service-dialer.js';

/**
 * All options of http.Agent and, for https, of https.Agent, with Node's defaults except for `keepAlive`, which is true by default.
 * `timeout` and `keepAliveMsecs` are milliseconds. Options that concern network addresses (`localAddress`, `family`, `lookup`,
 * `noDelay`, `proxyEnv`) have no effect.
 */
export interface AgentOptions extends NodeAgentOptions, ServiceOptions {}

/** Marks the options of an https request, and so the name of its pool. */
const IS_SECURE = Symbol('isSecure');

/** The options of a request, with host and port filled in by Node. */
type PooledOptions = RequestOptions & { [IS_SECURE]?: boolean };

/** A member of Node's agent that its types leave out. Agents that choose the pool of a request override it. */
interface AddsRequests {
  addRequest(request: ClientRequest, options: PooledOptions): void;
}

const nodeAgent = HttpsAgent.prototype as unknown as AddsRequests;

class ServiceAgent extends HttpsAgent implements AddsRequests {
  // Node refuses a request whose protocol is not that of the agent, and accepts any for an agent without one.
  declare protocol: undefined;
  /** The port that Node sets for a request without one. */
  declare defaultPort: number;

  constructor(
    private readonly dialer: ServiceDialer,
    options: NodeAgentOptions,
  ) {
    super({ ...options, keepAlive: options.keepAlive ?? true });
    this.protocol = undefined;
    this.defaultPort = USUAL_PORT['http:'];
  }

  /** Called by Node for each request, in the async context of the code that makes it. */
  addRequest(request: ClientRequest, options: PooledOptions): void {
    keepContext(request);
    const isSecure = request.protocol === 'https:';
    let port = Number(options.port);
    if (isSecure) {
      if (port === this.defaultPort) port = USUAL_PORT['https:'];
      if (port === USUAL_PORT['https:']) omitPort(request, port);
    }
    // Node has made the options object for this request, so it may be changed.
    options.port = port;
    options[IS_SECURE] = isSecure;
    nodeAgent.addRequest.call(this, request, options);
  }

  override getName(options: PooledOptions = {}): string {
    return options[IS_SECURE] === true ? super.getName(options) : HttpAgent.prototype.getName.call(this, options);
  }

  override createConnection(options: PooledOptions): Duplex {
    const isSecure = options[IS_SECURE] === true;
    let socket: Socket;
    try {
      const protocol = isSecure ? 'https:' : 'http:';
      const target: HttpTarget = { hostname: options.host as string, port: options.port as number, protocol };
      socket = this.dialer.dial(target);
    } catch (error) {
      return failedSocket(error as Error);
    }
    // It may have failed already, and the request listens from the next tick on only.
    if (socket.destroyed) return failedSocket(errorOf(socket));
    const connection = isSecure ? this.secure(socket, options) : socket;
    if (options.timeout) connection.setTimeout(options.timeout);
    return connection;
  }

  /** Returns whether `socket` may wait for the next request. */
  override keepSocketAlive(socket: Duplex): boolean {
    const isKept = super.keepSocketAlive(socket) as unknown;
    if (isKept === false) return false;
    socket.on('data', destroyUnasked);
    return true;
  }

  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    socket.removeListener('data', destroyUnasked);
    super.reuseSocket(socket, request);
  }

  /** @internal Returns what console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const count = (pools: NodeJS.ReadOnlyDict<readonly unknown[]>): number =>
      Object.values(pools).reduce((sum, pool) => sum + (pool?.length ?? 0), 0);
    const { maxSockets, maxFreeSockets } = this;
    const values = {
      node: this.dialer.nodeId,
      sockets: count(this.sockets),
      freeSockets: count(this.freeSockets),
      requests: count(this.requests),
      maxSockets,
      maxFreeSockets,
    };
    return shown('Agent', values, depth, options, inspect);
  }

  private secure(carrier: Socket, options: PooledOptions): TLSSocket {
    // Its parent keeps the TLS sessions.
    const start = () => super.createConnection({ ...options, socket: carrier } as RequestOptions) as TLSSocket;
    return secureSocket(carrier, start);
  }
}

/**
 * An agent whose requests go to services: `http.get('http://web/path', { agent: agent(node) })`, and the same agent for
 * `https.get`. The host of the URL is the name of the service; a port other than the usual one is part of the address
 * (see {@link serviceAddress}, also for how URLs change names). To reach a node by its id, pass options without a URL,
 * `{ host: '@nodeId', port }`. For https, port 80 counts as no port.
 *
 * Requests fail with the codes of {@link Node.dial}: ENOTFOUND when no node offers the service within `dial.timeoutMs`,
 * ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT, ECONNRESET, ECANCELED when the node is closed, ERR_STARLANE_ADDRESS for a host
 * that is not a valid name. Sockets that wait for the next request do not keep the process running. Call `agent.destroy()` before
 * `node.close()`, which otherwise waits up to its closeTimeoutMs for them to end.
 * @throws ERR_STARLANE_OPTION, or Node's own error for its options
 */
export function agent(node: Node, options: AgentOptions = {}): HttpsAgent {
  const { address, dial, ...own } = options;
  return new ServiceAgent(new ServiceDialer(node, { address, dial }), own);
}

/** Removes the usual port of https from the Host header, which Node has written as if the usual port were 80. */
function omitPort(request: ClientRequest, port: number): void {
  if (!request.headersSent && request.getHeader('host') === `${request.host}:${port}`) {
    request.setHeader('Host', request.host);
  }
}

/** Destroys a free socket that receives data, which would be taken for the answer to the next request. */
function destroyUnasked(this: Duplex): void {
  this.destroy();
}

/** Returns a socket that fails one turn later, when the request listens to it, so that the agent treats it as any other. */
function failedSocket(error: Error): NetSocket {
  const socket = new NetSocket();
  // Otherwise what the request writes meanwhile would fail with another error.
  (socket as { connecting: boolean }).connecting = true;
  setImmediate(() => socket.destroy(error));
  return socket;
}

/** Returns the error of a socket that has failed, and keeps it from being thrown. */
function errorOf(socket: Socket): Error {
  socket.on('error', () => {});
  return socket.errored as Error;
}

// A socket of node:net runs its callbacks in the context of the request that it serves (AsyncLocalStorage, async_hooks). Sockets of a
// node share a link, and what the link brings runs in the context of the link. So a request emits its 'error', 'close' and 'timeout' in
// the context that it keeps here. What the HTTP parser emits is in the context of the request already.

type Emit = (event: string | symbol, ...values: unknown[]) => boolean;

const kContext = Symbol('starlane.context');

/** The context of a request, and the `emit` that its emitter had. */
interface Kept {
  readonly resource: AsyncResource;
  readonly emit: Emit;
}

interface InContext {
  [kContext]: Kept;
  emit: Emit;
}

/** Records the async context of a request. To be called in that context, before the first event of the request. */
function keepContext(request: ClientRequest): void {
  keep(request, new AsyncResource('STARLANEREQUEST'));
}

function keep(emitter: ClientRequest | IncomingMessage, resource: AsyncResource): void {
  const inContext = emitter as unknown as InContext;
  // A request may be added to a second agent.
  const emit = inContext.emit === emitInContext ? inContext[kContext].emit : inContext.emit;
  inContext[kContext] = { resource, emit };
  inContext.emit = emitInContext;
}

/** One function for all: two closures for each request and response would cost as much as the scope. */
function emitInContext(this: InContext, event: string | symbol, ...values: unknown[]): boolean {
  const { resource, emit } = this[kContext];
  if (event === 'response' || event === 'upgrade' || event === 'connect') keep(values[0] as IncomingMessage, resource);
  return resource.runInAsyncScope(emit, this, event, ...values);
}
