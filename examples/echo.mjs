// Two nodes, one link, one service.
//
//   node examples/echo.mjs

import { createNode } from 'starlane';

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
server.bind('echo', (socket) => socket.pipe(socket));

const client = createNode();
await client.join(address);

const socket = client.dial('echo');
socket.end('hello');
for await (const chunk of socket) console.log(`echoed: ${chunk}`);

await client.close();
await server.close();
