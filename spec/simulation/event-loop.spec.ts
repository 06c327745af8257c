import { describe, expect, it } from '@jest/globals';
import { type Actor, EventLoop } from '../../bench/simulation/event-loop.js';
import { Random } from '../../bench/simulation/random.js';

class Notes implements Actor {
  readonly seen: unknown[] = [];
  onEvent(_kind: number, payload: unknown): void {
    this.seen.push(payload);
  }
}

describe('the event loop of the simulation', () => {
  it('runs events in the order of their times, and those of one time in the order of scheduling', async () => {
    const loop = new EventLoop();
    const notes = new Notes();
    const random = new Random(1);
    const expected: Array<{ time: number; turn: number }> = [];
    for (let turn = 0; turn < 5_000; turn++) {
      const entry = { time: random.below(100), turn };
      expected.push(entry);
      loop.at(entry.time, notes, 0, entry);
    }
    expected.sort((a, b) => a.time - b.time || a.turn - b.turn);
    await loop.run(100);
    expect(notes.seen).toEqual(expected);
    expect(loop.pending).toBe(0);
    expect(loop.now).toBe(100);
  });

  it('runs events that are scheduled by events', async () => {
    const loop = new EventLoop();
    const times: number[] = [];
    const again = (): void => {
      times.push(loop.now);
      loop.call(10, again);
    };
    loop.call(10, again);
    await loop.run(35);
    expect(times).toEqual([10, 20, 30]);
    expect(loop.now).toBe(35);
  });

  it('runs every promise before time moves on, however long the chain', async () => {
    const loop = new EventLoop();
    let doneAt: number | undefined;
    const chain = async (): Promise<void> => {
      for (let turn = 0; turn < 100; turn++) await Promise.resolve();
      doneAt = loop.now;
    };
    loop.call(5, () => void chain());
    loop.call(6, () => expect(doneAt).toBe(5));
    await loop.run(10);
    expect(doneAt).toBe(5);
  });

  it('ends a run with what an event throws, at the time of the event', async () => {
    const loop = new EventLoop();
    loop.call(7, () => {
      throw new Error('a fault');
    });
    await expect(loop.run(100)).rejects.toThrow('a fault');
    expect(loop.now).toBe(7);
    await loop.run(3);
    expect(loop.now).toBe(10);
  });

  it('waits for a condition, and gives up in time', async () => {
    const loop = new EventLoop();
    let isDone = false;
    loop.call(42, () => {
      isDone = true;
    });
    expect(await loop.waitFor(100, 5, () => isDone)).toBe(true);
    expect(loop.now).toBe(45);
    expect(await loop.waitFor(20, 5, () => false)).toBe(false);
    expect(loop.now).toBe(65);
  });
});
