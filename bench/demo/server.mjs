// The serving process of the demo: an ordinary HTTP server and three stream services, bound by name to one node.

import { createHash } from 'node:crypto';
import http from 'node:http';
import { createNode } from '../../dist/index.js';
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
  socket.on('error', report);
  socket.pipe(socket);
});

// Hashes what it gets, answers with the digest.
node.bind('upload', { allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256');
  socket.on('error', report);
  socket.on('data', (chunk) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest()));
});

// Asked with `<offset> <bytes>` in one line, sends that part of the pattern and then its digest.
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

/** @param {Error} error */
function report(error) {
  process.send?.({ type: 'failed', reason: error.message });
}

process.on('uncaughtException', report);
process.on('unhandledRejection', report);
process.on('disconnect', () => process.exit(1));
process.on('message', async (request) => {
  if (request === 'report') {
    process.send?.({ type: 'report', ...count, links: node.links().length, rssBytes: process.memoryUsage.rss() });
  } else {
    await node.close();
    process.exit(0);
  }
});

const listener = await node.listenAndServe('tcp://127.0.0.1:0');
process.send?.({ type: 'listening', address: listener.address });
