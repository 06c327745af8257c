// What is bound at this node: servers by name and port.
//
//   bind('web')       answers web on any port; has a free virtual port of its own besides
//   bind('web:80')    answers web on port 80, ahead of bind('web')
//   bind(':80')       answers port 80 when no name is said
//   port 0            a free virtual port
//
// Like addresses of a machine, names do not get in each other's way: web:80 and api:80 can both be bound. Dialled by
// port alone, a port belongs to bind(':port'), or else to the first name bound to it.

import type { Guard } from '../access/guard.js';
import { MAX_VIRTUAL_PORT, type NodeId } from '../address.js';
import { netError } from '../errors.js';
import type { AnyServer } from '../socket/server.js';
import type { SocketAddresses } from '../socket/socket-addresses.js';
import { encodeReply, ReplyCode } from '../wire/open-reply.js';

/** Where free ports are picked from, as IANA has it for TCP. Below, a port is always someone's choice. */
export const FIRST_FREE_PORT = 49_152;

export interface BindingsOwner {
  readonly nodeId: NodeId;
  /** How the servers name this node. */
  readonly addresses: SocketAddresses;
  /** A name is gone. */
  onUnbind(binding: Binding): void;
}

/** One server at its place. */
export class Binding {
  private reply: Buffer | undefined;
  private replyPort = 0;

  constructor(
    private readonly bindings: Bindings,
    private readonly owner: BindingsOwner,
    /** Empty for a bare port. */
    readonly service: string,
    readonly port: number,
    /** Bound by name alone. */
    readonly anyPort: boolean,
    readonly server: AnyServer,
    /** Whom to ask whether a circuit is allowed; undefined: all are. */
    readonly guards: readonly Guard[] | undefined,
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

  /** The bytes that accept a circuit; made once, since they are the same for nearly all of them. */
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
  /** Who answers when a port is dialled without a name, first come first. */
  private readonly ports = new Map<number, Binding[]>();
  private nextFree = FIRST_FREE_PORT;
  private count = 0;

  constructor(private readonly owner: BindingsOwner) {}

  get size(): number {
    return this.count;
  }

  /**
   * Binds a server. `service` empty: by port alone; `port` undefined: by name alone; 0: a free port.
   * @throws EADDRINUSE
   */
  add(service: string, port: number | undefined, server: AnyServer, guards?: readonly Guard[]): Binding {
    if (this.isTaken(service, port)) throw netError('EADDRINUSE', 'listen', { address: service, port });
    const where = port || this.freePort();
    const binding = new Binding(this, this.owner, service, where, port === undefined, server, guards);
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

  delete(binding: Binding): void {
    const { service, port } = binding;
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

  /** Who answers for a service (empty: for the port alone) on a port (0: on any). */
  find(service: string, port: number): Binding | undefined {
    if (service === '') return this.ports.get(port)?.[0];
    const named = this.names.get(service);
    if (named === undefined) return undefined;
    if (port !== 0) return named.byPort.get(port) ?? named.anyPort;
    return named.anyPort ?? named.byPort.values().next().value;
  }

  /** Every server that is bound. */
  *servers(): IterableIterator<AnyServer> {
    for (const bindings of this.ports.values()) for (const { server } of bindings) yield server;
  }

  private isTaken(service: string, port: number | undefined): boolean {
    if (port === 0) return false;
    if (service === '') return this.ports.get(port as number)?.[0].service === '';
    const named = this.names.get(service);
    if (named === undefined) return false;
    return port === undefined ? named.anyPort !== undefined : named.byPort.has(port);
  }

  private freePort(): number {
    // There are four billion of them, and each one taken costs far more memory than one step here.
    while (this.ports.has(this.nextFree)) this.step();
    const port = this.nextFree;
    this.step();
    return port;
  }

  private step(): void {
    this.nextFree = this.nextFree === MAX_VIRTUAL_PORT ? FIRST_FREE_PORT : this.nextFree + 1;
  }
}
