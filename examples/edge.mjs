// The edge of a network in one program: a gateway that brings HTTP from outside to services, the monitor page, and metrics.
//
//   node examples/edge.mjs

import { once } from 'node:events';
import http from 'node:http';
import { createNode } from 'starlane';
import { gateway, metrics, monitor } from 'starlane/http';

// The edge. In production: `listen: [{ port: 443, host: '::', tls: true }]` with `tls`, and `seeds` and a `secret` for the node.
const edge = createNode();
const { address } = await edge.listenAndServe('tcp://127.0.0.1:0');
const measured = metrics(edge); // Counts from now on.
const entrance = await gateway(edge, {
  listen: 0,
  suffix: '.example.test', // web.example.test is the service web,
  expose: ['web'], // and no other service is reached so.
  paths: { '/status': 'web' },
});
const accesses = [];
entrance.on('access', ({ method, host, path, status, service }) => {
  accesses.push(`${method} ${host}${path} ${status} ${service || '-'}`);
});
const page = await monitor(edge, { port: 0 });
const exporter = http.createServer(measured.handler).listen(0, '127.0.0.1');
await once(exporter, 'listening');

// A service on another node. It learns who asks from headers that the gateway sets.
const worker = createNode();
await worker.join(address);
const site = http.createServer(({ url, headers }, response) => {
  response.end(`${url} for ${headers['x-forwarded-for']} by ${headers['x-forwarded-proto']}`);
});
worker.bind('web', site);
worker.bind('secrets', site);
await edge.waitFor('web');

/** What a browser does for a host whose DNS entry leads to the gateway. */
async function get(host, path) {
  const { port } = entrance.addresses[0];
  const [response] = await once(http.get({ port, path, headers: { host }, agent: false }), 'response');
  const body = (await response.setEncoding('utf8').toArray()).join('');
  console.log(response.statusCode, response.statusCode === 200 ? body : '');
}

await get('web.example.test', '/news');
await get('secrets.example.test', '/');
await get('other.test', '/status');

// The page shows the network, live: open page.url in a browser. Programs read the same as JSON.
const { services } = await (await fetch(new URL('/api/v1/services', page.url))).json();
console.log('the monitor shows', services.map(({ service }) => service).sort());

const text = await (await fetch(`http://127.0.0.1:${exporter.address().port}/metrics`)).text();
console.log(text.match(/^starlane_links .*/m)?.[0]);

exporter.close();
await page.close();
await entrance.close();
console.log('the access log has', accesses);
for (const node of [worker, edge]) await node.close();
