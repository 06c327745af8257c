// A WebSocket chat across three nodes: the room is on one, and each of two guests joins it from a node of its own.
//
//   npm install starlane ws
//   node examples/chat.mjs

import { once } from 'node:events';
import http from 'node:http';
import { createNode } from 'starlane';
import { agent } from 'starlane/http';
import { WebSocket, WebSocketServer } from 'ws';

const host = createNode();
const { address } = await host.listenAndServe('tcp://127.0.0.1:0');
const server = http.createServer();
const room = new WebSocketServer({ server });
host.bind('chat', server);

// The server sends each message to everybody, with the name of the guest who wrote it.
room.on('connection', (guest, request) => {
  const name = new URL(request.url, 'http://chat').searchParams.get('name');
  guest.on('error', (error) => console.error(`${name}: ${error.message}`));
  guest.on('message', (text) => {
    for (const client of room.clients) client.send(`${name}: ${text}`);
  });
});

/** Enters the room from a new node. */
async function enter(name) {
  const node = createNode({ seeds: [address] });
  const socket = new WebSocket(`ws://chat/?name=${name}`, { agent: agent(node, { keepAlive: false }) });
  await once(socket, 'open'); // Rejects with the 'error', if there is one before.
  return { node, socket };
}

/** The next message that a guest gets. */
async function next({ socket }) {
  const [data] = await once(socket, 'message');
  return data.toString();
}

const ann = await enter('ann');
const ben = await enter('ben');

let heard = Promise.all([next(ann), next(ben)]);
ann.socket.send('is anybody here?');
console.log(await heard);

heard = Promise.all([next(ann), next(ben)]);
ben.socket.send('yes, I am');
console.log(await heard);

for (const { node, socket } of [ann, ben]) {
  socket.close();
  await once(socket, 'close');
  await node.close();
}
await host.close();
