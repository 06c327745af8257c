import { describe, expect, it } from '@jest/globals';
import { ANSWER_TIMEOUT_MS, Pacer } from '../../../lib/mux/send/pacer.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

const MIB = 1024 * 1024;

/** A pacer of a session with a foreign peer, unless `answers`. */
function pacerOf(answers = false) {
  const clock = new FakeClock();
  const timers = new Timers(clock);
  const seen = { rooms: 0, lastReceivedMs: 0 };
  const onRoom = () => {
    seen.rooms++;
  };
  return { clock, timers, seen, pacer: new Pacer(timers, onRoom, answers, () => seen.lastReceivedMs) };
}

describe('Pacer', () => {
  it('has a timer only while it waits for an answer', () => {
    const { pacer, timers } = pacerOf();
    expect(timers.size).toBe(0);
    pacer.probe(1_000);
    pacer.probe(2_000);
    expect(timers.size).toBe(1);
    pacer.dispose();
    expect(timers.size).toBe(0);
  });

  it('has none with a Starlane peer, which answers', () => {
    const { pacer, timers } = pacerOf(true);
    pacer.probe(1_000);
    expect(timers.size).toBe(0);
  });

  it('ends its timer once everything is answered', () => {
    const { pacer, timers, clock } = pacerOf();
    pacer.onPong(pacer.probe(1_000), 1_000);
    clock.advance(ANSWER_TIMEOUT_MS + 20);
    expect(timers.size).toBe(0);
  });

  it('reports room at an answer', () => {
    const { pacer, clock, seen } = pacerOf();
    const opaque = pacer.probe(1_000);
    clock.advance(3);
    expect(pacer.onPong(opaque, 1_000)).toBe(3);
    expect(seen.rooms).toBe(1);
    expect(pacer.onPong(opaque, 1_000)).toBe(-1);
    expect(seen.rooms).toBe(1);
  });

  it('does not limit a peer that sends data but answers no ping, until it does', () => {
    const { pacer, clock, seen } = pacerOf();
    const opaque = pacer.probe(1_000);
    clock.advance(ANSWER_TIMEOUT_MS - 100);
    expect(pacer.room(1_000 * MIB)).toBeLessThan(0);
    seen.lastReceivedMs = clock.now();
    clock.advance(200);
    expect(seen.rooms).toBe(1);
    expect(pacer.room(1_000 * MIB)).toBeGreaterThan(MIB);
    expect(pacer.smallRoom(1_000 * MIB)).toBeGreaterThan(MIB);
    pacer.onPong(opaque, 1_000 * MIB);
    expect(pacer.room(1_000 * MIB)).toBeLessThanOrEqual(0);
  });

  it('sends no more to a peer that is silent altogether', () => {
    const { pacer, clock, seen } = pacerOf();
    pacer.probe(1_000);
    clock.advance(5 * ANSWER_TIMEOUT_MS);
    expect(seen.rooms).toBe(0);
    expect(pacer.room(1_000 * MIB)).toBeLessThan(0);
    pacer.dispose();
  });
});
