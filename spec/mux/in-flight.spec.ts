import { describe, expect, it } from '@jest/globals';
import { ANSWER_TIMEOUT_MS, InFlight } from '../../lib/mux/in-flight.js';
import { Pacer } from '../../lib/mux/pacer.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * A sender that always has more to send, over a link that carries `bytesPerMs` and answers a ping `rttMs` after it has
 * carried what was sent before it.
 */
class Link {
  readonly inFlight = new InFlight();
  now = 0;
  sent = 0;
  /** When the link will have carried all that was sent. */
  private idleAt = 0;
  private readonly answers: Array<{ opaque: number; at: number }> = [];
  /** What each answer took, in ms. */
  readonly took: number[] = [];

  constructor(
    private readonly bytesPerMs: number,
    private readonly rttMs: number,
  ) {}

  /** Sends what may be sent until `bytes` more have gone. False when it stands still for ever. */
  run(bytes: number): boolean {
    const end = this.sent + bytes;
    while (this.sent < end) {
      const room = this.inFlight.room(this.sent);
      if (room > 0 || (this.answers.length === 0 && this.inFlight.takeTurn()))
        this.send(Math.min(32 * KIB, Math.max(room, 1)));
      if (this.inFlight.isProbeDue(this.sent)) this.probe();
      if (this.inFlight.room(this.sent) <= 0 && !this.answer()) return false;
      while (this.answers.length > 0 && this.answers[0].at <= this.now) this.answer();
    }
    return true;
  }

  private send(bytes: number): void {
    this.sent += bytes;
    this.idleAt = Math.max(this.idleAt, this.now) + bytes / this.bytesPerMs;
    // Writing takes time too, and goes no faster than 4 GiB/s.
    this.now += bytes / (4 * MIB);
  }

  private probe(): void {
    this.answers.push({
      opaque: this.inFlight.probe(this.sent, this.now),
      at: Math.max(this.idleAt, this.now) + this.rttMs,
    });
  }

  /** Waits for the next answer. False when none is under way. */
  private answer(): boolean {
    const next = this.answers.shift();
    if (next === undefined) return false;
    this.now = Math.max(this.now, next.at);
    this.took.push(this.inFlight.onAnswer(next.opaque, this.now, this.rttMs));
    return true;
  }
}

describe('InFlight', () => {
  it('lets a local link work from the start', () => {
    const inFlight = new InFlight();
    expect(inFlight.room(0)).toBeGreaterThanOrEqual(256 * KIB);
    expect(inFlight.isWaiting).toBe(false);
  });

  it('counts what is under way down, and what a probe has seen arrive up again', () => {
    const inFlight = new InFlight();
    const room = inFlight.room(0);
    expect(inFlight.room(100 * KIB)).toBe(room - 100 * KIB);
    const opaque = inFlight.probe(100 * KIB, 0);
    expect(inFlight.room(150 * KIB)).toBe(room - 150 * KIB);
    inFlight.onAnswer(opaque, 1, 1);
    expect(inFlight.room(150 * KIB)).toBe(room - 50 * KIB);
  });

  it('has probes due often enough for answers to keep data moving', () => {
    const inFlight = new InFlight();
    const room = inFlight.room(0);
    expect(inFlight.isProbeDue(0)).toBe(false);
    expect(inFlight.isProbeDue(room / 2)).toBe(true);
    inFlight.probe(room / 2, 0);
    expect(inFlight.isProbeDue(room / 2)).toBe(false);
    expect(inFlight.isProbeDue(room)).toBe(true);
  });

  it('marks its pings, and knows no others', () => {
    const inFlight = new InFlight();
    const opaque = inFlight.probe(1, 0);
    expect(opaque).toBeGreaterThanOrEqual(2 ** 31);
    expect(inFlight.onAnswer(opaque + 1, 1, 1)).toBe(-1);
    expect(inFlight.onAnswer(5, 1, 1)).toBe(-1);
    expect(inFlight.onAnswer(opaque, 3, 1)).toBe(3);
    expect(inFlight.onAnswer(opaque, 4, 1)).toBe(-1);
  });

  it('takes an answer as one to all probes before it', () => {
    const inFlight = new InFlight();
    const room = inFlight.room(0);
    inFlight.probe(10_000, 0);
    const second = inFlight.probe(20_000, 0);
    inFlight.onAnswer(second, 1, 1);
    expect(inFlight.isWaiting).toBe(false);
    expect(inFlight.room(20_000)).toBe(room);
  });

  it('lets small messages go a little beyond the limit', () => {
    const inFlight = new InFlight();
    const room = inFlight.room(0);
    expect(inFlight.room(room)).toBe(0);
    expect(inFlight.smallRoom(room)).toBeGreaterThan(16 * KIB);
    expect(inFlight.smallRoom(2 * room)).toBeLessThanOrEqual(0);
  });

  it('lets bulk have a turn now and then whatever the room', () => {
    const inFlight = new InFlight();
    expect(inFlight.takeTurn()).toBe(true);
    expect(inFlight.takeTurn()).toBe(false);
    inFlight.onAnswer(inFlight.probe(1, 0), 1, 1);
    expect(inFlight.takeTurn()).toBe(true);
  });

  it('does not hold a peer to the limit that answers nothing, until it does', () => {
    const inFlight = new InFlight();
    const opaque = inFlight.probe(1_000, 0);
    expect(inFlight.checkAnswers(ANSWER_TIMEOUT_MS - 1)).toBe(false);
    expect(inFlight.checkAnswers(ANSWER_TIMEOUT_MS)).toBe(true);
    expect(inFlight.room(1_000 * MIB)).toBeGreaterThan(MIB);
    expect(inFlight.smallRoom(1_000 * MIB)).toBeGreaterThan(MIB);
    inFlight.onAnswer(opaque, ANSWER_TIMEOUT_MS + 1, 1);
    expect(inFlight.room(1_000 * MIB)).toBeLessThanOrEqual(0);
  });

  it('holds a bounded number of probes for such a peer', () => {
    const inFlight = new InFlight();
    let sent = 0;
    for (let count = 0; count < 20_000; count++) {
      sent += MIB;
      if (inFlight.isProbeDue(sent)) inFlight.probe(sent, count);
      inFlight.checkAnswers(count);
    }
    expect((Reflect.get(inFlight, 'probes') as unknown[]).length).toBeLessThan(2_000);
  });

  const links: Array<[name: string, mibPerSecond: number, rttMs: number]> = [
    ['a local socket', 3_000, 0.05],
    ['a local network', 110, 0.5],
    ['a fast distant one', 100, 50],
    ['a slow one', 1, 20],
    ['a satellite', 5, 600],
  ];
  for (const [name, mibPerSecond, rttMs] of links) {
    it(`fills ${name} without standing still or piling up`, () => {
      const bytesPerMs = (mibPerSecond * MIB) / 1_000;
      const link = new Link(bytesPerMs, rttMs);
      // Long enough to settle, then what is measured.
      const settling = Math.max(64 * MIB, 400 * bytesPerMs * rttMs);
      expect(link.run(settling)).toBe(true);
      const start = link.now;
      const answered = link.took.length;
      const bytes = Math.max(32 * MIB, 200 * bytesPerMs * rttMs);
      expect(link.run(bytes)).toBe(true);
      expect(bytes / (link.now - start)).toBeGreaterThan(0.6 * bytesPerMs);
      const took = link.took.slice(answered).sort((left, right) => left - right);
      // Never less than what 128 KiB take, since less is not worth it.
      const leastMs = (128 * KIB) / bytesPerMs;
      expect(took[Math.floor(took.length / 2)]).toBeLessThan(Math.max(4 * rttMs + 2, leastMs * 2));
    });
  }
});

describe('Pacer', () => {
  it('has a timer only while it waits for an answer', () => {
    const timers = new Timers(new FakeClock());
    const pacer = new Pacer(timers, () => {});
    expect(timers.size).toBe(0);
    pacer.probe(1_000);
    pacer.probe(2_000);
    expect(timers.size).toBe(1);
    pacer.stop();
    expect(timers.size).toBe(0);
  });

  it('says that there is room at an answer, and when none has come for long', () => {
    const clock = new FakeClock();
    let told = 0;
    const pacer = new Pacer(new Timers(clock), () => told++);
    const opaque = pacer.probe(1_000);
    clock.advance(3);
    expect(pacer.onPong(opaque, 1)).toBe(3);
    expect(told).toBe(1);
    expect(pacer.onPong(opaque, 1)).toBe(-1);
    expect(told).toBe(1);
    pacer.probe(2_000);
    clock.advance(2 * ANSWER_TIMEOUT_MS + 20);
    expect(told).toBeGreaterThan(1);
    pacer.stop();
  });

  it('ends its timer once everything is answered', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const pacer = new Pacer(timers, () => {});
    pacer.onPong(pacer.probe(1_000), 1);
    clock.advance(ANSWER_TIMEOUT_MS + 20);
    expect(timers.size).toBe(0);
  });
});
