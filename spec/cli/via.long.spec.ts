// The command behind the proxy of a company: it becomes a member and uses the network through it.

import { once } from 'node:events';
import http from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, expect, it } from '@jest/globals';
import { Machine } from '../support/command.js';
import { within } from '../support/deadline.js';
import { describeUnless } from '../support/obstacle.js';

/** No proxy leads to loopback. */
const address = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
const obstacle = address === undefined ? { reason: 'this machine has loopback only', isMissing: false } : undefined;

describeUnless(obstacle, 'a machine behind an HTTP proxy', () => {
  const [server, laptop] = [new Machine(), new Machine()];
  const hello = createServer((socket) => socket.end('hello'));
  const proxy = http.createServer();

  afterEach(async () => {
    await Promise.all([server.dispose(), laptop.dispose()]);
    hello.close();
    proxy.close();
    proxy.closeAllConnections();
  });

  it('joins with a token and reaches a service through it', async () => {
    const asked: string[] = [];
    proxy.on('connect', (request: http.IncomingMessage, socket) => {
      asked.push(request.url ?? '');
      const [host, port] = (request.url ?? '').split(':');
      const to = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      for (const one of [socket, to]) one.on('error', () => {});
      to.pipe(socket).pipe(to);
    });
    for (const one of [hello, proxy]) await once(one.listen(0, '127.0.0.1'), 'listening');
    const [port, via] = [hello, proxy].map((one) => (one.address() as AddressInfo).port);
    const publish = server.start(['publish', 'web', '--port', String(port), '--listen', `tls://${address}:0`]);
    const [token] = await publish.waitFor(/starlane1\.[\w-]+/, 'stdout');
    const forward = laptop.start(['forward', '0:web', '--join', token, '--via', `http://127.0.0.1:${via}`]);
    const [, local] = await forward.waitFor(/forwarding 127\.0\.0\.1:(\d+)/, 'stdout');
    const socket = connect(Number(local), '127.0.0.1');
    const [chunk] = await within('the answer', once(socket, 'data'));
    expect(String(chunk)).toBe('hello');
    socket.destroy();
    // Once to enrol, once for the link.
    expect(asked.length).toBeGreaterThanOrEqual(2);
    expect(asked.every((target) => target.startsWith(`${address}:`))).toBe(true);
  });
});
