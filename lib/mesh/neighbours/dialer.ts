// The dials that this node makes by itself, for mesh links: one for an address or node at a time, none to itself, within a rate
// limit, and with back-off after failures. Remembers which node answered last at each address. Another one may answer next
// time: a load balancer or a name may lead to any node, including this one.

import type { NodeId } from '../../address.js';
import { codeOf, starlaneError } from '../../errors.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { Deadline, inTime } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import { debug } from '../../util/runtime/debug.js';
import { TokenBucket } from '../../util/token-bucket.js';
import type { MeshEnvironment, MeshLink, MeshNetwork } from '../ports.js';

const log = debug('link');

/** Connecting, handshake and the initial sync. The network has timeouts of its own; this is the last resort. */
const DIAL_TIMEOUT_MS = 20_000;
const MAX_ADDRESSES = 1_000;
/** A node announces up to eight addresses, but hardly any is reachable at more than three. */
const MAX_TRIED = 3;
/** A link that was up this long proves its address: failures count from 0 again. */
const PROVEN_MS = 60_000;

/** What is known of an address. */
interface KnownAddress {
  /** The node that answered last; may be this one. */
  nodeId: NodeId | undefined;
  failures: number;
  /** Not dialled before this time. */
  untilMs: number;
  /** When a link that was dialled there came up. */
  upSinceMs: number;
  dial: Promise<MeshLink> | undefined;
}

export class MeshDialer {
  private readonly addresses = new RecentMap<string, KnownAddress>(MAX_ADDRESSES);
  private readonly dialling = new Set<NodeId>();
  private readonly aborter = new AbortController();
  private readonly budget: DialBudget;
  private going = 0;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly network: MeshNetwork,
    private readonly backOff: BackOff,
    /** Called when a dial has succeeded or failed. */
    private readonly onSettled: () => void = () => {},
  ) {
    this.budget = new DialBudget(environment);
  }

  /** Whether this node listens at an address. That it answered there once does not mean that it will again. */
  isOwn(address: string): boolean {
    const { ownAddresses, listenAddresses } = this.network;
    return (ownAddresses ?? listenAddresses).includes(address);
  }

  /** Returns the node that answered last at an address; may be this one. */
  idAt(address: string): NodeId | undefined {
    return this.addresses.peek(address)?.nodeId;
  }

  isDialling(nodeId: NodeId): boolean {
    return this.dialling.has(nodeId);
  }

  /** The number of dials that are under way or wait. */
  get underway(): number {
    return this.going;
  }

  /** Whether an address may be dialled now. */
  canDial(address: string): boolean {
    if (this.isOwn(address)) return false;
    const known = this.addresses.peek(address);
    return known === undefined || (known.dial === undefined && this.environment.timers.now() >= known.untilMs);
  }

  /** Returns a link to the node at an address, which must be `expect` if given. Further callers wait for the same dial. */
  dial(address: string, expect?: NodeId): Promise<MeshLink> {
    const known = this.known(address);
    if (known.dial === undefined) {
      this.going++;
      known.dial = this.attempt(address, known, expect).finally(() => {
        known.dial = undefined;
        this.going--;
        this.onSettled();
      });
    }
    return known.dial;
  }

  /** Returns a link to a node, at the first of its addresses that answers. `expect`: only that node will do. */
  async dialNode(nodeId: NodeId, addresses: readonly string[], expect: boolean): Promise<MeshLink> {
    if (this.dialling.has(nodeId)) throw starlaneError('ERR_STARLANE_DUPLICATE_LINK', nodeId);
    this.dialling.add(nodeId);
    let failure: unknown = starlaneError('ERR_STARLANE_ADDRESS', `${nodeId}: none that could be dialled now`);
    try {
      for (const address of addresses.filter((one) => this.canDial(one)).slice(0, MAX_TRIED)) {
        try {
          const link = await this.dial(address, expect ? nodeId : undefined);
          if (!expect || link.peerId === nodeId) return link;
          // The dial was shared with one that expects another node.
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

  /** Called when an address has refused or not answered. */
  failed(address: string): void {
    this.fail(this.known(address));
  }

  onLink(link: MeshLink): void {
    if (link.direction !== 'outbound' || link.address === 'attached') return;
    const known = this.known(link.address);
    known.nodeId = link.peerId;
    known.upSinceMs = this.environment.timers.now();
  }

  onUnlink(link: MeshLink): void {
    const known = this.addresses.peek(link.address);
    if (link.direction !== 'outbound' || known === undefined) return;
    if (this.environment.timers.now() - known.upSinceMs >= PROVEN_MS) known.failures = 0;
    this.fail(known);
  }

  dispose(): void {
    this.aborter.abort(starlaneError('ERR_STARLANE_CLOSED'));
    this.budget.dispose();
  }

  private async attempt(address: string, known: KnownAddress, expect: NodeId | undefined): Promise<MeshLink> {
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
      known.nodeId = link.peerId;
      // An existing direct link is promoted; a network that cannot do that has not returned a mesh link.
      if (link.purpose === 'direct') throw starlaneError('ERR_STARLANE_DUPLICATE_LINK', `${address}: for a shortcut`);
      return link;
    } catch (error) {
      log('%s: %s', address, (error as Error).message);
      if (codeOf(error) === 'ERR_STARLANE_SELF_LINK') known.nodeId = identity.nodeId;
      this.fail(known);
      throw error;
    }
  }

  private fail(known: KnownAddress): void {
    const { timers, random } = this.environment;
    known.untilMs = timers.now() + backOffMs(known.failures++, this.backOff, random);
  }

  private known(address: string): KnownAddress {
    let known = this.addresses.get(address);
    if (known === undefined) {
      known = { nodeId: undefined, failures: 0, untilMs: 0, upSinceMs: 0, dial: undefined };
      this.addresses.set(address, known);
    }
    return known;
  }
}

const RATE = { perS: 2, burst: 5 };
const MAX_WAITING = 64;

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/** What a dial that had to wait costs, at least and at most; 1 on average. */
const COST = { min: 0.5, max: 1.5 };

/**
 * Rate limit of dials: two a second on average, five at once after a rest. No fault in the choice of neighbours can cause a storm of dials.
 *
 * The times between dials that had to wait differ at random. With equal ones, nodes that dial a load balancer would stay in step, and where
 * it takes turns, each could be given the same node without end: itself.
 */
class DialBudget {
  private readonly bucket = new TokenBucket(RATE);
  private readonly waiting: Waiter[] = [];
  private readonly deadline: Deadline;

  constructor(private readonly environment: Pick<MeshEnvironment, 'timers' | 'random'>) {
    this.deadline = new Deadline(environment.timers, () => this.release());
  }

  /** Resolves when the caller may dial. @throws ERR_STARLANE_LINK_LIMIT when too many wait, ERR_STARLANE_CLOSED by dispose */
  async take(): Promise<void> {
    const now = this.environment.timers.now();
    if (this.waiting.length === 0 && this.bucket.canTake(now)) {
      this.bucket.take(now);
      return;
    }
    if (this.waiting.length >= MAX_WAITING) {
      throw starlaneError('ERR_STARLANE_LINK_LIMIT', `${MAX_WAITING} dials wait already`);
    }
    await new Promise<void>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.arm();
    });
  }

  dispose(): void {
    this.deadline.clear();
    for (const waiter of this.waiting.splice(0)) waiter.reject(starlaneError('ERR_STARLANE_CLOSED'));
  }

  private release(): void {
    const { timers, random } = this.environment;
    const now = timers.now();
    while (this.waiting.length > 0 && this.bucket.canTake(now)) {
      this.bucket.take(now, COST.min + (COST.max - COST.min) * random());
      this.waiting.shift()?.resolve();
    }
    if (this.waiting.length > 0) this.arm();
  }

  private arm(): void {
    if (!this.deadline.isSet) this.deadline.set(this.bucket.waitMs(this.environment.timers.now()));
  }
}
