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

/** Starts a version of the server, on a node of its own. Returns what stops it. */
async function start(version) {
  let isStopping = false;
  const server = http.createServer(async (_request, response) => {
    await wait(20); // The work.
    // Keep-alive connections are circuits, for which drain() waits: the client should not use this one again.
    if (isStopping) response.setHeader('connection', 'close');
    response.end(version);
  });
  const node = createNode();
  await node.join(address);
  node.bind('web', { instance: version }, server);
  await client.waitFor(`${version}.web`);

  // In a program that is one server: process.once('SIGTERM', stop).
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
const answers = { v1: 0, v2: 0, failed: 0 };
let isOver = false;
async function load() {
  while (!isOver) {
    try {
      const [response] = await once(http.get('http://web/', { agent: toServices }), 'response');
      const [version] = await response.setEncoding('utf8').toArray();
      answers[version]++;
    } catch (error) {
      answers.failed++;
      console.error(error);
    }
  }
}

/** Waits until a version has answered that many requests. */
async function answered(version, count) {
  while (answers[version] < count) await wait(10);
}

const stopOld = await start('v1');
const loads = Array.from({ length: 8 }, load);
await answered('v1', 100);
console.log('v1 serves');

// The new version first, so that there is always one.
const stopNew = await start('v2');
await stopOld();
const before = answers.v1;
console.log('v1 is gone');
await answered('v2', 100);
console.log('v2 serves, and v1 no more:', answers.v1 === before);

isOver = true;
await Promise.all(loads);
console.log('failed requests:', answers.failed);

toServices.destroy();
await stopNew();
await client.close();
