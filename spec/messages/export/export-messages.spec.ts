// Messages and commands of a service that is exported to another network, over its port 16.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node } from '../../../lib/index.js';
import { exportService, messages, type ServiceExport } from '../../../lib/messages/index.js';
import { RelayNet } from '../../support/relay-net.js';
import { knows } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

let a: RelayNet;
let b: RelayNet;
let exported: ServiceExport;

beforeEach(async () => {
  [a, b] = await Promise.all([RelayNet.line(1), RelayNet.line(1)]);
  await Promise.all([a.settled(), b.settled()]);
});

afterEach(async () => {
  await exported.close({ timeoutMs: 0 });
  await Promise.all([a.close(), b.close()]);
});

async function start(): Promise<void> {
  exported = exportService({ from: a.last, to: b.first, service: 'orders:16', as: 'shop:16' });
  await knows(b.last, 'shop');
}

describe('an inbox that is exported', () => {
  it('handles messages of any length in order, from the bridge as their sender, and answers calls', async () => {
    const got: unknown[] = [];
    const inbox = messages(a.first).inbox('orders');
    inbox.onMessage(({ data, from }) => {
      got.push([typeof data === 'object' ? (data as Uint8Array).length : data, from]);
    });
    inbox.onCommand(7, (input) => ({ twice: (input as number) * 2 }));
    await start();
    const post = messages(b.last);
    const large = Buffer.alloc(300 * 1024, 1);
    const sent = [post.send('shop', 'first'), post.send('shop', large), post.send('shop', 'last')];
    const receipts = await Promise.all(sent);
    const from = a.last.id;
    expect(got).toEqual([
      ['first', from],
      [large.length, from],
      ['last', from],
    ]);
    expect(receipts[0]).toMatchObject({ nodeId: b.first.id });
    expect(await post.call('shop', 7, 21)).toEqual({ twice: 42 });
    await expect(post.call('shop', 8, 21)).rejects.toMatchObject({
      code: 'ERR_STARLANE_NO_HANDLER',
      outcome: 'not-handled',
    });
  });

  it('finds its sessions again at the same instance after the circuits to it were lost', async () => {
    const count = new Map<string, number>();
    const offer = (node: Node): void => {
      messages(node)
        .inbox('orders')
        .onCommand(1, () => {
          count.set(node.id, (count.get(node.id) ?? 0) + 1);
          return node.id;
        });
    };
    offer(a.first);
    offer(a.nodes[1] as Node);
    await turnsUntil('both are known', () => a.last.serviceMap().get('orders').length === 2);
    await start();
    const post = messages(b.last);
    const first = await post.call('shop', 1);
    for (const passage of [...(Reflect.get(exported, 'passages') as Set<{ reset(): void }>)]) passage.reset();
    for (let round = 0; round < 10; round++) expect(await post.call('shop', 1)).toBe(first);
    expect([...count]).toEqual([[first, 11]]);
  });
});
