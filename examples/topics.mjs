// Publish and subscribe by topic, a queue group, and requests, across three nodes and without a broker.
//
//   node examples/topics.mjs

import { createNode } from 'starlane';
import { topics } from 'starlane/messages';

const shop = createNode();
const { address } = await shop.listenAndServe('tcp://127.0.0.1:0');
const workers = [createNode(), createNode()];
for (const worker of workers) await worker.join(address);

// Everybody who subscribes gets each message; of a queue group, one member.
const log = [];
topics(workers[0]).subscribe('orders.>', ({ topic, data }) => log.push(`${topic} ${data.id}`));
const packed = [];
for (const worker of workers) {
  topics(worker).subscribe('orders.*', { queue: 'packers' }, async ({ data }) => packed.push(data.id));
}
topics(workers[1]).subscribe('stock.*', ({ topic }) => ({ left: topic === 'stock.tea' ? 7 : 0 }));
for (const pattern of ['orders.>', 'stock.*']) await shop.waitFor(`topic/${pattern}`);

const bus = topics(shop);
for (let id = 1; id <= 6; id++) {
  // False: a subscriber is behind.
  if (!bus.publish('orders.new', { id })) await bus.drained();
}
await bus.flush();
console.log(log.join(', '));
console.log('packed once each:', packed.sort().join(', '));
console.log('tea:', await bus.request('stock.tea', undefined, { timeoutMs: 5_000 }));
await bus.request('weather').catch(({ code, outcome }) => console.log(code, outcome));

for (const node of [...workers, shop]) await node.close();
