import { describe, expect, it } from '@jest/globals';
import { LocalHealth } from '../../../lib/mesh/health/local-health.js';

const TICK_MS = 500;

/** A health whose ticks the spec controls. */
class Ticking {
  now = 0;
  readonly words: boolean[] = [];
  readonly health = new LocalHealth({ onOverload: (isOverloaded) => this.words.push(isOverloaded) });

  tick(lateMs = 0): void {
    this.now += TICK_MS + lateMs;
    this.health.onTick(this.now, lateMs);
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= TICK_MS) this.tick();
  }
}

describe('the local health', () => {
  it('is well at first, and stays so', () => {
    const { health, ...rest } = new Ticking();
    expect([health.multiplier, health.scale, rest.words]).toEqual([0, 1, []]);
  });

  it('worsens by two at a block of more than two seconds, and recovers by one for every five clean seconds', () => {
    const node = new Ticking();
    node.pass(2_000);
    node.tick(2_500);
    expect([node.health.multiplier, node.health.scale]).toEqual([2, 2]);
    node.pass(5_000);
    expect(node.health.multiplier).toBe(2);
    node.pass(5_000);
    expect(node.health.multiplier).toBe(1);
    node.pass(20_000);
    expect(node.health.multiplier).toBe(0);
  });

  it('worsens by one in five seconds in which ticks come 200 ms late more than once', () => {
    const node = new Ticking();
    for (let window = 1; window <= 3; window++) {
      for (let count = 0; count < 11; count++) node.tick(count % 3 === 0 ? 250 : 0);
      expect(node.health.multiplier).toBeGreaterThanOrEqual(window - 1);
    }
    expect(node.health.multiplier).toBeGreaterThanOrEqual(2);
  });

  it('is not worse for one late tick', () => {
    const node = new Ticking();
    node.pass(1_000);
    node.tick(400);
    node.pass(5_000);
    expect(node.health.multiplier).toBe(0);
  });

  it('worsens by two when half of the links turn suspect within five seconds, once for the lot', () => {
    const node = new Ticking();
    node.health.onSuspect(0, 'a', 4);
    expect(node.health.multiplier).toBe(0);
    node.health.onSuspect(4_000, 'b', 4);
    expect(node.health.multiplier).toBe(2);
    node.health.onSuspect(4_100, 'c', 4);
    node.health.onSuspect(4_200, 'd', 4);
    expect(node.health.multiplier).toBe(2);
  });

  it('blames a peer when it is the only one, or when the suspicions are far apart', () => {
    const node = new Ticking();
    node.health.onSuspect(0, 'a', 1);
    node.health.onSuspect(6_000, 'b', 4);
    node.health.onSuspect(12_000, 'c', 4);
    expect(node.health.multiplier).toBe(0);
  });

  it('is never worse than seven, which makes deadlines four and a half times as long', () => {
    const node = new Ticking();
    for (let count = 0; count < 10; count++) node.tick(2_500);
    expect([node.health.multiplier, node.health.scale]).toEqual([7, 4.5]);
  });

  it('reports overload from four on, and its end below two', () => {
    const node = new Ticking();
    node.tick(2_500);
    expect(node.words).toEqual([]);
    node.tick(2_500);
    expect(node.words).toEqual([true]);
    node.pass(65_000);
    expect([node.health.multiplier, node.words]).toEqual([0, [true, false]]);
  });

  it('reports a change at most once a minute', () => {
    const node = new Ticking();
    const at: number[] = [];
    let said = 0;
    for (let count = 0; count < 1_200; count++) {
      node.tick(count % 120 < 3 ? 2_500 : 0);
      for (; said < node.words.length; said++) at.push(node.now);
    }
    expect(at.length).toBeGreaterThan(3);
    for (let index = 1; index < at.length; index++) {
      expect((at[index] as number) - (at[index - 1] as number)).toBeGreaterThanOrEqual(60_000);
    }
  });
});
