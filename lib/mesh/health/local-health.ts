// How far this node may trust its own judgement of others (Lifeguard): a multiplier from 0 to 7 that rises when the own
// event loop lags or when many links fall silent at once, and falls while all is well. Deadlines grow with it, and when it
// is high the others are told to go round this node. Pure: it is told of ticks and suspicions.

import type { NodeId } from '../../address.js';

const MAX = 7;
/** All is judged by windows of this length, in ms. */
const WINDOW_MS = 5_000;
/** A tick that is this late counts against the window... */
const LATE_MS = 200;
/** ...when this part of all does, and at least two do: one pause of the garbage collector is no trouble. */
const LATE_SHARE = 0.01;
/** A block that costs others their patience, in ms. */
const BLOCK_MS = 2_000;
const OVERLOADED_FROM = 4;
const WELL_BELOW = 2;
/** The least time between two words about overload, in ms: each is a flood. */
const WORD_INTERVAL_MS = 60_000;

export interface LocalHealthOwner {
  /** Others should go round this node, or need not any more. At most one change a minute. */
  onOverload(isOverloaded: boolean): void;
}

export class LocalHealth {
  private value = 0;
  private windowEndMs = Number.NEGATIVE_INFINITY;
  private ticks = 0;
  private lateTicks = 0;
  private isTroubled = false;
  /** When the links turned suspect that did so within the last window. */
  private readonly suspicions = new Map<NodeId, number>();
  private lastMassMs = Number.NEGATIVE_INFINITY;
  private isOverloaded = false;
  private lastWordMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly owner: LocalHealthOwner) {}

  /** 0: well; 7: hardly alive. */
  get multiplier(): number {
    return this.value;
  }

  /** What deadlines for others are multiplied by. */
  get scale(): number {
    return 1 + this.value / 2;
  }

  /** A tick came, `lateMs` late. */
  onTick(now: number, lateMs: number): void {
    if (this.windowEndMs === Number.NEGATIVE_INFINITY) this.windowEndMs = now + WINDOW_MS;
    this.ticks++;
    if (lateMs > LATE_MS) this.lateTicks++;
    if (lateMs > BLOCK_MS) this.worsen(2);
    if (now >= this.windowEndMs) this.closeWindow(now);
    this.tell(now);
  }

  /** A link turned suspect, one of `links`. When half of them do at once, it is more likely this node than they. */
  onSuspect(now: number, peerId: NodeId, links: number): void {
    this.suspicions.set(peerId, now);
    for (const [id, at] of this.suspicions) if (now - at > WINDOW_MS) this.suspicions.delete(id);
    if (this.suspicions.size < Math.max(2, links / 2) || now - this.lastMassMs < WINDOW_MS) return;
    this.lastMassMs = now;
    this.worsen(2);
    this.tell(now);
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

  private tell(now: number): void {
    const isOverloaded = this.isOverloaded ? this.value >= WELL_BELOW : this.value >= OVERLOADED_FROM;
    if (isOverloaded === this.isOverloaded || now - this.lastWordMs < WORD_INTERVAL_MS) return;
    this.isOverloaded = isOverloaded;
    this.lastWordMs = now;
    this.owner.onOverload(isOverloaded);
  }
}
