// The client and the server have no link to each other. Both are linked to the relay, which passes the circuit on.
//
//   node examples/relay.mjs

import { once } from 'node:events';
import { createNode } from 'starlane';

const relay = createNode();
const { address } = await relay.listenAndServe('tcp://127.0.0.1:0');

// Nodes with the role 'server' make no links by themselves, so the only path stays the one through the relay.
const server = createNode({ role: 'server' });
await server.join(address);
server.bind('time', (socket) => socket.end('half past eight'));

const client = createNode({ role: 'server' });
await client.join(address);

const socket = client.dial('time');
await once(socket, 'connect');
console.log(`through ${socket.peer.via.length} relay`);
for await (const chunk of socket) console.log(`it is ${chunk}`);

for (const node of [client, server, relay]) await node.close();
