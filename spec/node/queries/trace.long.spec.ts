// The path of a dial and the round trip of each of its hops, over relays with made delays.

import { afterEach, describe, expect, it } from '@jest/globals';
import type { NodeOptions } from '../../../lib/index.js';
import { pingNode, trace } from '../../../lib/node/queries/client.js';
import { delayedPair } from '../../support/delayed-pair.js';
import { RelayNet } from '../../support/relay-net.js';
import { knows } from '../../support/testnet.js';

/** In each direction, by link. */
const DELAYS_MS = [5, 30, 10, 20];
const ROUND_TRIP_MS = 2 * (5 + 30 + 10 + 20);

let net: RelayNet | undefined;

afterEach(async () => {
  await net?.close();
  net = undefined;
});

async function line(nodes: Record<number, NodeOptions> = {}): Promise<RelayNet> {
  net = await RelayNet.line(3, { nodes, pair: ([near]) => delayedPair(DELAYS_MS[near]) });
  await net.settled();
  return net;
}

describe('trace', () => {
  it('shows each node of a path over three relays, and the share of each link', async () => {
    const { first, last, nodes } = await line();
    last.bind('db', (socket) => socket.on('error', () => {}));
    await knows(first, 'db');
    const { hops, totalMs, measuredBy, unaccountedMs } = await trace(first, 'db');
    expect(hops.map(({ nodeId }) => nodeId)).toEqual(nodes.map(({ id }) => id));
    for (const [index, delayMs] of DELAYS_MS.entries()) {
      const { rttMs, share, error } = hops[index];
      expect(error).toBeUndefined();
      // A timeout may be a millisecond early by another clock.
      expect(rttMs).toBeGreaterThan(2 * delayMs - 3);
      expect(share).toBeCloseTo((rttMs as number) / totalMs, 6);
    }
    const slowest = hops.reduce((worst, hop) => ((hop.rttMs ?? 0) > (worst.rttMs ?? 0) ? hop : worst));
    expect(slowest.nodeId).toBe(nodes[1].id);
    expect(hops[4]).toMatchObject({ rttMs: null, share: null });
    expect(measuredBy).toBe('ping');
    expect(totalMs).toBeGreaterThan(ROUND_TRIP_MS - 5);
    const sum = hops.reduce((whole, { rttMs }) => whole + (rttMs ?? 0), 0);
    expect(unaccountedMs).toBeCloseTo(Math.max(0, totalMs - sum), 6);
  });

  it('shows a hop that does not answer without figures', async () => {
    const { first, last, nodes } = await line({ 2: { queries: false } });
    const { hops, unaccountedMs } = await trace(first, `@${last.id}`);
    expect(hops.map(({ nodeId }) => nodeId)).toEqual(nodes.map(({ id }) => id));
    expect(hops[2]).toMatchObject({ rttMs: null, share: null, error: { code: 'ERR_STARLANE_QUERY' } });
    expect(hops[1].rttMs).toBeGreaterThan(2 * DELAYS_MS[1] - 3);
    expect(hops[3].rttMs).toBeGreaterThan(2 * DELAYS_MS[3] - 3);
    // The link of the hop that says nothing.
    expect(unaccountedMs).toBeGreaterThan(2 * DELAYS_MS[2] - 6);
  });

  it('shows what the dial took when the destination does not answer', async () => {
    const { first, last } = await line({ 4: { queries: false } });
    last.bind('db', (socket) => socket.on('error', () => {}));
    await knows(first, 'db');
    const { hops, totalMs, measuredBy } = await trace(first, 'db');
    expect(measuredBy).toBe('dial');
    expect(totalMs).toBeGreaterThan(ROUND_TRIP_MS - 5);
    expect(hops[4].error).toMatchObject({ code: 'ERR_STARLANE_QUERY' });
    expect(hops.slice(0, 4).every(({ rttMs }) => rttMs !== null)).toBe(true);
  });

  it('shows a node alone for a service of its own', async () => {
    const { first } = await line();
    first.bind('own', (socket) => socket.on('error', () => {}));
    const { hops } = await trace(first, 'own');
    expect(hops.map(({ nodeId }) => nodeId)).toEqual([first.id]);
  });

  it('fails as the dial does', async () => {
    const { first } = await line();
    await expect(trace(first, 'nobody', { timeoutMs: 100 })).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });
});

describe('ping', () => {
  it('measures the whole path, several times', async () => {
    const { first, last, nodes } = await line();
    const { nodeId, via, samplesMs, minMs, meanMs, maxMs, clockAheadMs, health } = await pingNode(
      first,
      `@${last.id}`,
      {
        samples: 3,
      },
    );
    expect({ nodeId, via }).toEqual({ nodeId: last.id, via: nodes.slice(1, 4).map(({ id }) => id) });
    expect(samplesMs).toHaveLength(3);
    expect(minMs).toBeGreaterThan(ROUND_TRIP_MS - 5);
    expect(minMs).toBeLessThanOrEqual(meanMs);
    expect(meanMs).toBeLessThanOrEqual(maxMs);
    expect(Math.abs(clockAheadMs)).toBeLessThan(5_000);
    expect(health.id).toBe(last.id);
  });

  it('refuses wrong options', async () => {
    const { first } = await line();
    for (const samples of [0, 1.5, 101]) {
      await expect(pingNode(first, `@${first.id}`, { samples })).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    }
  });
});
