// The dials that this node makes by itself, for mesh links: never two to one address or node at a time, never to itself,
// never more often than the budget allows, and not soon again where it has failed. It remembers who was found where last,
// which may be another one next time: a balancer or a name may lead to any node, this one included.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { inTime } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import { debug } from '../../util/runtime/debug.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import type { MeshLink } from '../ports/mesh-link.js';
import type { MeshNetwork } from '../ports/mesh-network.js';
import { DialBudget } from './dial-budget.js';

const log = debug('link');

/** Connecting, handshake and the first exchange of digests; a network has deadlines of its own, this is the last one. */
const DIAL_TIMEOUT_MS = 20_000;
const MAX_ADDRESSES = 1_000;
/** A node announces up to eight; who listens at more than three of them at once is a rare machine. */
const MAX_TRIED = 3;
/** A link that has been up this long has proved its address. */
const PROVEN_MS = 60_000;

interface Place {
  /** Who was found there; oneself, too. */
  nodeId: NodeId | undefined;
  failures: number;
  /** Not before this time again. */
  untilMs: number;
  /** Since when a link stands that was dialled there. */
  upSinceMs: number;
  dial: Promise<MeshLink> | undefined;
}

export class MeshDialer {
  private readonly places = new RecentMap<string, Place>(MAX_ADDRESSES);
  private readonly dialling = new Set<NodeId>();
  private readonly aborter = new AbortController();
  private readonly budget: DialBudget;
  private going = 0;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly network: MeshNetwork,
    private readonly backOff: BackOff,
    /** A dial has come to an end, one way or the other. */
    private readonly onSettled: () => void = () => {},
  ) {
    this.budget = new DialBudget(environment.timers);
  }

  /** Whether this node itself listens there. That it answered there once says nothing of the next time. */
  isOwn(address: string): boolean {
    const { ownAddresses, listenAddresses } = this.network;
    return (ownAddresses ?? listenAddresses).includes(address);
  }

  /** Who was found there last; this node, too. */
  idAt(address: string): NodeId | undefined {
    return this.places.peek(address)?.nodeId;
  }

  isDialling(nodeId: NodeId): boolean {
    return this.dialling.has(nodeId);
  }

  /** Dials that are under way or wait for their turn. */
  get underway(): number {
    return this.going;
  }

  /** Whether there is any sense in dialling an address now. */
  canDial(address: string): boolean {
    if (this.isOwn(address)) return false;
    const place = this.places.peek(address);
    return place === undefined || (place.dial === undefined && this.environment.timers.now() >= place.untilMs);
  }

  /** A link to whoever is there, or to `expect`. One dial an address: who comes second waits for the first. */
  dial(address: string, expect?: NodeId): Promise<MeshLink> {
    const place = this.place(address);
    if (place.dial === undefined) {
      this.going++;
      place.dial = this.attempt(address, place, expect).finally(() => {
        place.dial = undefined;
        this.going--;
        this.onSettled();
      });
    }
    return place.dial;
  }

  /** A link to a node, at the first of its addresses where it is found. `expect`: and to nobody else. */
  async dialNode(nodeId: NodeId, addresses: readonly string[], expect: boolean): Promise<MeshLink> {
    if (this.dialling.has(nodeId)) throw starlaneError('ERR_STARLANE_DUPLICATE_LINK', nodeId);
    this.dialling.add(nodeId);
    let failure: unknown = starlaneError('ERR_STARLANE_ADDRESS', `${nodeId}: none that could be dialled now`);
    try {
      for (const address of addresses.filter((one) => this.canDial(one)).slice(0, MAX_TRIED)) {
        try {
          const link = await this.dial(address, expect ? nodeId : undefined);
          if (!expect || link.peerId === nodeId) return link;
          // Somebody else was dialled there, at the same time.
          failure = starlaneError('ERR_STARLANE_HANDSHAKE', `${nodeId} is not at ${address}`);
        } catch (error) {
          failure = error;
          if (this.aborter.signal.aborted) break;
        }
      }
    } finally {
      this.dialling.delete(nodeId);
    }
    throw failure;
  }

  /** An address has not answered, or has refused. */
  failed(address: string): void {
    this.fail(this.place(address));
  }

  onLink(link: MeshLink): void {
    if (link.direction !== 'outbound' || link.address === 'attached') return;
    const place = this.place(link.address);
    place.nodeId = link.peerId;
    place.upSinceMs = this.environment.timers.now();
  }

  onUnlink(link: MeshLink): void {
    const place = this.places.peek(link.address);
    if (link.direction !== 'outbound' || place === undefined) return;
    if (this.environment.timers.now() - place.upSinceMs >= PROVEN_MS) place.failures = 0;
    this.fail(place);
  }

  stop(): void {
    this.aborter.abort(starlaneError('ERR_STARLANE_CLOSED'));
    this.budget.stop();
  }

  private async attempt(address: string, place: Place, expect: NodeId | undefined): Promise<MeshLink> {
    const { timers, identity } = this.environment;
    const { signal } = this.aborter;
    signal.throwIfAborted();
    await this.budget.take();
    signal.throwIfAborted();
    try {
      const link = await inTime(
        timers,
        DIAL_TIMEOUT_MS,
        address,
        (aborted) => this.network.dial(address, { purpose: 'mesh', expect, signal: aborted }),
        signal,
      );
      place.nodeId = link.peerId;
      // Promoted by now if it stood before; a network that cannot do that has not given what was asked for.
      if (link.purpose === 'direct') throw starlaneError('ERR_STARLANE_DUPLICATE_LINK', `${address}: for a shortcut`);
      return link;
    } catch (error) {
      log('%s: %s', address, (error as Error).message);
      if ((error as { code?: string }).code === 'ERR_STARLANE_SELF_LINK') place.nodeId = identity.nodeId;
      this.fail(place);
      throw error;
    }
  }

  private fail(place: Place): void {
    const { timers, random } = this.environment;
    place.untilMs = timers.now() + backOffMs(place.failures++, this.backOff, random);
  }

  private place(address: string): Place {
    let place = this.places.get(address);
    if (place === undefined) {
      place = { nodeId: undefined, failures: 0, untilMs: 0, upSinceMs: 0, dial: undefined };
      this.places.set(address, place);
    }
    return place;
  }
}
