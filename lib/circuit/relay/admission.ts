// Which circuits may pass through this node, and how much of it one neighbour or one source may take. Pure: time is an argument.

import type { NodeId } from '../../address.js';
import type { RelayLimits } from './limits.js';
import { PoolShare, type RelayPool } from './pool.js';

/**
 * Circuit ids seen a short while ago: one that comes again runs in a loop, whatever its list of visited nodes says. Two
 * generations, so that forgetting costs nothing; bounded, so that a flood of opens cannot fill the memory.
 */
export class SeenCircuits {
  private young = new Set<string>();
  private old = new Set<string>();
  private bornAt = Number.NEGATIVE_INFINITY;

  /** Remembers an id for `rememberMs` to twice as long, unless more than `maxRemembered` come in that time. */
  constructor(
    private readonly rememberMs: number,
    private readonly maxRemembered: number,
  ) {}

  get size(): number {
    return this.young.size + this.old.size;
  }

  /** Returns whether the circuit is seen for the first time, and remembers it. */
  isNew(circuitId: Uint8Array, now: number): boolean {
    this.age(now);
    const key = Buffer.from(circuitId).toString('latin1');
    if (this.young.has(key) || this.old.has(key)) return false;
    this.young.add(key);
    return true;
  }

  private age(now: number): void {
    const age = now - this.bornAt;
    if (age < this.rememberMs && this.young.size < this.maxRemembered / 2) return;
    this.old = age < 2 * this.rememberMs ? this.young : new Set();
    this.young = new Set();
    this.bornAt = now;
  }
}

/** What counts for a neighbour whose circuits pass, either way. There is one for each link, which goes with the link. */
export class RelayNeighbour {
  /** Circuits that it has opened and that have not ended. */
  circuits = 0;
  /** By source, as the neighbour names it: that must not count against what the source does by another way. */
  readonly sources = new Map<NodeId, RelaySource>();
  readonly share: PoolShare;
  /** With fractions: a TokenBucket rounds up to whole milliseconds at each take, so it never allows more than 1,000 a second. */
  private tokens: number;
  private filledAt: number;

  constructor(
    private readonly limits: RelayLimits,
    now: number,
  ) {
    this.share = new PoolShare(limits.poolBytesPerLink);
    this.tokens = limits.openBurst;
    this.filledAt = now;
  }

  /** Returns whether the rate limit allows another circuit now, and counts it if so. */
  takeOpen(now: number): boolean {
    const { opensPerSecond, openBurst } = this.limits;
    const elapsed = Math.max(0, now - this.filledAt);
    this.tokens = Math.min(openBurst, this.tokens + (elapsed * opensPerSecond) / 1000);
    this.filledAt = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}

/** What counts for a node that has circuits through this one, by way of one neighbour. */
export interface RelaySource {
  readonly nodeId: NodeId;
  circuits: number;
  readonly share: PoolShare;
}

/** The result of a request to pass. */
export type Admission =
  | { readonly source: RelaySource }
  | { readonly refused: 'limit' | 'loop'; readonly reason: string };

export class RelayAdmission {
  private readonly seen: SeenCircuits;

  constructor(
    private readonly limits: RelayLimits,
    private readonly pool: RelayPool,
  ) {
    this.seen = new SeenCircuits(limits.rememberMs, limits.maxRemembered);
  }

  /** Admits a circuit of `src` that a neighbour has passed on, if it may pass. Then it counts until {@link release}. */
  admit(from: RelayNeighbour, src: NodeId, circuitId: Uint8Array, now: number): Admission {
    const { limits, pool } = this;
    if (!from.takeOpen(now)) return limit(`more than ${limits.opensPerSecond} opens a second (relayOpensPerSecond)`);
    if (from.circuits >= limits.maxCircuitsPerNeighbour)
      return limit(`${from.circuits} circuits of one neighbour (maxCircuitsPerNeighbour)`);
    const source = from.sources.get(src);
    if (source !== undefined && source.circuits >= limits.maxCircuitsPerSource) {
      return limit(`${source.circuits} circuits of one source (maxCircuitsPerSource)`);
    }
    if (pool.all.isTight) return limit('the relay is short of memory (relayPoolBytes)');
    if (from.share.isTight) return limit('the circuits of the link hold too much (relayPoolBytes)');
    if (source?.share.isTight) return limit('the circuits of the source hold too much (relayPoolBytes)');
    if (!this.seen.isNew(circuitId, now)) return { refused: 'loop', reason: 'the circuit has been here' };
    from.circuits++;
    return { source: this.count(from, src, source) };
  }

  /** Called when an admitted circuit has ended. */
  release(from: RelayNeighbour, source: RelaySource): void {
    from.circuits--;
    source.circuits--;
    if (source.circuits === 0) from.sources.delete(source.nodeId);
  }

  private count(from: RelayNeighbour, nodeId: NodeId, known: RelaySource | undefined): RelaySource {
    const source = known ?? { nodeId, circuits: 0, share: new PoolShare(this.limits.poolBytesPerSource) };
    if (known === undefined) from.sources.set(nodeId, source);
    source.circuits++;
    return source;
  }
}

function limit(reason: string): Admission {
  return { refused: 'limit', reason };
}
