// The network between hosts: how long a byte takes from one to another, and whether it gets there at all.

import type { Random } from './random.js';

export interface Place {
  /** 0 to 65535, its own. */
  readonly index: number;
  readonly x: number;
  readonly y: number;
  /** What its own access adds in each direction, in ms. */
  extraMs: number;
  /** Hosts of two sides hear nothing of each other. */
  side: number;
}

/** `plane`: by distance. `uniform`: by chance, with no geometry behind it. */
export type LatencyModel = 'plane' | 'uniform';

/** Told when parts of the network find together again. */
export interface PathWaiter {
  onHeal(): void;
}

export const MIN_LATENCY_MS = 5;
export const MAX_LATENCY_MS = 60;

const INDEXES = 0x1_0000;

export class Paths {
  /** Those with something that could not be sent. */
  readonly waiting = new Set<PathWaiter>();
  private readonly cuts = new Set<number>();
  private readonly seed: number;

  constructor(
    private readonly model: LatencyModel,
    random: Random,
  ) {
    this.seed = random.below(2 ** 32);
  }

  /** From one host to another, in ms. The same in both directions but for what each adds. */
  latencyMs(from: Place, to: Place): number {
    const share = this.model === 'plane' ? distance(from, to) : chance(this.seed, from.index, to.index);
    return MIN_LATENCY_MS + (MAX_LATENCY_MS - MIN_LATENCY_MS) * share + from.extraMs + to.extraMs;
  }

  roundTripMs(from: Place, to: Place): number {
    return this.latencyMs(from, to) + this.latencyMs(to, from);
  }

  /** Does what one host sends arrive at another? */
  isOpen(from: Place, to: Place): boolean {
    return from.side === to.side && (this.cuts.size === 0 || !this.cuts.has(pair(from, to)));
  }

  /** Nothing of what `from` sends arrives at `to`, and neither is told. */
  cutOneWay(from: Place, to: Place): void {
    this.cuts.add(pair(from, to));
  }

  cut(one: Place, other: Place): void {
    this.cutOneWay(one, other);
    this.cutOneWay(other, one);
  }

  mend(one: Place, other: Place): void {
    this.cuts.delete(pair(one, other));
    this.cuts.delete(pair(other, one));
    this.healed();
  }

  /** The path that was cut first, both ways. */
  mendOne(): void {
    const [first] = this.cuts;
    if (first === undefined) return;
    this.cuts.delete(first);
    this.cuts.delete((first % INDEXES) * INDEXES + Math.floor(first / INDEXES));
    this.healed();
  }

  mendAll(): void {
    this.cuts.clear();
    this.healed();
  }

  /** After the side of some hosts has changed. */
  healed(): void {
    for (const waiter of [...this.waiting]) waiter.onHeal();
  }
}

function pair(from: Place, to: Place): number {
  return from.index * INDEXES + to.index;
}

/** On the unit square, from 0 to 1. */
function distance(one: Place, other: Place): number {
  return Math.hypot(one.x - other.x, one.y - other.y) / Math.SQRT2;
}

/** From 0 up to 1, the same for both directions. */
function chance(seed: number, one: number, other: number): number {
  const [low, high] = one < other ? [one, other] : [other, one];
  let mixed = Math.imul(seed ^ Math.imul(low + 1, 0x9e37_79b1), 0x85eb_ca6b) ^ Math.imul(high + 1, 0xc2b2_ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b_3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a_2d39);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}
