// How far this node may trust its own judgement of others (Lifeguard): a multiplier from 0 to 7 that rises when its event loop
// lags or when many links fall silent at once, and falls while it is well. Timeouts grow with it, and when it is high, others
// are asked to avoid this node. Pure.

import type { NodeId } from '../../address.js';

const MAX = 7;
/** The length of the windows that are judged, in ms. */
const WINDOW_MS = 5_000;
/** A tick that is this late counts against the window... */
const LATE_MS = 200;
/** ...when this share of the ticks is late, and at least two are: one pause of the garbage collector does not count. */
const LATE_SHARE = 0.01;
/** A block of this length may cost links, in ms. */
const BLOCK_MS = 2_000;
const OVERLOADED_FROM = 4;
const WELL_BELOW = 2;
/** The least time between two changes of the overload flag, in ms: each costs a flood. */
const CHANGE_INTERVAL_MS = 60_000;

interface LocalHealthOwner {
  /** Called when others should avoid this node, or need not any more. At most one change a minute. */
  onOverload(isOverloaded: boolean): void;
}

export class LocalHealth {
  private value = 0;
  private windowEndMs = Number.NEGATIVE_INFINITY;
  private ticks = 0;
  private lateTicks = 0;
  private isTroubled = false;
  /** When links turned suspect, within the last window. */
  private readonly suspicions = new Map<NodeId, number>();
  private lastMassMs = Number.NEGATIVE_INFINITY;
  private isOverloaded = false;
  private lastChangeMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly owner: LocalHealthOwner) {}

  /** 0: well; 7: hardly running. */
  get multiplier(): number {
    return this.value;
  }

  /** The factor for timeouts of others. */
  get scale(): number {
    return 1 + this.value / 2;
  }

  /** Called with each tick, `lateMs` late. */
  onTick(now: number, lateMs: number): void {
    if (this.windowEndMs === Number.NEGATIVE_INFINITY) this.windowEndMs = now + WINDOW_MS;
    this.ticks++;
    if (lateMs > LATE_MS) this.lateTicks++;
    if (lateMs > BLOCK_MS) this.worsen(2);
    if (now >= this.windowEndMs) this.closeWindow(now);
    this.notify(now);
  }

  /** Called when one of `links` turns suspect. When half of them do at once, the problem is more likely this node. */
  onSuspect(now: number, peerId: NodeId, links: number): void {
    this.suspicions.set(peerId, now);
    for (const [id, at] of this.suspicions) if (now - at > WINDOW_MS) this.suspicions.delete(id);
    if (this.suspicions.size < Math.max(2, links / 2) || now - this.lastMassMs < WINDOW_MS) return;
    this.lastMassMs = now;
    this.worsen(2);
    this.notify(now);
  }

  private closeWindow(now: number): void {
    if (this.lateTicks >= Math.max(2, this.ticks * LATE_SHARE)) this.worsen(1);
    else if (!this.isTroubled) this.value = Math.max(0, this.value - 1);
    this.isTroubled = false;
    this.ticks = 0;
    this.lateTicks = 0;
    this.windowEndMs = now + WINDOW_MS;
  }

  private worsen(by: number): void {
    this.value = Math.min(MAX, this.value + by);
    this.isTroubled = true;
  }

  private notify(now: number): void {
    const isOverloaded = this.isOverloaded ? this.value >= WELL_BELOW : this.value >= OVERLOADED_FROM;
    if (isOverloaded === this.isOverloaded || now - this.lastChangeMs < CHANGE_INTERVAL_MS) return;
    this.isOverloaded = isOverloaded;
    this.lastChangeMs = now;
    this.owner.onOverload(isOverloaded);
  }
}
