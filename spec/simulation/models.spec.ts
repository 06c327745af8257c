import { describe, expect, it } from '@jest/globals';
import { flood, type Graph } from '../../bench/simulation/models/flood.js';
import { spreadRumour } from '../../bench/simulation/models/rumours.js';
import { Random } from '../../bench/simulation/random.js';

/** Node n is linked to n - 1 and n + 1, each 10 ms away. */
function line(size: number): Graph {
  return {
    size,
    peers: (node) => [node - 1, node + 1].filter((peer) => peer >= 0 && peer < size),
    latencyMs: () => 10,
  };
}

describe('the reference models', () => {
  it('flood a line from one end to the other, with one message for each node', async () => {
    const { times, messages } = await flood(line(11), 0, new Random(1));
    expect(messages).toBe(10);
    expect(times[0]).toBe(0);
    expect(times[10]).toBeGreaterThan(10 * 10.3);
    expect(times[10]).toBeLessThan(10 * 20.3 + 1);
  });

  it('never reach a node without links by flooding', async () => {
    const { times } = await flood({ ...line(3), peers: () => [] }, 0, new Random(1));
    expect([...times]).toEqual([0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it('spread a rumour to all, in rounds and with many more messages', async () => {
    const { times, messages } = await spreadRumour(line(200), 0, new Random(1));
    expect(times[199]).toBeGreaterThan(400);
    expect(times[199]).toBeLessThan(2_000);
    expect(messages).toBe(200 * 4 * 3);
  });
});
