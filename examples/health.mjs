// The health of a whole network from one node, and a tail of the events of another one: every node answers queries.
//
//   node examples/health.mjs

import { once } from 'node:events';
import http from 'node:http';
import { createNode } from 'starlane';
import { agent } from 'starlane/http';

// In a network with a secret, all nodes may ask each other. With members, those with the tag 'operator' may (docs/api.md#queries).
const secret = 'correct horse battery staple';
const watcher = createNode({ secret });
const { address } = await watcher.listenAndServe('127.0.0.1:0');
watcher.on('warning', ({ message }) => console.error(message));

/** Starts a node with a service, which gives it a name here. */
async function start(service) {
  const node = createNode({ secret });
  await node.join(address);
  node.bind(service, (socket) => socket.end());
  const { nodeId } = await watcher.waitFor(service);
  return { node, service, nodeId };
}

const started = [await start('api'), await start('db'), await start('web')];
const [api, db, web] = started;

/** Prints a line for each node. One that does not answer costs its own line only. */
async function printHealth() {
  for (const { service, nodeId } of started) {
    try {
      const { version } = await watcher.query(`@${nodeId}`, '/v1/health', { timeoutMs: 3_000 });
      const { ready, reason } = await watcher.query(`@${nodeId}`, '/v1/ready', { timeoutMs: 3_000 });
      console.log(`${service}: version ${version},`, ready ? 'ready' : `not ready: ${reason}`);
    } catch (error) {
      console.log(`${service}: ${error.code}`);
    }
  }
}

await printHealth();

const toNodes = agent(watcher, { keepAlive: false });

/** The events that a node sees, as they happen. Any HTTP client over the mesh can read them; port 2 is that of queries. */
async function* events(nodeId) {
  const options = { host: `@${nodeId}`, port: 2, path: '/v1/events', agent: toNodes };
  const [response] = await once(http.get(options), 'response');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const messages = (text + chunk).split('\n\n');
    text = messages.pop();
    for (const message of messages) {
      const [, kind, data] = /^event: (.*)\ndata: (.*)$/.exec(message) ?? []; // Else it is a comment that keeps the way open.
      if (kind !== undefined) yield { kind, data: JSON.parse(data) };
    }
  }
}

await web.node.waitFor('api'); // Or it could not see it go.
for await (const { kind, data } of events(web.nodeId)) {
  if (kind === 'hello') void api.node.drain(); // So that there is something to see.
  if (kind === 'unservice') {
    console.log(`web has seen that nobody offers ${data.service} any more`);
    break; // Ends the request as well.
  }
}

await db.node.close();
await printHealth();
for (const { node } of [api, web]) await node.close();
await watcher.close();
