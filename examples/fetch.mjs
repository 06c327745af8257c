// fetch and undici reach services by name: `connector(node)` opens their connections. Also shows what a failure looks like.
//
//   npm install starlane undici
//   node examples/fetch.mjs

import http from 'node:http';
import { createNode } from 'starlane';
import { connector } from 'starlane/http';
import { Agent, fetch } from 'undici';

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
const site = http.createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ method: request.method, url: request.url }));
});
server.bind('api', site);

const client = createNode();
await client.join(address);

// One dispatcher for all requests: it keeps connections for later ones.
const dispatcher = new Agent({ connect: connector(client, { dial: { timeoutMs: 2_000 } }) });
const response = await fetch('http://api/orders/7', { method: 'DELETE', dispatcher });
console.log(response.status, await response.json());

// fetch says "fetch failed". Its cause is the error of the dial, and the cause of that says what the node knows.
try {
  await fetch('http://apj/', { dispatcher });
} catch (error) {
  console.log(error.cause.code, error.cause.cause.message);
}

await dispatcher.close();
await client.close();
await server.close();
