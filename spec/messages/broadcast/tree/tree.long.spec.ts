// The tree in virtual time, under random schedules: crashes, stops, partitions, joins, slow neighbours. Copies that are broken on purpose have
// to fail.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Frame } from '../../../../lib/messages/broadcast/frames.js';
import { Origin } from '../../../../lib/messages/broadcast/tree/origins.js';
import { run, type Sabotage, schedules } from './schedules.js';

function holds(runs: number, sabotage?: Sabotage, seed?: number): Promise<void> {
  const property = fc.asyncProperty(schedules, async (schedule) => {
    expect(await run(schedule, sabotage)).toEqual([]);
  });
  return fc.assert(property, {
    numRuns: runs,
    endOnFailure: seed !== undefined,
    ...(seed === undefined ? {} : { seed }),
  });
}

describe('A broadcast tree', () => {
  it('brings each message once and in order to everybody who can be reached, whatever happens', async () => {
    await holds(40);
  }, 60_000);

  it('fails this check without grafts', async () => {
    const noGraft: Sabotage = (network) => {
      network.drops = (frame: Frame) => frame.kind === 'graft';
    };
    await expect(holds(60, noGraft, 1)).rejects.toThrow();
  }, 60_000);

  it('fails this check without the window of what was seen', async () => {
    const isSeen = Object.getOwnPropertyDescriptor(Origin.prototype, 'isSeen') as PropertyDescriptor;
    // It remembers the last message only.
    Origin.prototype.isSeen = function (this: Origin, counter: number): boolean {
      if (counter === this.next - 1 || this.held.has(counter)) return true;
      if (counter < this.next) this.next = counter;
      return false;
    };
    try {
      await expect(holds(60, undefined, 1)).rejects.toThrow();
    } finally {
      Object.defineProperty(Origin.prototype, 'isSeen', isSeen);
    }
  }, 60_000);

  it('fails this check when announcements are lost', async () => {
    const noAnnouncement: Sabotage = (network) => {
      network.drops = (frame: Frame) => frame.kind === 'ihave' || frame.kind === 'summary';
    };
    await expect(holds(60, noAnnouncement, 1)).rejects.toThrow();
  }, 60_000);
});
