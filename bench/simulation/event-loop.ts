// Virtual time: one heap of events for all nodes. Between two events all promise callbacks run, as between two
// callbacks of Node, so that no code of a node sees time pass while it runs.
//
//   heap (4-ary)   times[i], order[i], slots[i]      by time, then in the order in which they were scheduled
//   slots          actors[s], kinds[s], payloads[s]  reused; no closure an event

/** What happens to a part of the simulation. What `kind` and `payload` mean is its own affair. */
export interface Actor {
  onEvent(kind: number, payload: unknown): void;
}

/** How often the real event loop gets its turn, in events: signals, output, and the timeouts of a test runner. */
const BREATHER_EVENTS = 50_000;

export class EventLoop {
  /** Virtual time in ms. */
  now = 0;
  /** Events that have happened. */
  count = 0;
  private readonly heap = new EventHeap();
  private endMs = 0;
  private isClosed = false;
  private failure: { readonly error: unknown } | undefined;
  private onDone: (() => void) | undefined;
  private untilBreather = BREATHER_EVENTS;
  private readonly step = (): void => this.turn();
  // Promise callbacks run between this and the next tick: Node empties the queue of microtasks before it takes another tick.
  private readonly afterPromises = (): void => process.nextTick(this.step);

  /** How many events are to come. */
  get pending(): number {
    return this.heap.size;
  }

  /** An event at `time`, or now if that is past. Events of the same time happen in the order of these calls. */
  at(time: number, actor: Actor, kind: number, payload?: unknown): void {
    this.heap.push(Math.max(time, this.now), actor, kind, payload);
  }

  after(delayMs: number, actor: Actor, kind: number, payload?: unknown): void {
    this.heap.push(this.now + delayMs, actor, kind, payload);
  }

  /** Calls back once, for scripts; events by the million have an actor. */
  call(delayMs: number, callback: () => void): void {
    this.after(Math.max(0, delayMs), CALLER, 0, callback);
  }

  /** Lets `ms` of virtual time pass. Rejects with what an event throws. */
  run(ms: number): Promise<void> {
    return this.runUntil(this.now + ms);
  }

  async runUntil(time: number): Promise<void> {
    if (this.onDone !== undefined) throw new Error('the event loop runs already');
    this.endMs = time;
    this.isClosed = false;
    await new Promise<void>((resolve) => {
      this.onDone = resolve;
      process.nextTick(this.step);
    });
    this.onDone = undefined;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure.error;
  }

  /** Lets time pass until `isDone`, which is called every `stepMs`; false when it did not return true within `limitMs`. */
  async waitFor(limitMs: number, stepMs: number, isDone: () => boolean): Promise<boolean> {
    const end = this.now + limitMs;
    while (!isDone()) {
      if (this.now >= end) return false;
      await this.runUntil(Math.min(end, this.now + stepMs));
    }
    return true;
  }

  /** Something has gone wrong outside of an event, in a promise for one: ends the run with it. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.isClosed = true;
  }

  private turn(): void {
    const { heap } = this;
    if (this.isClosed || heap.size === 0 || heap.earliest > this.endMs) {
      if (!this.isClosed) this.now = Math.max(this.now, this.endMs);
      this.onDone?.();
      return;
    }
    this.now = heap.earliest;
    heap.pop();
    this.count++;
    try {
      heap.actor.onEvent(heap.kind, heap.payload);
    } catch (error) {
      this.fail(error);
    }
    if (--this.untilBreather > 0) queueMicrotask(this.afterPromises);
    else {
      this.untilBreather = BREATHER_EVENTS;
      setImmediate(this.step);
    }
  }
}

const CALLER: Actor = {
  onEvent(_kind, payload) {
    (payload as () => void)();
  },
};

class EventHeap {
  size = 0;
  /** The event that was taken last. */
  actor: Actor = CALLER;
  kind = 0;
  payload: unknown;
  private capacity = 1024;
  private times = new Float64Array(1024);
  private order = new Float64Array(1024);
  private slots = new Int32Array(1024);
  private readonly actors: Array<Actor | undefined> = [];
  private readonly kinds: number[] = [];
  private readonly payloads: unknown[] = [];
  private readonly free: number[] = [];
  private pushed = 0;

  /** Must not be called when empty, like {@link pop}. */
  get earliest(): number {
    return this.times[0];
  }

  push(time: number, actor: Actor, kind: number, payload: unknown): void {
    if (this.size === this.capacity) this.grow();
    const slot = this.free.pop() ?? this.actors.length;
    this.actors[slot] = actor;
    this.kinds[slot] = kind;
    this.payloads[slot] = payload;
    const { times, order, slots } = this;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      // The new one is the last of its time.
      if (times[parent] <= time) break;
      times[at] = times[parent];
      order[at] = order[parent];
      slots[at] = slots[parent];
      at = parent;
    }
    times[at] = time;
    order[at] = this.pushed++;
    slots[at] = slot;
  }

  pop(): void {
    const { times, order, slots } = this;
    const slot = slots[0];
    this.actor = this.actors[slot] as Actor;
    this.kind = this.kinds[slot];
    this.payload = this.payloads[slot];
    this.actors[slot] = undefined;
    this.payloads[slot] = undefined;
    this.free.push(slot);

    const size = --this.size;
    const [time, turn, last] = [times[size], order[size], slots[size]];
    let at = 0;
    for (let child = 1; child < size; child = 4 * at + 1) {
      let least = child;
      const end = Math.min(child + 4, size);
      for (let other = child + 1; other < end; other++) {
        if (times[other] < times[least] || (times[other] === times[least] && order[other] < order[least]))
          least = other;
      }
      if (times[least] > time || (times[least] === time && order[least] > turn)) break;
      times[at] = times[least];
      order[at] = order[least];
      slots[at] = slots[least];
      at = least;
    }
    times[at] = time;
    order[at] = turn;
    slots[at] = last;
  }

  private grow(): void {
    this.capacity *= 2;
    this.times = enlarged(this.times, new Float64Array(this.capacity));
    this.order = enlarged(this.order, new Float64Array(this.capacity));
    this.slots = enlarged(this.slots, new Int32Array(this.capacity));
  }
}

function enlarged<T extends Float64Array | Int32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
