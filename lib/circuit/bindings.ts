// What is bound at this node: servers by name and port.
//
//   bind('web')       answers web on any port, and has a free virtual port of its own
//   bind('web:80')    answers web on port 80, ahead of bind('web')
//   bind(':80')       answers port 80 when no name is dialled
//   port 0            a free virtual port
//
// A few ports are kept for the library itself, apart from all others: no user can bind them, and no name answers there. That is the one of
// queries in every node, and all of 1 to 15 in nodes with credentials.
//
// Like the addresses of a machine, names do not conflict: web:80 and api:80 can both be bound. A dial by port alone reaches
// bind(':port'), or else the first name bound to the port.

import type { Guard } from '../access/guard.js';
import { MAX_VIRTUAL_PORT, type NodeId } from '../address.js';
import { netError } from '../errors.js';
import type { SocketAddresses } from '../socket/endpoints.js';
import type { AnyServer } from '../socket/server.js';
import { encodeReply, ReplyCode } from '../wire/open-reply.js';
import type { Prepare } from './accept/preparation.js';

/** Free ports are picked from here on, as IANA defines it for TCP. Lower ports are always chosen by the user. */
export const FIRST_FREE_PORT = 49_152;

/** The reason for a dialler when a server takes no more connections. */
export const SERVER_FULL = 'the server has as many connections as it may (maxConnections)';

/** The bare ports from 1 up to this one are reserved in nodes with credentials. */
export const LAST_RESERVED_PORT = 15;

/** The bare port at which every node answers queries. It is reserved in every node. */
export const QUERY_PORT = 2;

export interface BindingsOwner {
  readonly nodeId: NodeId;
  /** How servers name this node. */
  readonly addresses: SocketAddresses;
  /** Called when a server is no longer bound. */
  onUnbind(binding: Binding): void;
}

/** A server, and where it is bound. */
export class Binding {
  private reply: Buffer | undefined;
  private replyPort = 0;

  constructor(
    private readonly bindings: Bindings,
    private readonly owner: BindingsOwner,
    /** Empty for a bare port. */
    readonly service: string,
    readonly port: number,
    /** Whether it is bound by name alone. */
    readonly anyPort: boolean,
    readonly server: AnyServer,
    /** The guards that have to allow a circuit; undefined: all circuits are allowed. */
    readonly guards: readonly Guard[] | undefined,
    /** What is called before a circuit is accepted. */
    readonly prepare: Prepare | undefined,
    /** Whether the library serves it. */
    readonly isReserved = false,
  ) {}

  get address(): string {
    return this.owner.addresses.of(this.owner.nodeId);
  }

  get family(): string {
    return this.owner.addresses.family;
  }

  unbind(): void {
    this.bindings.delete(this);
  }

  /** Returns the reply that accepts a circuit; made once, since it is the same for nearly all circuits. */
  acceptance(port: number): Buffer {
    if (this.reply === undefined || this.replyPort !== port) {
      this.reply = encodeReply({ code: ReplyCode.ACCEPTED, port, at: this.owner.nodeId });
      this.replyPort = port;
    }
    return this.reply;
  }
}

interface Named {
  anyPort: Binding | undefined;
  readonly byPort: Map<number, Binding>;
}

export class Bindings {
  private readonly names = new Map<string, Named>();
  /** The bindings of each port. The first one answers when the port is dialled without a name. */
  private readonly ports = new Map<number, Binding[]>();
  /** Servers of the library at reserved ports. */
  private readonly reserved = new Map<number, Binding>();
  private nextFree = FIRST_FREE_PORT;
  private count = 0;

  /** @param reservesPorts whether bare ports up to {@link LAST_RESERVED_PORT} are kept for the library */
  constructor(
    private readonly owner: BindingsOwner,
    private readonly reservesPorts = false,
  ) {}

  /** How many servers of users are bound. */
  get size(): number {
    return this.count;
  }

  /**
   * Binds a server. `service` empty: by port alone; `port` undefined: by name alone; 0: a free port.
   * @throws EADDRINUSE, EACCES
   */
  add(
    service: string,
    port: number | undefined,
    server: AnyServer,
    guards?: readonly Guard[],
    prepare?: Prepare,
  ): Binding {
    if (service === '' && this.isReserved(port)) throw netError('EACCES', 'listen', { address: service, port });
    if (this.isTaken(service, port)) throw netError('EADDRINUSE', 'listen', { address: service, port });
    const where = port || this.freePort();
    const binding = new Binding(this, this.owner, service, where, port === undefined, server, guards, prepare);
    if (service !== '') {
      let named = this.names.get(service);
      if (named === undefined) {
        named = { anyPort: undefined, byPort: new Map() };
        this.names.set(service, named);
      }
      if (binding.anyPort) named.anyPort = binding;
      else named.byPort.set(binding.port, binding);
    }
    const there = this.ports.get(binding.port);
    if (there === undefined) this.ports.set(binding.port, [binding]);
    else if (service === '') there.unshift(binding);
    else there.push(binding);
    this.count++;
    return binding;
  }

  /** Binds a server of the library at a reserved port. It asks no guards. */
  reserve(port: number, server: AnyServer): Binding {
    const binding = new Binding(this, this.owner, '', port, false, server, undefined, undefined, true);
    this.reserved.set(port, binding);
    return binding;
  }

  delete(binding: Binding): void {
    const { service, port } = binding;
    if (this.reserved.get(port) === binding) this.reserved.delete(port);
    const there = this.ports.get(port);
    const index = there === undefined ? -1 : there.indexOf(binding);
    if (there === undefined || index < 0) return;
    if (there.length === 1) this.ports.delete(port);
    else there.splice(index, 1);
    this.count--;
    const named = this.names.get(service);
    if (named !== undefined) {
      if (binding.anyPort) named.anyPort = undefined;
      else named.byPort.delete(port);
      if (named.anyPort === undefined && named.byPort.size === 0) this.names.delete(service);
    }
    this.owner.onUnbind(binding);
  }

  /** Returns what answers for a service (empty: for the port alone) on a port (0: on any). */
  find(service: string, port: number): Binding | undefined {
    if (service === '') return this.isReserved(port) ? this.reserved.get(port) : this.ports.get(port)?.[0];
    const named = this.names.get(service);
    if (named === undefined) return undefined;
    if (port !== 0) return named.byPort.get(port) ?? named.anyPort;
    return named.anyPort ?? named.byPort.values().next().value;
  }

  /** Iterates over every server of a user that is bound. */
  *servers(): IterableIterator<AnyServer> {
    for (const bindings of this.ports.values()) for (const { server } of bindings) yield server;
  }

  /** Iterates over the servers of the library. */
  *reservedServers(): IterableIterator<AnyServer> {
    for (const { server } of this.reserved.values()) yield server;
  }

  private isReserved(port: number | undefined): boolean {
    if (port === QUERY_PORT) return true;
    return this.reservesPorts && port !== undefined && port >= 1 && port <= LAST_RESERVED_PORT;
  }

  private isTaken(service: string, port: number | undefined): boolean {
    if (port === 0) return false;
    if (service === '') return this.ports.get(port as number)?.[0].service === '';
    const named = this.names.get(service);
    if (named === undefined) return false;
    return port === undefined ? named.anyPort !== undefined : named.byPort.has(port);
  }

  private freePort(): number {
    // There are four billion ports, and each one taken costs far more memory than one step here.
    while (this.ports.has(this.nextFree)) this.step();
    const port = this.nextFree;
    this.step();
    return port;
  }

  private step(): void {
    this.nextFree = this.nextFree === MAX_VIRTUAL_PORT ? FIRST_FREE_PORT : this.nextFree + 1;
  }
}
