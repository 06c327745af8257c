// The demo of Dotray: nodes of which each sends to all others, over a tree that repairs itself. Any of them may be killed.
//
//   node examples/adapters/dotray.mjs -l localhost:2000
//   node examples/adapters/dotray.mjs -l localhost:2001 -s localhost:2000
//   node examples/adapters/dotray.mjs -l localhost:2002 -s localhost:2001 -m -i 3
//   node examples/adapters/dotray.mjs -l localhost:2003 -s localhost:2002
//   node examples/adapters/dotray.mjs -l localhost:2004 -s localhost:2002 -m -i 5

import { parseArgs } from 'node:util';
import { createNode } from 'starlane';
import { broadcast } from 'starlane/messages';

const { values } = parseArgs({
  options: {
    /** Where the node listens. */
    l: { type: 'string', short: 'l' },
    /** The node to which it connects first. */
    s: { type: 'string', short: 's' },
    /** Whether it sends. */
    m: { type: 'boolean', short: 'm', default: false },
    /** What makes its messages its own. */
    i: { type: 'string', short: 'i', default: '' },
    /** Milliseconds between its messages. */
    every: { type: 'string', default: '5000' },
  },
});

const node = createNode({ seeds: values.s === undefined ? undefined : [`tcp://${values.s}`] });
const { address } = await node.listenAndServe(`tcp://${values.l}`);
console.log(`listening at ${address}`);

const all = broadcast(node, 'dotray');
all.onMessage(({ data, from }) => console.log(`receive message: ${data} from other node: "${from}"`));
if (values.m) {
  const data = `hello-${values.i}`;
  setInterval(() => {
    all.send(data);
    console.log(`send message: ${data}`);
  }, Number(values.every));
}
