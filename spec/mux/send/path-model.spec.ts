import { describe, expect, it } from '@jest/globals';
import { PathModel } from '../../../lib/mux/send/path-model.js';
import { type PathConditions, SimulatedPath } from '../../support/simulated-path.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Long enough to have found the path. */
function settled(conditions: PathConditions, seed = 1): SimulatedPath {
  const path = new SimulatedPath(conditions, seed);
  path.run(Math.max(1_000, 40 * conditions.rttMs));
  return path;
}

/** The share of the path that is used over this many round trips, and the median of the queue, in round trips. */
function measure(path: SimulatedPath, roundTrips = 100): { share: number; queue: number } {
  const { rttMs, mibPerS } = path.conditions;
  const forMs = Math.max(500, roundTrips * rttMs);
  const queues: number[] = [];
  for (let part = 0; part < 100; part++) {
    path.run(forMs / 100);
    queues.push(path.queueMs / rttMs);
  }
  queues.sort((one, other) => one - other);
  return { share: path.mibPerS(forMs) / mibPerS, queue: queues[50] };
}

const PATHS: Array<[name: string, conditions: PathConditions]> = [
  ['a local network', { mibPerS: 110, rttMs: 0.5 }],
  ['10 ms at 1 Gbit/s', { mibPerS: 119, rttMs: 10 }],
  ['40 ms at 200 Mbit/s', { mibPerS: 23.8, rttMs: 40 }],
  ['40 ms at 20 Mbit/s', { mibPerS: 2.38, rttMs: 40 }],
  ['200 ms at 20 Mbit/s', { mibPerS: 2.38, rttMs: 200 }],
  ['a satellite', { mibPerS: 1, rttMs: 600 }],
];

describe('PathModel', () => {
  it('does not slow a local link at the start', () => {
    const model = new PathModel();
    expect(model.room(0)).toBeGreaterThanOrEqual(256 * KIB);
    expect(model.isWaiting).toBe(false);
  });

  it('subtracts bytes on their way, and adds bytes that a probe has seen arrive', () => {
    const model = new PathModel();
    const room = model.room(0);
    expect(model.room(100 * KIB)).toBe(room - 100 * KIB);
    const first = model.probe(10 * KIB, 0);
    model.onAnswer(first, 10 * KIB, 1);
    const limit = model.limitBytes;
    expect(model.room(100 * KIB)).toBe(limit - 90 * KIB);
  });

  it('has probes due often enough to keep data moving', () => {
    const model = new PathModel();
    const room = model.room(0);
    expect(model.isProbeDue(0)).toBe(false);
    expect(model.isProbeDue(room / 8)).toBe(true);
    model.probe(room / 8, 0);
    expect(model.isProbeDue(room / 8)).toBe(false);
    expect(model.isProbeDue(room / 4)).toBe(true);
  });

  it('marks its pings, and recognises no others', () => {
    const model = new PathModel();
    const opaque = model.probe(1, 0);
    expect(opaque).toBeGreaterThanOrEqual(2 ** 31);
    expect(model.onAnswer(opaque + 1, 1, 1)).toBe(-1);
    expect(model.onAnswer(5, 1, 1)).toBe(-1);
    expect(model.onAnswer(opaque, 1, 3)).toBe(3);
    expect(model.onAnswer(opaque, 1, 4)).toBe(-1);
  });

  it('takes an answer as an answer to all earlier probes', () => {
    const model = new PathModel();
    model.probe(10_000, 0);
    const second = model.probe(20_000, 0);
    model.onAnswer(second, 20_000, 1);
    expect(model.isWaiting).toBe(false);
    expect(model.room(20_000)).toBe(model.limitBytes);
  });

  it('lets small messages exceed the limit a little', () => {
    const model = new PathModel();
    const room = model.room(0);
    expect(model.room(room)).toBe(0);
    expect(model.smallRoom(room)).toBeGreaterThan(16 * KIB);
    expect(model.smallRoom(2 * room)).toBeLessThanOrEqual(0);
  });

  it('gives bulk a turn in each round trip, whatever the room', () => {
    const model = new PathModel();
    expect(model.takeTurn()).toBe(true);
    expect(model.takeTurn()).toBe(false);
    const [first, second] = [model.probe(1, 0), model.probe(2, 0)];
    model.onAnswer(first, 2, 1);
    expect(model.takeTurn()).toBe(true);
    model.onAnswer(second, 2, 1);
    expect(model.takeTurn()).toBe(false);
  });

  it('gives bulk a turn at each answer while small messages take the room', () => {
    const model = new PathModel();
    const probes = [1, 2, 3].map((mark) => model.probe(mark, 0));
    for (const probe of probes) {
      model.takeTurn();
      model.sentSmall();
      model.onAnswer(probe, 3, 1);
      expect(model.takeTurn()).toBe(true);
    }
  });

  it('raises the limit by no more than what has arrived', () => {
    const model = new PathModel();
    model.onIdleAnswer(50, 0);
    const [first, , , last] = [64, 128, 192, 256].map((mark) => model.probe(mark * KIB, 0));
    model.onAnswer(first, 256 * KIB, 50);
    const before = model.limitBytes;
    model.onAnswer(last, 256 * KIB, 50.1);
    expect(model.limitBytes).toBeGreaterThan(before);
    expect(model.limitBytes).toBeLessThanOrEqual(before + 192 * KIB);
  });

  for (const [name, conditions] of PATHS) {
    it(`starts on ${name} without a queue longer than the path, and keeps the rate that it has found`, () => {
      const path = new SimulatedPath(conditions);
      const { rttMs, mibPerS } = conditions;
      let mostQueuedMs = 0;
      for (let passedMs = 0; passedMs < Math.max(20 * rttMs, 500); passedMs += rttMs) {
        path.run(rttMs);
        mostQueuedMs = Math.max(mostQueuedMs, path.queueMs);
      }
      // The first flight is what a local link needs.
      const firstMs = 300 / 1024 / (mibPerS / 1000);
      expect(mostQueuedMs).toBeLessThan(0.9 * Math.max(rttMs, 10) + firstMs);
      const { share } = measure(path, 14);
      expect(share).toBeGreaterThan(0.93);
    });
  }

  describe('while the peer sends bulk as well', () => {
    it('lets clumps of answers add half a round trip of data at most', () => {
      const conditions = { mibPerS: 2.38, rttMs: 40, stallMs: 20, stallEveryMs: 100 };
      const held = conditions.mibPerS * MIB * (conditions.rttMs / 1000);
      const alone = settled(conditions);
      const twoWay = settled({ ...conditions, isTwoWay: true });
      expect(alone.model.limitBytes).toBeGreaterThan(1.8 * held);
      expect(twoWay.model.limitBytes).toBeLessThan(1.75 * held);
      expect(measure(twoWay).share).toBeGreaterThan(0.9);
    });

    it('accepts a longer path by a quarter at a time, since it may be the queue of the peer', () => {
      const conditions = { mibPerS: 23.8, rttMs: 40, isTwoWay: true };
      const path = settled(conditions);
      const before = path.model.limitBytes;
      path.conditions.rttMs *= 3;
      path.run(4_000);
      expect(path.model.limitBytes).toBeLessThan(1.6 * before);
      path.conditions.isTwoWay = false;
      path.run(12_000);
      expect(measure(path).share).toBeGreaterThan(0.95);
    });
  });

  for (const [mibPerS, rttMs] of [
    [0.25, 20],
    [1, 20],
    [2.38, 40],
    [23.8, 40],
  ]) {
    it(`finds a round trip five times as long at ${mibPerS} MiB/s and ${rttMs} ms`, () => {
      const path = settled({ mibPerS, rttMs });
      path.run(5_000);
      path.conditions.rttMs *= 5;
      path.run(5_000);
      expect(measure(path, 20).share).toBeGreaterThan(0.93);
    });
  }

  it('finds a round trip that has become longer within a local network', () => {
    const path = settled({ mibPerS: 110, rttMs: 0.1 });
    path.conditions.rttMs = 1.1;
    path.run(5_000);
    expect(measure(path, 1_000).share).toBeGreaterThan(0.75);
  });

  it('survives a clock that goes backwards', () => {
    const model = new PathModel();
    model.onAnswer(model.probe(100 * KIB, 100), 100 * KIB, 110);
    model.onAnswer(model.probe(200 * KIB, 100), 200 * KIB, 100);
    expect(model.limitBytes).toBeGreaterThan(0);
    expect(model.frameBytes).toBeGreaterThan(0);
  });

  it('keeps a bounded number of probes for a peer that answers none', () => {
    const model = new PathModel();
    let sent = 0;
    for (let count = 0; count < 20_000; count++) {
      sent += MIB;
      if (model.isProbeDue(sent)) model.probe(sent, count);
    }
    expect((Reflect.get(model, 'probes') as unknown[]).length).toBeLessThan(2_000);
  });

  for (const [name, conditions] of PATHS) {
    it(`fills ${name}, with a queue of about half a round trip`, () => {
      const { share, queue } = measure(settled(conditions));
      expect(share).toBeGreaterThan(0.93);
      // The turns of event loops take a part of a millisecond on any path.
      expect(queue).toBeLessThan(0.6 + 0.7 / conditions.rttMs);
    });
  }

  it('keeps a link busy within one machine, with a queue of less than a millisecond', () => {
    const path = settled({ mibPerS: 2_500, rttMs: 0.05, stallMs: 0.3, stallEveryMs: 1 });
    const { share } = measure(path, 10_000);
    expect(share).toBeGreaterThan(0.8);
    expect(path.queueMs).toBeLessThan(1);
  });

  // What the kernel of the peer holds back behind a lost packet counts as on its way.
  for (const loss of [0.001, 0.01]) {
    it(`fills a path that loses ${loss * 100} % of all packets`, () => {
      const shares = [1, 2, 3, 4, 5].map((seed) => measure(settled({ mibPerS: 23.8, rttMs: 40, loss }, seed)).share);
      shares.sort((one, other) => one - other);
      expect(shares[2]).toBeGreaterThan(0.85);
    });
  }

  it('keeps its rate when a process at the end of the path is late now and then', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40, stallMs: 10, stallEveryMs: 150 });
    const { share, queue } = measure(path);
    expect(share).toBeGreaterThan(0.93);
    expect(queue).toBeLessThan(1);
  });

  it('has emptied the queue within three seconds of the rate falling to a tenth', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40 });
    path.conditions.mibPerS /= 10;
    path.run(3_000);
    const { share, queue } = measure(path, 50);
    expect(share).toBeGreaterThan(0.95);
    expect(queue).toBeLessThan(1);
  });

  it('fills a path whose rate has risen tenfold within a second', () => {
    const path = settled({ mibPerS: 2.38, rttMs: 40 });
    path.conditions.mibPerS *= 10;
    path.run(1_000);
    expect(measure(path, 25).share).toBeGreaterThan(0.95);
  });

  it('fills a path whose round trip has tripled within a second', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40 });
    path.conditions.rttMs *= 3;
    path.run(1_500);
    const { share, queue } = measure(path, 20);
    expect(share).toBeGreaterThan(0.95);
    expect(queue).toBeLessThan(0.6);
  });

  it('keeps the queue below the former round trip when the round trip falls to a third', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 120 });
    path.conditions.rttMs /= 3;
    path.run(3_000);
    const { share, queue } = measure(path, 20);
    expect(share).toBeGreaterThan(0.95);
    expect(queue).toBeLessThan(2);
  });

  it('resumes within a second after a path was down', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40 });
    path.darken(3_000);
    path.run(4_000);
    const { share, queue } = measure(path, 20);
    expect(share).toBeGreaterThan(0.9);
    expect(queue).toBeLessThan(1);
  });

  it('sends nothing beyond the limit into a path that is down', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40 });
    path.darken(3_000);
    const before = path.sent;
    path.run(2_900);
    expect(path.sent - before).toBeLessThan(4 * MIB);
  });

  it('keeps its first limit while nothing is sent', () => {
    const model = new PathModel();
    for (let now = 0; now < 120_000; now += 5_000) {
      model.onIdleAnswer(100 + (now % 3) / 10, now);
      expect(model.limitBytes).toBeGreaterThanOrEqual(256 * KIB);
    }
  });

  it('keeps its first limit while there is little to send', () => {
    const model = new PathModel();
    const answers: Array<{ opaque: number; at: number }> = [];
    let sent = 0;
    for (let now = 0; now < 60_000; now += 50) {
      while (answers.length > 0 && answers[0].at <= now)
        model.onAnswer((answers.shift() as { opaque: number }).opaque, sent, now);
      sent += KIB;
      if (model.isProbeDue(sent)) answers.push({ opaque: model.probe(sent, now), at: now + 100 });
      model.ranDry();
      expect(model.limitBytes).toBeGreaterThanOrEqual(256 * KIB);
    }
    expect(model.isWaiting || sent > MIB).toBe(true);
  });

  it('follows the round trip of an idle path', () => {
    const path = settled({ mibPerS: 23.8, rttMs: 40 });
    for (let second = 1; second < 60; second += 5) path.model.onIdleAnswer(120, path.now + second * 1_000);
    path.now += 60_000;
    path.conditions.rttMs = 120;
    path.run(1_000);
    expect(measure(path, 10).share).toBeGreaterThan(0.95);
  });

  it('sizes frames by the limit, so that a small message never waits behind a large part of it', () => {
    const slow = settled({ mibPerS: 0.25, rttMs: 20 });
    // The bytes that were sent before anything was known take a second of it.
    slow.run(5_000);
    expect(slow.model.frameBytes).toBeLessThan(4 * KIB);
    expect(settled({ mibPerS: 119, rttMs: 40 }).model.frameBytes).toBe(64 * KIB);
  });
});
