// Code written for node:net runs over a node when it gets `node.net` instead.
//
//   node examples/drop-in.mjs

import net from 'node:net';
import { createNode } from 'starlane';

/** Sends a question and returns the answer. Knows nothing of Starlane. */
function ask(net, host, port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port }, () => socket.end('what is your name?'));
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (text) => {
      answer += text;
    });
    socket.on('end', () => resolve(answer));
    socket.on('error', reject);
  });
}

/** Returns a server that answers. Knows nothing of Starlane either. */
function listen(net, port, host) {
  return new Promise((resolve) => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume().on('end', () => socket.end(`I listen at port ${socket.localPort}`));
    });
    server.listen(port, host, () => resolve(server));
  });
}

const tcp = await listen(net, 0, '127.0.0.1');
console.log((await ask(net, '127.0.0.1', tcp.address().port)).replace(/\d+/, 'N'));
tcp.close();

const node = createNode();
const service = await listen(node.net, 7000, 'names');
console.log(await ask(node.net, 'names', 7000));
service.close();
await node.close();
