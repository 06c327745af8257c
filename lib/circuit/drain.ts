// Draining: a node takes no more circuits of other nodes, and waits until those that it has have ended.
//
// Circuits that the node has dialled itself do not count, nor do those to its own services. They belong to the program, which may keep some
// of them open for as long as it runs, such as a pool of connections to a database: the wait would never end.

import type { NodeId } from '../address.js';
import { netError, starlaneError } from '../errors.js';
import { waitWithin } from '../util/deadline.js';
import { type DrainEvent, drainChannel, publish } from '../util/diagnostics.js';
import type { Timers } from '../util/timers.js';
import type { Relay } from './relay/relay.js';

/** How long to wait until a node has drained. */
export interface DrainOptions {
  /** Ends the wait. The node goes on draining. */
  signal?: AbortSignal | undefined;
  /** Milliseconds, from 1. Default Infinity: no limit. */
  timeoutMs?: number | undefined;
}

/** A link, as far as it brings circuits. */
interface IncomingLink {
  /** Circuits that the peer has opened over it. */
  readonly incoming: number;
  incomingEnded(): Promise<void>;
}

export class Drain {
  hasBegun = false;
  private whenEnded: Promise<void> | undefined;
  private readonly beginCallbacks: Array<() => void> = [];

  constructor(
    private readonly nodeId: NodeId,
    private readonly relay: Pick<Relay, 'drain' | 'idle' | 'pool'>,
    /** Every link of which anything is left. */
    private readonly links: () => Iterable<IncomingLink>,
    private readonly timers: Timers,
  ) {}

  /** Circuits of other nodes, to this node or through it, that are open or being opened. */
  get circuits(): number {
    let count = 0;
    for (const { incoming } of this.links()) count += incoming;
    // The near end of a relayed circuit may have ended while the far end still gets what waits for it.
    return Math.max(count, this.relay.pool.size);
  }

  /** Adds a function that is called when draining begins: what keeps circuits open for others then ends them. */
  beforeBegin(callback: () => void): void {
    this.beginCallbacks.push(callback);
  }

  /** Refuses circuits of other nodes from now on. */
  begin(): void {
    if (!this.hasBegun) this.publish('begin');
    this.hasBegun = true;
    this.relay.drain();
    for (const callback of this.beginCallbacks.splice(0)) callback();
  }

  /** Resolves when the last circuit of another node has ended. */
  ended(): Promise<void> {
    this.whenEnded ??= this.lastEnded().then(() => this.publish('end'));
    return this.whenEnded;
  }

  /** The same, with a limit. @throws ETIMEDOUT, the reason of the signal */
  endedWithin(options: DrainOptions): Promise<void> {
    const late = (): Error => {
      const open = starlaneError('ERR_STARLANE_CLOSE_TIMEOUT', `open circuits of other nodes: ${this.circuits}`);
      return netError('ETIMEDOUT', 'drain', undefined, open);
    };
    return waitWithin(this.timers, { ...options, late }, (resolve) => {
      void this.ended().then(resolve);
      return undefined;
    });
  }

  private publish(type: DrainEvent['type']): void {
    publish<DrainEvent>(drainChannel, () => ({ nodeId: this.nodeId, type, circuits: this.circuits }));
  }

  private async lastEnded(): Promise<void> {
    // An OPEN that is about to be refused counts for a moment, too.
    for (;;) {
      const link = this.busyLink();
      if (link !== undefined) await link.incomingEnded();
      else if (this.relay.pool.size > 0) await this.relay.idle();
      else return;
    }
  }

  private busyLink(): IncomingLink | undefined {
    for (const link of this.links()) if (link.incoming > 0) return link;
    return undefined;
  }
}
