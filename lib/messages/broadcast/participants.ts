// The participants of a broadcast, as the directory of the node lists them, and the circuits to the neighbours among them.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import type { Server } from '../../socket/server.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { sharedTimers } from '../../util/timers.js';
import { BROADCAST_PORT } from '../ports.js';
import { type Frame, type Hello, VERSION } from './frames.js';
import { Neighbour } from './neighbour.js';
import type { ResolvedBroadcastOptions } from './options.js';
import { Neighbourhood } from './overlay/neighbourhood.js';

/** Changes of the directory within this time are handled together, in ms. */
const GATHER_MS = 50;
const DIAL_MS = 5_000;
/** How long a circuit waits until the directory has the node that dialled it, in ms, and how many circuits wait: one of each node. */
const ARRIVAL_MS = 5_000;
const MAX_ARRIVALS = 64;

export interface ParticipantsOwner {
  /** The neighbour gets frames from now on. */
  onUp(id: NodeId): void;
  onDown(id: NodeId): void;
  /** Returns what is wrong with a frame; undefined for a good one. */
  onFrame(id: NodeId, frame: Frame): string | undefined;
  onReady(id: NodeId): void;
  /** A neighbour has broken the protocol. */
  onFault(fault: Error): void;
  /** The node closes or drains. */
  onClosed(): void;
}

/** What a participant announces with its service. */
interface Meta {
  readonly broadcast: number;
  /** The digest of the env. */
  readonly env: string;
}

export class Participants {
  private readonly service: string;
  private readonly server: Server;
  private readonly circuits: Neighbourhood;
  private readonly neighbours = new Map<NodeId, Neighbour>();
  private readonly dials = new Map<NodeId, Socket>();
  private readonly arrivals = new Map<NodeId, { readonly socket: Socket; readonly untilMs: number }>();
  private readonly gather: Deadline;
  private readonly due: Deadline;
  private readonly unfollow: () => void;
  private isClosed = false;

  constructor(
    private readonly node: Node,
    name: string,
    private readonly options: ResolvedBroadcastOptions,
    private readonly env: string,
    private readonly owner: ParticipantsOwner,
  ) {
    this.service = `broadcast/${name}`;
    this.gather = new Deadline(sharedTimers, () => this.refresh());
    this.due = new Deadline(sharedTimers, () => this.circuits.onTime());
    this.circuits = new Neighbourhood(node.id, {
      now: () => sharedTimers.now(),
      dial: (id) => this.dial(id),
      hangUp: (id) => this.hangUp(id),
      wake: (delayMs) => this.due.set(delayMs),
    });
    const meta: Meta = { broadcast: VERSION, env };
    const { allow } = options;
    this.server = node.bind(
      `${this.service}:${BROADCAST_PORT}`,
      { meta, pauseOnConnect: true, ...(allow === undefined ? {} : { allow }) },
      (socket) => this.onSocket(socket),
    );
    const unfollow = node.queries.follow((event) => {
      switch (event.name) {
        case 'service':
        case 'unservice':
          if (event.service.service === this.service) this.refreshSoon();
          return;
        case 'link':
        case 'unlink':
          this.refreshSoon();
          return;
        case 'drain':
          this.owner.onClosed();
      }
    });
    // Not with the end of the server: that waits for its circuits, which the others would keep.
    const unfollowClose = node.queries.beforeClose(() => this.owner.onClosed());
    this.unfollow = () => {
      unfollow();
      unfollowClose();
    };
    this.refreshSoon();
  }

  /** How many neighbours take messages more slowly than they come. */
  get slowCount(): number {
    let count = 0;
    for (const neighbour of this.neighbours.values()) if (neighbour.isUp && neighbour.isSlow) count++;
    return count;
  }

  /** How many other participants the directory lists. */
  get count(): number {
    return this.instances().length;
  }

  isSlow(id: NodeId): boolean {
    return this.neighbours.get(id)?.isSlow === true;
  }

  send(id: NodeId, frame: Frame): void {
    this.neighbours.get(id)?.send(frame);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.unfollow();
    this.gather.clear();
    this.due.clear();
    this.server.close();
    for (const socket of this.dials.values()) socket.destroy();
    for (const { socket } of this.arrivals.values()) socket.destroy();
    for (const neighbour of this.neighbours.values()) neighbour.hangUp();
    this.neighbours.clear();
  }

  private refreshSoon(): void {
    if (!this.gather.isSet && !this.isClosed) this.gather.set(GATHER_MS);
  }

  private refresh(): void {
    if (this.isClosed) return;
    // A circuit that is here already needs no dial.
    this.admitArrivals();
    const instances = this.instances();
    const direct = instances.filter(({ hops }) => hops === 1).sort((a, b) => a.cost - b.cost);
    this.circuits.update(
      instances.map(({ nodeId }) => nodeId),
      direct.map(({ nodeId }) => nodeId),
    );
  }

  /** The other participants of the env. */
  private instances(): ServiceInfo[] {
    return this.node
      .serviceMap()
      .get(this.service)
      .filter((instance) => this.takesPart(instance));
  }

  private takesPart({ nodeId, port, meta }: ServiceInfo): boolean {
    if (nodeId === this.node.id || port !== BROADCAST_PORT) return false;
    const { broadcast, env } = (typeof meta === 'object' && meta !== null ? meta : {}) as Partial<Meta>;
    return broadcast === VERSION && env === this.env;
  }

  private dial(id: NodeId): void {
    const { service } = this;
    const socket = this.node.dial(`${service}:${BROADCAST_PORT}`, {
      timeoutMs: DIAL_MS,
      resilience: false,
      selector: (instances) => instances.find(({ nodeId }) => nodeId === id),
    });
    this.dials.set(id, socket);
    const onFailed = (): void => {
      if (this.dials.get(id) !== socket) return;
      this.dials.delete(id);
      if (this.isClosed) return;
      this.circuits.onDown(id, true);
      this.admitArrivals();
    };
    socket.once('error', onFailed);
    socket.once('close', onFailed);
    socket.once('connect', () => {
      if (this.dials.get(id) !== socket) return;
      this.dials.delete(id);
      socket.off('error', onFailed);
      socket.off('close', onFailed);
      this.take(id, socket, true);
      this.admitArrivals();
    });
  }

  private onSocket(socket: Socket): void {
    const id = socket.peer?.id;
    socket.on('error', () => {});
    const before = id === undefined ? undefined : this.arrivals.get(id);
    if (id === undefined || this.isClosed || (before === undefined && this.arrivals.size >= MAX_ARRIVALS)) {
      socket.destroy();
      return;
    }
    // A node that dials again has given up its first circuit.
    before?.socket.destroy();
    socket.once('close', () => {
      if (this.arrivals.get(id)?.socket === socket) this.arrivals.delete(id);
    });
    this.arrivals.set(id, { socket, untilMs: sharedTimers.now() + ARRIVAL_MS });
    this.admitArrivals();
  }

  /** Takes the circuits of the nodes that the directory has: only a node that may offer the service takes part. */
  private admitArrivals(): void {
    if (this.arrivals.size === 0) return;
    const known = new Set(this.instances().map(({ nodeId }) => nodeId));
    const now = sharedTimers.now();
    for (const [id, { socket, untilMs }] of this.arrivals) {
      const answer = known.has(id) ? this.circuits.answerTo(id) : 'wait';
      if (answer === 'wait' && now < untilMs) continue;
      this.arrivals.delete(id);
      if (answer !== 'accept') {
        socket.destroy();
        continue;
      }
      const dialled = this.dials.get(id);
      this.dials.delete(id);
      dialled?.on('error', () => {});
      dialled?.destroy();
      this.take(id, socket, false);
    }
    // The news of the node is on its way, or it does not take part.
    if (this.arrivals.size > 0 && !this.gather.isSet) this.gather.set(ARRIVAL_MS / 10);
  }

  private take(id: NodeId, socket: Socket, ours: boolean): void {
    const old = this.neighbours.get(id);
    const env = Buffer.from(this.env, 'hex').toString('latin1');
    if (old !== undefined) {
      this.neighbours.delete(id);
      if (old.isUp) this.owner.onDown(id);
      old.hangUp();
    }
    const hello: Hello = { kind: 'hello', version: VERSION, env };
    const neighbour: Neighbour = new Neighbour(
      socket,
      sharedTimers,
      this.options.outboxBytes,
      {
        onHello: (theirs) => {
          if (theirs.env !== env) throw starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', 'a neighbour of another env');
          this.owner.onUp(id);
        },
        onFrame: (frame) => {
          const fault = this.owner.onFrame(id, frame);
          if (fault !== undefined) throw starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', fault);
        },
        onReady: () => this.owner.onReady(id),
        onEnd: (fault) => this.onEnd(id, neighbour, fault),
      },
      hello,
    );
    this.neighbours.set(id, neighbour);
    this.circuits.onUp(id, ours);
    socket.resume();
  }

  private onEnd(id: NodeId, neighbour: Neighbour, fault: Error | undefined): void {
    if (this.neighbours.get(id) !== neighbour) return;
    this.neighbours.delete(id);
    if (neighbour.isUp) this.owner.onDown(id);
    if (this.isClosed) return;
    if (fault !== undefined) this.owner.onFault(fault);
    this.circuits.onDown(id, fault !== undefined);
  }

  private hangUp(id: NodeId): void {
    const neighbour = this.neighbours.get(id);
    this.neighbours.delete(id);
    if (neighbour?.isUp) this.owner.onDown(id);
    neighbour?.hangUp();
  }
}
