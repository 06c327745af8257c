// What people write themselves: `bare.mjs pipe PORT` joins sockets by pipe, `bare.mjs http PORT` is http-proxy as its README has it, and
// `bare.mjs http-keep-alive PORT` is http-proxy with an agent that keeps connections.

import http from 'node:http';
import net from 'node:net';
import httpProxy from 'http-proxy';

const [, , kind, to] = process.argv;
const port = Number(to);
const server = kind === 'pipe' ? pipe() : proxy(kind === 'http-keep-alive');
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(/** @type {net.AddressInfo} */ (server.address()).port);
});

function pipe() {
  return net.createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
  });
}

/** @param {boolean} keepsAlive */
function proxy(keepsAlive) {
  const agent = keepsAlive ? new http.Agent({ keepAlive: true }) : undefined;
  const proxied = httpProxy.createProxyServer({ target: { host: '127.0.0.1', port }, agent });
  proxied.on('error', (_error, _request, response) => {
    if ('writeHead' in response && !response.headersSent) response.writeHead(502);
    response.end();
  });
  const front = http.createServer((request, response) => proxied.web(request, response));
  front.keepAliveTimeout = 600_000;
  return front;
}
