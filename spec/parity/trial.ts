// One run of one case: opens what the case needs, and checks that nothing is left at its end.

import type { EventEmitter } from 'node:events';
import type { ListenOptions, Server, ServerOpts, Socket, SocketConstructorOpts, TcpNetConnectOpts } from 'node:net';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';
import type { Carrier, CarrierKind, Place } from './carriers.js';
import { programOf } from './program.js';

/** How long a case waits for one event. Far more than any of them takes. */
const EVENT_MS = 8_000;

/** What both constructors of sockets and servers take over to their streams, beyond the types of Node. */
export interface StreamOptions {
  highWaterMark?: number;
  readableHighWaterMark?: number;
  writableHighWaterMark?: number;
}

export type ClientOptions = Partial<TcpNetConnectOpts> & SocketConstructorOpts & StreamOptions;

export interface PairOptions {
  readonly server?: ServerOpts;
  readonly client?: ClientOptions;
}

export interface Pair {
  readonly server: Server;
  /** The end that has dialled. */
  readonly near: Socket;
  /** The end that the server got. */
  readonly far: Socket;
}

/** A case of the table. It holds for `node:net` and for every other carrier. */
export interface Case {
  readonly title: string;
  /** Where the overlay may differ, in words. */
  readonly differs?: string;
  run(carrier: Carrier, trial: Trial): Promise<void> | void;
}

export interface Topic {
  readonly name: string;
  /** Carriers that it does not run over, for the time it takes. */
  readonly without?: readonly string[];
  /** How long it waits for unknown names. Default {@link DIAL_TIMEOUT_MS}. */
  readonly dialTimeoutMs?: number;
  readonly cases: readonly Case[];
}

/** The values that the next event of this name brings. An 'error' on the way is left to the case. */
export function next<T extends unknown[] = unknown[]>(emitter: EventEmitter, name: string): Promise<T> {
  const event = new Promise<T>((resolve) => {
    emitter.once(name, (...values) => resolve(values as T));
  });
  return soon(`'${name}'`, event);
}

/** The outcome of a callback that takes an error first. */
export function called<T = undefined>(
  start: (callback: (error?: Error | null, value?: T) => void) => unknown,
): Promise<T> {
  const outcome = new Promise<T>((resolve, reject) => {
    start((error, value) => {
      if (error) reject(error);
      else resolve(value as T);
    });
  });
  return soon('a callback', outcome);
}

/** The outcome of `wait`, or an error that says what did not happen in time. */
export function soon<T>(what: string, wait: Promise<T>): Promise<T> {
  const outcome = within(what, wait, EVENT_MS);
  // A case that has failed waits for nothing any more, and what does not come then is no news.
  outcome.catch(() => {});
  return outcome;
}

/** What `action` throws; fails when it throws nothing. */
export function thrownBy(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

export class Trial {
  private readonly sockets = new Map<Socket, { isClosed: boolean }>();
  private readonly servers = new Set<Server>();
  private readonly hosts = new WeakMap<Server, string>();
  private readonly children = new Set<Child>();

  constructor(
    private readonly carrier: Carrier,
    private readonly kind: CarrierKind,
  ) {}

  /** A server of the server's side, closed at the end together with its sockets. */
  server(options?: ServerOpts | ((socket: Socket) => void), listener?: (socket: Socket) => void): Server {
    const { createServer } = this.carrier.serverNet;
    return this.keepServer(typeof options === 'function' ? createServer(options) : createServer(options, listener));
  }

  keepServer(server: Server): Server {
    this.servers.add(server);
    server.prependListener('connection', (socket: Socket) => this.keep(socket));
    return server;
  }

  /** Takes care of a socket. It gets a listener for 'error', for its end is no concern of most cases. */
  keep<S extends Socket>(socket: S): S {
    if (this.sockets.has(socket)) return socket;
    const state = { isClosed: false };
    this.sockets.set(socket, state);
    socket.on('error', () => {});
    socket.on('connect', () => {
      state.isClosed = false;
    });
    socket.on('close', () => {
      state.isClosed = true;
    });
    return socket;
  }

  /** Makes a server listen at a fresh place. */
  async listening(server: Server = this.server(), options: ListenOptions = {}): Promise<Server> {
    const at = { ...this.carrier.listenAt(), ...options };
    this.hosts.set(server, at.host);
    const up = next(server, 'listening');
    server.listen(at);
    await up;
    return server;
  }

  /** Where the client dials a server of {@link listening}, or one that listens without a host. */
  to(server: Server): Place {
    return { port: portOf(server), host: this.hosts.get(server) ?? this.carrier.portHost };
  }

  /** A socket on its way to a server. */
  connect(server: Server, options: ClientOptions = {}, onConnect?: () => void): Socket {
    return this.keep(this.carrier.clientNet.connect({ ...this.to(server), ...options }, onConnect));
  }

  /** A socket of the client's side that has not been connected. */
  socket(options?: SocketConstructorOpts & StreamOptions): Socket {
    return this.keep(new this.carrier.clientNet.Socket(options));
  }

  /** A connected socket and its other end. */
  async pair(options: PairOptions = {}): Promise<Pair> {
    const server = await this.listening(this.server(options.server));
    return { server, ...(await this.ends(server, options.client)) };
  }

  /** One more socket to a server, connected, and its other end. */
  async ends(server: Server, options?: ClientOptions): Promise<{ near: Socket; far: Socket }> {
    const accepted = next<[Socket]>(server, 'connection');
    const near = this.connect(server, options);
    const [[far]] = await Promise.all([accepted, next(near, 'ready')]);
    return { near, far };
  }

  /** A separate process, with `serverNet`, `clientNet`, `place` and `say`. */
  program(body: string): Child {
    const child = programOf(this.kind, body);
    this.children.add(child);
    return child;
  }

  /** Closes all that the case has opened. */
  async close(): Promise<void> {
    const ends: Promise<unknown>[] = [...this.children].map((child) => child.stop());
    for (const server of this.servers) {
      if (server.listening) ends.push(soon('the end of a server', new Promise((resolve) => server.close(resolve))));
    }
    for (const [socket, state] of this.sockets) {
      if (!state.isClosed) ends.push(next(socket, 'close'));
      socket.destroy();
    }
    await Promise.all(ends);
  }
}

export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server listens at no port');
  return address.port;
}

/** Rejects when the socket closes before what a case waits for, with the socket's error in its message. */
function rejectOnClose(socket: Socket, what: string, reject: (reason: Error) => void): void {
  let cause: Error | undefined;
  socket.once('error', (error) => {
    cause = error;
  });
  socket.once('close', () => reject(new Error(`closed before ${what}: ${cause?.message ?? 'no error'}`, { cause })));
}

/** Everything that arrives until the other end has ended. Leaves the writing half open. */
export function readAll(socket: Socket): Promise<Buffer> {
  const all = new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    rejectOnClose(socket, "'end'", reject);
  });
  return soon("'end'", all);
}

/** Resolved when this many bytes have arrived, with those and what came along. */
export function readBytes(socket: Socket, count: number): Promise<Buffer> {
  const enough = new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    rejectOnClose(socket, `${count} bytes`, reject);
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes < count) return;
      socket.off('data', onData);
      resolve(Buffer.concat(chunks));
    };
    socket.on('data', onData);
  });
  return soon(`${count} bytes`, enough);
}

/** The names of events in the order in which they come. */
export function recorded(emitter: EventEmitter, names: readonly string[]): string[] {
  const seen: string[] = [];
  for (const name of names) emitter.on(name, () => seen.push(name));
  return seen;
}
