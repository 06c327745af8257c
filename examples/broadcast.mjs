// Five nodes in a line take part in a broadcast. What one sends, all others get once; one that was cut off gets what it missed.
//
//   node examples/broadcast.mjs

import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { createNode } from 'starlane';
import { broadcast } from 'starlane/messages';

// Nodes with the role 'server' make no links by themselves: the line stays one, and circuits go through the nodes in between.
const nodes = ['ann', 'ben', 'cat', 'dan', 'eve'].map((name) => ({ name, node: createNode({ role: 'server' }) }));
const links = [];
for (const [index, { node }] of nodes.entries()) {
  node.on('warning', () => {});
  nodes[index].address = (await node.listenAndServe('tcp://127.0.0.1:0')).address;
  if (index > 0) links.push(await node.join(nodes[index - 1].address));
}

/** Resolves when it is true. */
async function until(holds) {
  while (!holds()) await setTimeout(20);
}

const got = new Map();
const casts = nodes.map(({ name, node }) => {
  got.set(name, []);
  return broadcast(node, 'news').onMessage(({ data }) => got.get(name).push(data));
});
await Promise.all(casts.map((cast) => once(cast, 'ready'))); // From now on nobody misses anything.

casts[2].send('the shop is open');
await until(() => ['ann', 'ben', 'dan', 'eve'].every((name) => got.get(name).length === 1));
console.log('ann:', got.get('ann'), 'eve:', got.get('eve'), 'cat:', got.get('cat'));

// Eve is cut off, and comes back.
await links[3].close();
await until(() => casts[4].stats().neighbours === 0);
casts[2].send('bread is sold out');
await until(() => got.get('ann').length === 2);
console.log('without a link:', got.get('eve'));
await nodes[4].node.join(nodes[0].address);
await until(() => got.get('eve').length === 2);
console.log('with another one:', got.get('eve'));

await Promise.all(nodes.map(({ node }) => node.close()));
