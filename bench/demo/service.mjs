// The serving process of the demo: an ordinary HTTP server and three stream services, bound by name to one node that
// listens nowhere: `service.mjs <address of a relay>`.

import { createHash } from 'node:crypto';
import http from 'node:http';
import { createNode } from '../../dist/index.js';
import { answerAbout, report } from './answers.mjs';
import { sendPattern } from './transfer.mjs';

const count = { requests: 0, httpConnections: 0, echoes: 0 };

// Nothing in this server knows what carries it.
const web = http.createServer((request, response) => {
  count.requests += 1;
  if (request.method === 'POST') {
    const hash = createHash('sha256');
    request.on('data', (chunk) => hash.update(chunk));
    request.on('end', () => response.end(hash.digest('hex')));
  } else {
    response.end(`you asked for ${request.url}`);
  }
});
web.on('connection', () => {
  count.httpConnections += 1;
});

const node = createNode();
node.bind('web', web);
node.bind('echo', (socket) => {
  count.echoes += 1;
  // Those that a relay takes with it are reset, as the client checks.
  socket.on('error', () => {});
  socket.pipe(socket);
});

// Hashes its input, answers with the digest.
node.bind('upload', { allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256');
  socket.on('error', report);
  socket.on('data', (chunk) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest()));
});

// Reads `<offset> <bytes>` in one line, sends that part of the pattern and then its digest.
node.bind('download', { allowHalfOpen: true }, (socket) => {
  let question = '';
  socket.on('error', report);
  socket.on('data', (chunk) => {
    question += chunk;
  });
  socket.on('end', async () => {
    const [offset, bytes] = question.split(' ').map(Number);
    socket.end(await sendPattern(socket, offset, bytes));
  });
});

answerAbout(node, () => ({ ...count }));
for (const address of process.argv.slice(2)) await node.join(address);
process.send?.({ type: 'serving', nodeId: node.id });
