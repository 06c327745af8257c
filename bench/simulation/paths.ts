// The network between hosts: how long a byte takes from one to another, and whether it gets there at all.

import type { Random } from './random.js';

export interface Place {
  /** 0 to 65535, its own. */
  readonly index: number;
  readonly x: number;
  readonly y: number;
  /** What its own access adds in each direction, in ms. */
  extraMs: number;
  /** Hosts of two sides cannot reach each other. */
  side: number;
}

/** `plane`: by distance. `uniform`: by chance, with no geometry behind it. */
export type LatencyModel = 'plane' | 'uniform';

/** Called when parts of the network are connected again. */
export interface PathWaiter {
  onHeal(): void;
}

/** The conditions of a long or bad path, in place of the latency model. */
export interface PathConditions {
  /** Between any two hosts, in ms; by the latency model when it is left out. */
  readonly rttMs?: number;
  /** Packets that are lost, 0 to 1, in each direction; default 0. */
  readonly loss?: number;
}

export const MIN_LATENCY_MS = 5;
export const MAX_LATENCY_MS = 60;

const INDEXES = 0x1_0000;

const PACKET_BYTES = 1_448;
/** So many packets behind a lost one have a kernel send it again after a round trip; with fewer, its timer has to run out. */
const FAST_BEHIND = 3;
/**
 * The timer of Linux: the smoothed round trip, but 200 ms at least, and four times its variation, in ms. Doubled each time that the
 * same packet is lost again.
 */
const MIN_TIMER_MS = 200;
const MIN_VARIATION_MS = 100;
const MAX_VARIATION_MS = 400;

export class Paths {
  /** Those with something that could not be sent. */
  readonly waiting = new Set<PathWaiter>();
  private readonly cuts = new Set<number>();
  private readonly seed: number;
  private readonly loss: number;

  constructor(
    private readonly model: LatencyModel,
    private readonly random: Random,
    private readonly conditions: PathConditions = {},
  ) {
    this.seed = random.below(2 ** 32);
    this.loss = conditions.loss ?? 0;
  }

  /** From one host to another, in ms. The same in both directions but for what each adds. */
  latencyMs(from: Place, to: Place): number {
    const { rttMs } = this.conditions;
    if (rttMs !== undefined) return rttMs / 2 + from.extraMs + to.extraMs;
    const share = this.model === 'plane' ? distance(from, to) : chance(this.seed, from.index, to.index);
    return MIN_LATENCY_MS + (MAX_LATENCY_MS - MIN_LATENCY_MS) * share + from.extraMs + to.extraMs;
  }

  roundTripMs(from: Place, to: Place): number {
    return this.latencyMs(from, to) + this.latencyMs(to, from);
  }

  /** Is this packet lost? It is one that no later packet makes a kernel send again. */
  isLost(): boolean {
    return this.loss > 0 && this.random.next() < this.loss;
  }

  /** How much later a message arrives, and all behind it, because packets of it were lost, in ms. */
  lateMs(from: Place, to: Place, bytes: number): number {
    if (this.loss === 0) return 0;
    const rttMs = this.roundTripMs(from, to);
    const packets = Math.max(1, Math.ceil(bytes / PACKET_BYTES));
    let lateMs = 0;
    for (let packet = 1; packet <= packets; packet++) {
      let resentMs = 0;
      let waitMs = 0;
      while (this.isLost()) {
        if (resentMs === 0 && packets - packet >= FAST_BEHIND) resentMs = rttMs;
        else {
          waitMs = waitMs === 0 ? this.timerMs(rttMs) : 2 * waitMs;
          resentMs += waitMs;
        }
      }
      lateMs = Math.max(lateMs, resentMs);
    }
    return lateMs;
  }

  private timerMs(rttMs: number): number {
    return Math.max(MIN_TIMER_MS, rttMs) + this.random.between(MIN_VARIATION_MS, MAX_VARIATION_MS);
  }

  /** Does what one host sends arrive at another? */
  isOpen(from: Place, to: Place): boolean {
    return from.side === to.side && (this.cuts.size === 0 || !this.cuts.has(pair(from, to)));
  }

  /** Nothing of what `from` sends arrives at `to`, and neither is notified. */
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
