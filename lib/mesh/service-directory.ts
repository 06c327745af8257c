// Who offers what, as far as neighbours tell each other: every node sends its binds by name to its peers over the
// control stream, at first all of them and SYNCED, then each change. Nothing is passed on, so one hop is all it sees;
// gossip will take the place of this file and keep its face.

import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import type { Link } from '../link/link.js';
import {
  encodeServiceAdd,
  encodeServiceRemove,
  encodeSynced,
  type Message,
  MessageType,
  type ServiceAdd,
} from '../wire/messages.js';
import { ServiceInstance } from './service.js';
import { ServiceTable } from './service-table.js';

export interface DirectoryOwner {
  onService(instance: ServiceInstance): void;
  onUnservice(instance: ServiceInstance): void;
  onWarning(error: Error): void;
}

export interface DirectoryOptions {
  readonly nodeId: NodeId;
  /** False: what is bound here is told to nobody. */
  readonly announces: boolean;
  readonly envDigests: readonly string[];
  readonly maxServicesPerPeer: number;
}

/** What one peer has told, and what it is still to be told. */
interface Neighbour {
  /** Names of the two nodes meet. */
  readonly sharesEnv: boolean;
  readonly instances: Map<string, ServiceInstance>;
  /** Messages that it has not been sent, the newest for each service: never more than there are services. */
  readonly due: Map<string, Buffer>;
  owesSynced: boolean;
  /** Announcements over the limit. */
  ignored: number;
}

export class ServiceDirectory {
  readonly table = new ServiceTable();
  private readonly local = new Map<string, ServiceInstance>();
  /** SERVICE_ADD of each local service; the same bytes for every peer. */
  private readonly announcements = new Map<string, Buffer>();
  private readonly neighbours = new Map<Link, Neighbour>();

  constructor(
    private readonly options: DirectoryOptions,
    private readonly owner: DirectoryOwner,
  ) {}

  /** Do names of this node and of the peer meet? */
  sharesEnv(link: Link): boolean {
    return link.envDigests.some((digest) => this.options.envDigests.includes(digest));
  }

  /** A bind by name; `port` 0 when it answers for any port. */
  bind(service: string, port: number, weight: number, meta: unknown): void {
    const message = this.options.announces ? encodeServiceAdd({ service, port, weight, meta }) : undefined;
    const instance = new ServiceInstance(service, this.options.nodeId, port, weight, meta, undefined);
    const key = keyOf(service, port);
    this.local.set(key, instance);
    this.table.add(instance);
    if (message !== undefined) {
      this.announcements.set(key, message);
      this.tellAll(key, message);
    }
    this.owner.onService(instance);
  }

  unbind(service: string, port: number): void {
    const key = keyOf(service, port);
    const instance = this.local.get(key);
    if (instance === undefined) return;
    this.local.delete(key);
    this.table.delete(instance);
    if (this.announcements.delete(key)) this.tellAll(key, encodeServiceRemove({ service, port }));
    this.owner.onUnservice(instance);
  }

  /** A link came up: its peer is told everything. */
  onLink(link: Link): void {
    const sharesEnv = this.sharesEnv(link);
    const due = new Map(sharesEnv ? this.announcements : []);
    const neighbour: Neighbour = { sharesEnv, instances: new Map(), due, owesSynced: true, ignored: 0 };
    this.neighbours.set(link, neighbour);
    this.tell(link, neighbour);
  }

  /** A link is gone, and everything that was known through it. */
  onUnlink(link: Link): void {
    const neighbour = this.neighbours.get(link);
    if (neighbour === undefined) return;
    this.neighbours.delete(link);
    // All out of the table first: whoever is told of one must not be handed another that is gone as well.
    for (const instance of neighbour.instances.values()) this.table.delete(instance);
    for (const instance of neighbour.instances.values()) this.owner.onUnservice(instance);
  }

  onMessage(link: Link, message: Message): void {
    const neighbour = this.neighbours.get(link);
    if (neighbour === undefined) return;
    if (message.type === MessageType.SERVICE_ADD) this.onAdd(link, neighbour, message);
    else if (message.type === MessageType.SERVICE_REMOVE) this.remove(neighbour, keyOf(message.service, message.port));
  }

  /** The peer takes messages again. */
  onDrain(link: Link): void {
    const neighbour = this.neighbours.get(link);
    if (neighbour !== undefined) this.tell(link, neighbour);
  }

  private onAdd(link: Link, neighbour: Neighbour, add: ServiceAdd): void {
    // A client announces nothing, and names of other envs are none of ours: whoever sends them gets no answer.
    if (link.role === 'client' || !neighbour.sharesEnv) return;
    const { service, port, weight, meta } = add;
    const key = keyOf(service, port);
    const known = neighbour.instances.get(key);
    if (known !== undefined) {
      if (known.weight === weight && sameJson(known.meta, meta)) return;
      this.remove(neighbour, key);
    }
    if (neighbour.instances.size >= this.options.maxServicesPerPeer) {
      if (neighbour.ignored++ === 0) this.owner.onWarning(overLimit(link, this.options.maxServicesPerPeer));
      return;
    }
    const instance = new ServiceInstance(service, link.peerId, port, weight, meta, link);
    neighbour.instances.set(key, instance);
    this.table.add(instance);
    this.owner.onService(instance);
  }

  private remove(neighbour: Neighbour, key: string): void {
    const instance = neighbour.instances.get(key);
    if (instance === undefined) return;
    neighbour.instances.delete(key);
    this.table.delete(instance);
    this.owner.onUnservice(instance);
  }

  private tellAll(key: string, message: Buffer): void {
    for (const [link, neighbour] of this.neighbours) {
      if (!neighbour.sharesEnv) continue;
      neighbour.due.delete(key); // To the end of the line: a name that was removed and bound again must arrive so.
      neighbour.due.set(key, message);
      this.tell(link, neighbour);
    }
  }

  /** Sends what is due, as long as the peer takes it. */
  private tell(link: Link, neighbour: Neighbour): void {
    for (const [key, message] of neighbour.due) {
      if (link.isBlocked) return;
      neighbour.due.delete(key);
      link.send(message);
    }
    if (neighbour.owesSynced && !link.isBlocked) {
      neighbour.owesSynced = false;
      link.send(encodeSynced());
    }
  }
}

/** Names hold no colon, so that no two services have the same key. */
function keyOf(service: string, port: number): string {
  return `${service}:${port}`;
}

function sameJson(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function overLimit(link: Link, limit: number): Error {
  return starlaneError(
    'ERR_STARLANE_SERVICE_LIMIT',
    `${link.peerId} announces more than ${limit} services; the rest is ignored`,
  );
}
