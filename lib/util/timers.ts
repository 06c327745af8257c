// Deadlines by the million on one timeout of the event loop.
//
//   heap of ticks      map tick -> bucket        timers of a bucket, in the order they were scheduled
//   [ 102 118 640 ] -> 102: head ──────────────> timer <-> timer <-> timer <- tail
//
// A deadline is rounded up to a tick of `granularityMs`, and all timers of a tick share a bucket. Only the earliest
// tick has a timeout armed, and with no timers there is none. An emptied bucket stays until its tick has passed, so
// that scheduling and cancelling the same delay over and over costs a list operation and nothing else.

import { withoutContext } from './runtime/no-context.js';
import { clearTimeout, performanceNow, setImmediate, setTimeout } from './runtime/real-timers.js';

/** Time and the event loop, replaceable in specs and simulations. */
export interface Clock {
  /** Milliseconds since any fixed moment, monotonic, with fractions. */
  now(): number;
  setTimeout(fn: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
  setImmediate(fn: () => void): void;
}

/**
 * The real clock, even when tests have replaced the global timers. Its timeouts do not hold the process open, and run outside every
 * async context, as objects of many users share one.
 */
export const systemClock: Clock = {
  now: performanceNow,
  setTimeout: (fn, ms) => withoutContext(setTimeout, fn, ms).unref(),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
  setImmediate: (fn) => {
    withoutContext(setImmediate, fn);
  },
};

/** The slack of what a node does every few seconds, in ms. */
export const REST_SLACK_MS = 1_500;

/** Waits for a deadline. */
export interface Timed {
  /** Called when the deadline has passed. `now` is the time of the clock in ms, never before the deadline. `timer` is done. */
  onDeadline(now: number, timer: Timer): void;
}

interface Bucket {
  readonly tick: number;
  head: Timer | undefined;
  tail: Timer | undefined;
}

/** One scheduled deadline. Made by {@link Timers.schedule}. */
export class Timer {
  /** @internal */ bucket: Bucket | undefined;
  /** @internal */ previous: Timer | undefined;
  /** @internal */ next: Timer | undefined;

  /** @internal */
  constructor(
    readonly target: Timed,
    bucket: Bucket,
  ) {
    this.bucket = bucket;
    this.previous = undefined;
    this.next = undefined;
  }

  /** True until the deadline has passed or was cancelled. */
  get pending(): boolean {
    return this.bucket !== undefined;
  }
}

/** The longest delay that Node's setTimeout takes. */
export const MAX_TIMEOUT_MS = 0x7fff_ffff;

export class Timers {
  private readonly buckets = new Map<number, Bucket>();
  private readonly ticks = new MinHeap();
  private count = 0;
  /** Ticks up to this one have passed. Nothing is scheduled there again, or a target could keep one run going without end. */
  private pastTick = Number.NEGATIVE_INFINITY;
  private armedTick = Number.POSITIVE_INFINITY;
  private timeout: unknown;
  private running = false;
  private readonly onTimeout = (): void => this.run();

  constructor(
    readonly clock: Clock = systemClock,
    private readonly granularityMs = 10,
  ) {}

  /** How many deadlines are pending. */
  get size(): number {
    return this.count;
  }

  now(): number {
    return this.clock.now();
  }

  /**
   * Calls `target.onDeadline` once, `delayMs` from now and up to one granularity later. Negative and NaN count as 0. It may be up to
   * `slackMs` later if something else is due then: a process at rest spends more on waking up than on what it wakes up for.
   */
  schedule(delayMs: number, target: Timed, slackMs = 0): Timer {
    const due = this.clock.now() + Math.max(delayMs || 0, 0);
    const earliest = Math.max(Math.ceil(due / this.granularityMs), this.pastTick + 1);
    const tick = slackMs > 0 ? this.sharedTick(earliest, slackMs) : earliest;
    let bucket = this.buckets.get(tick);
    if (bucket === undefined) {
      bucket = { tick, head: undefined, tail: undefined };
      this.buckets.set(tick, bucket);
      this.ticks.push(tick);
    }
    const timer = new Timer(target, bucket);
    if (bucket.tail === undefined) bucket.head = timer;
    else {
      bucket.tail.next = timer;
      timer.previous = bucket.tail;
    }
    bucket.tail = timer;
    this.count++;
    if (tick < this.armedTick && !this.running) this.arm(tick);
    return timer;
  }

  /** The first tick within the slack at which something else is due. */
  private sharedTick(earliest: number, slackMs: number): number {
    const latest = earliest + Math.floor(slackMs / this.granularityMs);
    for (let tick = earliest; tick <= latest; tick++) if (this.buckets.get(tick)?.head !== undefined) return tick;
    return earliest;
  }

  /**
   * Calls `run` when input that has arrived meanwhile was read. A deadline calls it before it gives up: in a process that was busy, the
   * answer may be among that input.
   */
  afterInput(run: () => void): void {
    this.clock.setImmediate(run);
  }

  /** Does nothing when the deadline has passed or was cancelled. */
  cancel(timer: Timer): void {
    if (timer.bucket === undefined) return;
    this.unlink(timer.bucket, timer);
    if (this.count === 0 && !this.running) this.clear();
  }

  private run(): void {
    this.timeout = undefined;
    this.armedTick = Number.POSITIVE_INFINITY;
    this.running = true;
    const now = this.clock.now();
    const dueTick = Math.floor(now / this.granularityMs);
    this.pastTick = Math.max(this.pastTick, dueTick);
    while (this.ticks.size > 0 && this.ticks.peek() <= dueTick) {
      const tick = this.ticks.pop();
      const bucket = this.buckets.get(tick) as Bucket;
      this.buckets.delete(tick);
      // From the head each time: a target may cancel any other timer of this bucket.
      for (let timer = bucket.head; timer !== undefined; timer = bucket.head) {
        this.unlink(bucket, timer);
        this.fire(timer, now);
      }
    }
    this.running = false;
    if (this.count === 0) this.clear();
    else this.arm(this.earliestTick());
  }

  /** Returns the tick to wake for, and drops buckets before it whose timers are all cancelled. There must be a timer. */
  private earliestTick(): number {
    let tick = this.ticks.peek();
    while (this.buckets.get(tick)?.head === undefined) {
      this.buckets.delete(tick);
      this.ticks.pop();
      tick = this.ticks.peek();
    }
    return tick;
  }

  private fire(timer: Timer, now: number): void {
    try {
      timer.target.onDeadline(now, timer);
    } catch (error) {
      // An error of one target must not cost the others their deadline, and must not be hidden either.
      this.clock.setImmediate(() => {
        throw error;
      });
    }
  }

  private unlink(bucket: Bucket, timer: Timer): void {
    const { previous, next } = timer;
    if (previous === undefined) bucket.head = next;
    else previous.next = next;
    if (next === undefined) bucket.tail = previous;
    else next.previous = previous;
    timer.bucket = undefined;
    timer.previous = undefined;
    timer.next = undefined;
    this.count--;
  }

  private arm(tick: number): void {
    if (this.timeout !== undefined) this.clock.clearTimeout(this.timeout);
    this.armedTick = tick;
    // Node may fire up to a millisecond early by this clock; rounding up saves a second run in most cases. A wait that is too long for
    // Node is armed again when the longest delay has passed.
    const waitMs = Math.max(1, Math.ceil(tick * this.granularityMs - this.clock.now()));
    this.timeout = this.clock.setTimeout(this.onTimeout, Math.min(waitMs, MAX_TIMEOUT_MS));
  }

  private clear(): void {
    if (this.timeout !== undefined) this.clock.clearTimeout(this.timeout);
    this.timeout = undefined;
    this.armedTick = Number.POSITIVE_INFINITY;
    this.buckets.clear();
    this.ticks.clear();
  }
}

/** The smallest number first. */
class MinHeap {
  private readonly items: number[] = [];

  get size(): number {
    return this.items.length;
  }

  /** The heap must not be empty, as for {@link pop}. */
  peek(): number {
    return this.items[0];
  }

  push(item: number): void {
    const { items } = this;
    let index = items.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (items[parent] <= item) break;
      items[index] = items[parent];
      index = parent;
    }
    items[index] = item;
  }

  pop(): number {
    const { items } = this;
    const smallest = items[0];
    const item = items.pop() as number;
    const size = items.length;
    if (size === 0) return smallest;
    let index = 0;
    for (let child = 1; child < size; child = 2 * index + 1) {
      if (child + 1 < size && items[child + 1] < items[child]) child++;
      if (items[child] >= item) break;
      items[index] = items[child];
      index = child;
    }
    items[index] = item;
    return smallest;
  }

  clear(): void {
    this.items.length = 0;
  }
}

/** The deadlines of this process: dials, handshakes, keepalives, closing streams. */
export const sharedTimers = new Timers();
