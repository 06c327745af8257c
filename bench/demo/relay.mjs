// A relay of the demo: `relay.mjs [address of another]`. It listens, and has nothing to serve.

import { createNode } from '../../dist/index.js';
import { answerAbout } from './answers.mjs';

// The one client here opens as many streams as the limits expect of many.
const node = createNode({ role: 'router', relayOpensPerSecond: 100_000 });
answerAbout(node, () => ({}));
const listener = await node.listenAndServe('tcp://127.0.0.1:0');
for (const address of process.argv.slice(2)) await node.join(address);
process.send?.({ type: 'listening', address: listener.address, nodeId: node.id });
