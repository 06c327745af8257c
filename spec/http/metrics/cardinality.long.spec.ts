// How many series a node has in a large network.

import { describe, expect, it } from '@jest/globals';
import { metrics } from '../../../lib/http/index.js';
import { createNode, type LinkInfo, type ListedMember } from '../../../lib/index.js';
import { turnsUntil } from '../../support/turns.js';
import { readExposition, seriesOf } from './exposition.js';

describe('the metrics of a node', () => {
  it('are fewer than 200 series with a thousand links, members and kinds of errors, and ten thousand services', async () => {
    const node = createNode({ closeTimeoutMs: 50 });
    for (let index = 0; index < 10_000; index++) node.bind(`service-${index}`, () => {});
    const link = { address: 'attached', direction: 'inbound', rttMs: 1, streams: 1, bytesIn: 1, bytesOut: 1, since: 1 };
    node.links = () => Array.from({ length: 1_000 }, (_, index) => ({ ...link, peerId: `peer-${index}` }) as LinkInfo);
    node.members = () => Array.from({ length: 1_000 }, () => ({}) as ListedMember);
    const made = metrics(node, { process: false });
    for (let index = 0; index < 1_000; index++) {
      const socket = node.dial(`service-${index}`, {
        selector: () => {
          throw Object.assign(new Error('of the selector'), { code: `E${index}` });
        },
      });
      socket.on('error', () => {});
    }
    await turnsUntil('the dials', () => node.stats().dials.failed === 1_000);
    const families = readExposition(await made.render());
    expect(seriesOf(families, 'starlane_service_instances')).toBe(10_000);
    expect(seriesOf(families, 'starlane_members')).toBe(1_000);
    expect(seriesOf(families, 'starlane_dial_errors_total', { code: 'other' })).toBe(1_000);
    const count = families.flatMap(({ samples }) => samples).length;
    expect(count).toBeGreaterThan(80);
    expect(count).toBeLessThan(200);
    const all = readExposition(await metrics(node, { process: true, peers: true }).render());
    expect(all.flatMap(({ samples }) => samples).length).toBeLessThan(200 + 4 * 1_000 + 100);
    expect(seriesOf(all, 'starlane_peer_bytes_total', { peer: 'peer-7', direction: 'in' })).toBe(1);
    expect(seriesOf(all, 'process_resident_memory_bytes')).toBeGreaterThan(0);
    await node.close();
  });
});
