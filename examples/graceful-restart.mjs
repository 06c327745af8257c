// A new version of an HTTP server replaces the old one while clients send requests. None of them fails.
//
//   node examples/graceful-restart.mjs

import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { createNode } from 'starlane';
import { agent } from 'starlane/http';

const client = createNode();
const { address } = await client.listenAndServe('tcp://127.0.0.1:0');

/** Starts a version of the server on a node of its own. Returns a function that stops it: process.once('SIGTERM', stop). */
async function start(version) {
  let isStopping = false;
  const server = http.createServer(async (_request, response) => {
    await wait(20); // The work.
    // Keep-alive connections are circuits, for which drain() waits: the client must not use this one again.
    if (isStopping) response.setHeader('connection', 'close');
    response.end(version);
  });
  const node = createNode();
  await node.join(address);
  node.bind('web', { instance: version }, server);
  await client.waitFor(`${version}.web`);

  return async function stop() {
    isStopping = true;
    // Less than the time until SIGKILL. Then close() ends what is still open.
    await node.drain({ timeoutMs: 20_000 }).catch((error) => console.error(error.message));
    server.close();
    await node.close();
  };
}

// The load: eight requests at a time, over connections that are kept.
const toServices = agent(client);
const answers = { v1: 0, v2: 0 };
let failed = 0;
let isOver = false;
async function load() {
  while (!isOver) {
    try {
      const [response] = await once(http.get('http://web/', { agent: toServices }), 'response');
      for await (const version of response.setEncoding('utf8')) answers[version]++;
    } catch (error) {
      failed++;
      console.error(error);
    }
  }
}

const stopOld = await start('v1');
const loads = Array.from({ length: 8 }, load);
while (answers.v1 < 100) await wait(10);
console.log('v1 serves');

const stopNew = await start('v2'); // The new version first, so that there is always one.
await stopOld();
const { v1, v2 } = answers;
while (answers.v2 < v2 + 100) await wait(10);
console.log('v2 serves, and v1 no more:', answers.v1 === v1);

isOver = true;
await Promise.all(loads);
console.log('failed requests:', failed);

toServices.destroy();
await stopNew();
await client.close();
