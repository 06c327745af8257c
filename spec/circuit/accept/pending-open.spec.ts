// Opens that are not answered at once: the rate limit of a link, and the queue of those beyond it.

import { describe, expect, it } from '@jest/globals';
import { HeldOpens, IncomingCircuit, OpenRate } from '../../../lib/circuit/accept/pending-open.js';
import { kOnData, kOnEnd, kOnReset } from '../../../lib/mux/hidden.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import type { RemoteEndpoint } from '../../../lib/socket/endpoints.js';
import { Timers } from '../../../lib/util/timers.js';
import type { Open } from '../../../lib/wire/open.js';
import { FakeClock } from '../../support/fake-clock.js';

class Clock {
  time = 5_000;
  looks = 0;

  now(): number {
    this.looks++;
    return this.time;
  }
}

/** How many are taken of `wanted`. */
function taken(rate: OpenRate, clock: Clock, wanted: number): number {
  let count = 0;
  for (let asked = 0; asked < wanted; asked++) if (rate.take(clock)) count++;
  return count;
}

describe('the rate of opens', () => {
  it('limits opens per second, and at the same moment', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    expect(taken(rate, clock, 1000)).toBe(100);
    clock.time += 100;
    expect(taken(rate, clock, 1000)).toBe(10);
    clock.time += 5;
    expect(taken(rate, clock, 1000)).toBe(0);
    clock.time += 5;
    expect(taken(rate, clock, 1000)).toBe(1);
  });

  it('allows at most twice that at once, after any silence', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    clock.time += 3_600_000;
    expect(taken(rate, clock, 1000)).toBe(200);
    clock.time += 1_000;
    expect(taken(rate, clock, 1000)).toBe(100);
  });

  it('may be one per second', () => {
    const clock = new Clock();
    const rate = new OpenRate(1, clock.time);
    const counts: number[] = [];
    for (let second = 0; second < 3; second++) {
      counts.push(taken(rate, clock, 5));
      clock.time += 1_000;
    }
    expect(counts).toEqual([1, 1, 1]);
  });

  it('costs no look at the clock while there is some left', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    expect([taken(rate, clock, 100), clock.looks]).toEqual([100, 0]);
  });
});

const NOTHING = Buffer.alloc(0);

interface FakeStream {
  sink: StreamSink;
  accepted: boolean;
  accept(): void;
}

function fakeStream(): MuxStream {
  const stream: FakeStream = {
    sink: undefined as unknown as StreamSink,
    accepted: false,
    accept: () => {
      stream.accepted = true;
    },
  };
  return stream as unknown as MuxStream;
}

function setup(
  perSecond: number,
  answer: (circuit: IncomingCircuit) => void,
): { clock: FakeClock; held: HeldOpens; rate: OpenRate; timers: Timers } {
  const clock = new FakeClock();
  const timers = new Timers(clock);
  const rate = new OpenRate(perSecond, timers.now());
  while (rate.take(timers));
  return { clock, timers, rate, held: new HeldOpens(rate, timers, answer) };
}

function circuitOn(stream: MuxStream, open: Open, rest: Buffer = NOTHING): IncomingCircuit {
  return new IncomingCircuit(stream, open, {} as RemoteEndpoint, true, rest);
}

function openOf(id: number, bytes: Buffer = Buffer.alloc(16, id)): Open {
  return { circuitId: bytes, service: 'echo' } as unknown as Open;
}

describe('opens beyond the rate', () => {
  it('are acknowledged at once, and answered in order as the rate allows', () => {
    const answered: number[] = [];
    const { clock, held } = setup(100, ({ open }) => answered.push(open.circuitId[0]));
    const streams = Array.from({ length: 30 }, fakeStream);
    for (const [n, stream] of streams.entries()) held.hold(circuitOn(stream, openOf(n)));
    for (const stream of streams) expect((stream as unknown as FakeStream).accepted).toBe(true);
    expect(answered).toEqual([]);
    clock.advance(100);
    expect(answered.length).toBeGreaterThanOrEqual(9);
    expect(answered.length).toBeLessThanOrEqual(12);
    clock.advance(300);
    expect(answered).toEqual(Array.from({ length: 30 }, (_, n) => n));
    expect([held.size, clock.armed]).toEqual([0, 0]);
  });

  it('keep OPEN, what comes behind it and the end, unless they are reset', () => {
    const [kept, gone] = [fakeStream(), fakeStream()];
    const circuitId = Buffer.alloc(16, 7);
    const rest = Buffer.from('he');
    const got: unknown[] = [];
    const { clock, held } = setup(100, ({ open, received, isEnded }) => {
      got.push(open.circuitId[0], received.toString(), isEnded);
    });
    held.hold(circuitOn(gone, openOf(1)));
    held.hold(circuitOn(kept, openOf(2, circuitId), rest));
    // The memory of an OPEN, and of what comes behind it, is used again.
    circuitId.fill(0);
    rest.fill(0);
    kept.sink[kOnData](kept, Buffer.from('llo'));
    kept.sink[kOnEnd](kept);
    gone.sink[kOnReset](gone, new Error('reset'), 0);
    expect(held.size).toBe(1);
    clock.advance(100);
    expect(got).toEqual([7, 'hello', true]);
  });

  it('fill a queue of two seconds, which is dropped with the link', () => {
    const answered: number[] = [];
    const { clock, held } = setup(2, ({ open }) => answered.push(open.circuitId[0]));
    for (let n = 0; n < 4; n++) {
      expect(held.isFull).toBe(false);
      held.hold(circuitOn(fakeStream(), openOf(n)));
    }
    expect(held.isFull).toBe(true);
    clock.advance(600);
    expect([answered, held.isFull]).toEqual([[0], false]);
    held.dispose();
    clock.advance(60_000);
    expect([answered, clock.armed]).toEqual([[0], 0]);
  });
});
