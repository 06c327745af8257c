// In a network with a secret, links use TLS 1.3. Both ends prove that they know the secret, and that they own their node ids.
//
//   node examples/secret.mjs

import { once } from 'node:events';
import { createNode } from 'starlane';

// In production, use 16 random bytes or more, and set STARLANE_SECRET or STARLANE_SECRET_FILE instead of the option.
const secret = 'correct horse battery staple';

const server = createNode({ secret });
const { address } = await server.listenAndServe('127.0.0.1:0');
// A refused link emits a 'warning' at both ends.
server.on('warning', () => {});
console.log(address.replace(/\d+$/, 'PORT'));
server.bind('vault', (socket) => socket.end('gold'));

const member = createNode({ secret });
await member.join(address);
const socket = member.dial('vault', { secure: true });
await once(socket, 'connect');
console.log(`verified: ${socket.verified}, encrypted from end to end: ${socket.secure}`);
for await (const chunk of socket) console.log(`found ${chunk}`);

const stranger = createNode({ secret: 'another secret of this length' });
await stranger.join(address).catch((error) => console.log(`refused: ${error.code}`));

for (const node of [stranger, member, server]) await node.close();
