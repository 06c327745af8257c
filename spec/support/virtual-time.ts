// Whole nodes of this process in virtual time: months pass in seconds. Give {@link VirtualTime.timers} to jest.unstable_mockModule in
// place of lib/util/runtime/real-timers before the library is loaded, and link the nodes by Duplexes of this process: then everything
// that happens between two timeouts happens in this process, and time moves on when nothing is left to do.

import { setImmediate as realImmediate } from 'node:timers';
import { FakeClock } from './fake-clock.js';

/** Turns of the event loop in which nothing may happen before time moves on: promises and streams take a few for one step. */
const QUIET_TURNS = 4;

type Callback = (...args: unknown[]) => void;

export class VirtualTime {
  readonly clock = new FakeClock(1_000_000);
  /** What lib/util/runtime/real-timers exports. */
  readonly timers: Record<string, unknown>;
  private pending = 0;
  private activity = 0;

  /** @param startMs wall-clock time at the start */
  constructor(readonly startMs: number) {
    const { clock } = this;
    const setTimeout = (fn: Callback, ms = 1, ...args: unknown[]): VirtualTimeout =>
      new VirtualTimeout(clock, fn, ms, args);
    const setInterval = (fn: Callback, ms = 1, ...args: unknown[]): VirtualTimeout => {
      const interval = new VirtualTimeout(
        clock,
        (...given) => {
          interval.refresh();
          fn(...given);
        },
        ms,
        args,
      );
      return interval;
    };
    const clear = (timeout: VirtualTimeout | undefined): void => timeout?.clear();
    this.timers = {
      setTimeout,
      clearTimeout: clear,
      setInterval,
      clearInterval: clear,
      setImmediate: (fn: Callback, ...args: unknown[]) => {
        this.pending++;
        return realImmediate(() => {
          this.pending--;
          this.activity++;
          fn(...args);
        });
      },
      queueMicrotask,
      nextTick: (fn: Callback, ...args: unknown[]) => {
        this.activity++;
        process.nextTick(fn, ...args);
      },
      dateNow: () => this.nowMs,
      performanceNow: () => clock.now(),
    };
  }

  /** Wall-clock time in ms. */
  get nowMs(): number {
    return Math.floor(this.startMs + this.clock.now());
  }

  /** Resolves when nothing happens any more before the next timeout. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      const before = this.activity;
      await new Promise<void>((resolve) => realImmediate(resolve));
      quiet = this.pending === 0 && this.activity === before ? quiet + 1 : 0;
    }
  }

  /** Lets time pass, from one timeout to the next. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    await this.settle();
    while (this.clock.dueMs <= end) {
      this.clock.advance(this.clock.dueMs - this.clock.now());
      await this.settle();
    }
    this.clock.advance(end - this.clock.now());
    await this.settle();
  }

  /** Lets time pass until the promise is settled, and returns its value. @throws when `limitMs` are not enough, or as the promise */
  async until<Value>(promise: Promise<Value>, limitMs: number): Promise<Value> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    const end = this.clock.now() + limitMs;
    await this.settle();
    while (!isSettled) {
      if (this.clock.dueMs > end) throw new Error(`not settled within ${limitMs} ms of virtual time`);
      this.clock.advance(this.clock.dueMs - this.clock.now());
      await this.settle();
    }
    return promise;
  }
}

/** A Timeout of Node, on the virtual clock. */
class VirtualTimeout {
  private handle: unknown;

  constructor(
    private readonly clock: FakeClock,
    private readonly fn: Callback,
    private readonly ms: number,
    private readonly args: readonly unknown[],
  ) {
    this.refresh();
  }

  refresh(): this {
    this.clear();
    this.handle = this.clock.setTimeout(() => this.fn(...this.args), this.ms);
    return this;
  }

  clear(): void {
    this.clock.clearTimeout(this.handle);
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return false;
  }
}
