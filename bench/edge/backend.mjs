// The service behind all of them: HTTP/1.1, with an answer of 1 KiB. It ends a connection whose client asks for that.

import { createServer } from 'node:http';

const BODY = Buffer.alloc(1024, 'starlane');

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': BODY.length });
  response.end(BODY);
});
server.keepAliveTimeout = 600_000;
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
});
