import { describe, expect, it } from '@jest/globals';
import { Drain } from '../../lib/circuit/drain.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';

/** A link with circuits, or a relay with circuits. */
class Busy {
  private resolve: (() => void) | undefined;

  constructor(public incoming: number) {}

  end(count = 1): void {
    this.incoming -= count;
    if (this.incoming === 0) this.resolve?.();
  }

  incomingEnded(): Promise<void> {
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

class Scene {
  readonly clock = new FakeClock();
  readonly links: Busy[];
  readonly relayed: Busy;
  readonly drain: Drain;
  drained = 0;

  constructor(links: number[], relayed = 0) {
    this.links = links.map((count) => new Busy(count));
    this.relayed = new Busy(relayed);
    const pool = Object.defineProperty({}, 'size', { get: () => this.relayed.incoming });
    const relay = { pool, drain: () => this.drained++, idle: () => this.relayed.incomingEnded() };
    this.drain = new Drain('AAECAwQFBgc', relay as never, () => this.links, new Timers(this.clock));
  }
}

/** Whether the promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await turn();
  return settled;
}

describe('draining', () => {
  it('stops the relay, and ends at once where there is nothing', async () => {
    const { drain, ...scene } = new Scene([]);
    expect(drain.hasBegun).toBe(false);
    drain.begin();
    expect([drain.hasBegun, scene.drained]).toEqual([true, 0]);
    await drain.ended();
  });

  it('waits for the circuits of all links, in whichever order they end, and for those that pass through', async () => {
    const { drain, links, relayed } = new Scene([2, 0, 1], 1);
    const ended = drain.ended();
    expect(drain.circuits).toBe(3);
    links[2].end();
    links[0].end(2);
    // The near end of the relayed circuit has ended, the far end has not.
    expect([await isSettled(ended), drain.circuits]).toEqual([false, 1]);
    relayed.end();
    expect([await isSettled(ended), drain.circuits]).toEqual([true, 0]);
    expect(drain.ended()).toBe(ended);
  });

  it('waits for a link that has come meanwhile', async () => {
    const { drain, links } = new Scene([1]);
    const ended = drain.ended();
    links.push(new Busy(1));
    links[0].end();
    expect(await isSettled(ended)).toBe(false);
    links[1].end();
    expect(await isSettled(ended)).toBe(true);
  });

  it('ends a wait after its time, says how much is open, and goes on', async () => {
    const { drain, links, clock } = new Scene([2, 1]);
    const late = drain.endedWithin({ timeoutMs: 1_000 });
    clock.advance(999);
    expect(await isSettled(late)).toBe(false);
    clock.advance(1);
    await expect(late).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'drain',
      cause: { code: 'ERR_STARLANE_CLOSE_TIMEOUT', message: expect.stringMatching(/open circuits of other nodes: 3$/) },
    });
    const next = drain.endedWithin({ timeoutMs: 1_000 });
    links[0].end(2);
    links[1].end();
    await next;
    clock.advance(2_000);
    expect(clock.armed).toBe(0);
  });

  it('ends a wait by its signal, with the reason, and leaves no listener', async () => {
    const { drain, links, clock } = new Scene([1]);
    const [one, other] = [new AbortController(), new AbortController()];
    const aborted = drain.endedWithin({ signal: one.signal, timeoutMs: 1_000 });
    const kept = drain.endedWithin({ signal: other.signal });
    one.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    expect(clock.armed).toBe(0);
    links[0].end();
    await kept;
    other.abort();
  });
});
