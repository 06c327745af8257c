// Closing and reloading a gateway without a request that fails.

import { once } from 'node:events';
import { createServer, Agent as HttpAgent, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, constants } from 'node:http2';
import { createServer as createNetServer } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import type { Gateway } from '../../../lib/http/index.js';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { answerTo, ask, failureOf, readUntil } from '../exchange.js';
import { gatewayFixture, portOf, rawSocket } from './fixture.js';

const net = gatewayFixture();

/** Serves `web` with answers on demand. */
async function serveHeld(): Promise<{ next(): Promise<ServerResponse> }> {
  const waiting: Array<(response: ServerResponse) => void> = [];
  const there: ServerResponse[] = [];
  await net.serve('web', (_message, response) => {
    const resolve = waiting.shift();
    if (resolve === undefined) there.push(response);
    else resolve(response);
  });
  return {
    next: () => {
      const response = there.shift();
      return within(
        'a request',
        response === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(response),
      );
    },
  };
}

function start(opened: Gateway, path = '/'): Promise<[IncomingMessage]> {
  const request = ask({ port: portOf(opened), path, headers: { host: 'web.example.test' }, agent: false });
  const response = once(request, 'response') as Promise<[IncomingMessage]>;
  request.end();
  return response;
}

/** Nothing listens at a port. */
async function refused(port: number): Promise<void> {
  const request = ask({ port, host: '127.0.0.1', agent: false });
  const failure = failureOf(request);
  request.end();
  expect((await failure).code).toBe('ECONNREFUSED');
}

describe('close', () => {
  it('waits for open requests, and takes no new connections', async () => {
    const held = await serveHeld();
    const opened = await net.open();
    const port = portOf(opened);
    const answer = start(opened);
    const response = await held.next();
    const closed = opened.close();
    expect(opened.stats().state).toBe('draining');
    await refused(port);
    response.end('whole');
    const [message] = await within('the answer', answer);
    expect(message.headers.connection).toBe('close');
    expect(`${await readAll(message)}`).toBe('whole');
    await within('the close', closed);
    expect(opened.stats()).toMatchObject({ state: 'closed', connections: { open: 0 }, requests: { open: 0 } });
  });

  it('answers one more request on an idle connection, and says that it was the last', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const opened = await net.open();
    const socket = await rawSocket(opened);
    const get = 'GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n';
    socket.write(get);
    await readUntil(socket, 'ok');
    const closed = opened.close();
    socket.write(get);
    expect(await readUntil(socket, 'ok')).toMatch(/connection: close/i);
    await within('the close', closed);
  });

  it('sends GOAWAY, and finishes the streams of HTTP/2', async () => {
    const held = await serveHeld();
    const opened = await net.open();
    const client = connect(`http://127.0.0.1:${portOf(opened)}`);
    net.finally(() => client.destroy());
    const stream = client.request({ ':path': '/', ':authority': 'web.example.test' });
    const response = await held.next();
    const goaway = once(client, 'goaway');
    const closed = opened.close();
    expect((await within('GOAWAY', goaway))[0]).toBe(constants.NGHTTP2_NO_ERROR);
    response.end('whole');
    expect(`${await within('the body', readAll(stream))}`).toBe('whole');
    await within('the close', closed);
  });

  it('breaks off what is open at the deadline', async () => {
    const held = await serveHeld();
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write('GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    const response = await held.next();
    const gone = once(response, 'close');
    const ended = once(socket, 'close');
    await within('the close', opened.close({ timeoutMs: 50 }));
    await within('the end for the client', ended);
    await within('the end for the service', gone);
  });

  it('loses no request of clients that ask all the time, while another gateway takes over', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const first = await net.open();
    const second = await net.open();
    let current = first;
    const agents = Array.from({ length: 8 }, () => new HttpAgent({ keepAlive: true, maxSockets: 1 }));
    net.finally(() => {
      for (const agent of agents) agent.destroy();
    });
    let answered = 0;
    let isOver = false;
    const client = async (agent: HttpAgent): Promise<void> => {
      while (!isOver) {
        const request = ask({ port: portOf(current), headers: { host: 'web.example.test' }, agent });
        expect((await answerTo(request)).response.statusCode).toBe(200);
        answered++;
      }
    };
    const clients = agents.map(client);
    while (answered < 50) await new Promise(setImmediate);
    current = second;
    await within('the close', first.close());
    const before = answered;
    while (answered < before + 50) await new Promise(setImmediate);
    isOver = true;
    await Promise.all(clients);
    expect(first.stats().requests.byService).toEqual({ web: { '2xx': first.stats().requests.total } });
  });
});

describe('reload', () => {
  it('changes rules for new requests, and keeps open ones and connections', async () => {
    const held = await serveHeld();
    await net.serve('next', (_message, response) => response.end('next'));
    const opened = await net.open();
    const port = portOf(opened);
    const answer = start(opened);
    const response = await held.next();
    await opened.reload({ listen: 0, hosts: { 'web.example.test': 'next' }, maxHeaders: 50 });
    expect(portOf(opened)).toBe(port);
    expect((await net.get(opened, 'web.example.test')).body).toBe('next');
    response.end('whole');
    expect(`${await readAll((await within('the answer', answer))[0])}`).toBe('whole');
  });

  it('opens and closes listeners, and changes nothing if that fails', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const opened = await net.open();
    const port = portOf(opened);
    const taken = createNetServer().listen(0, '127.0.0.1');
    net.finally(() => void taken.close());
    await once(taken, 'listening');
    const takenPort = (taken.address() as { port: number }).port;
    const bad = [0, takenPort];
    await expect(opened.reload({ listen: bad, suffix: '.example.test' })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(opened.reload({ suffix: 'bad' })).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    expect(opened.addresses.map((address) => address.port)).toEqual([port]);
    await opened.reload({ listen: [0, { service: 'edge' }], suffix: '.example.test' });
    expect(opened.addresses).toMatchObject([{ port }, { service: 'edge' }]);
    await within('the service', net.far.waitFor('edge'));
    await opened.reload({ listen: [{ service: 'edge' }], suffix: '.example.test' });
    await refused(port);
  });
});

it('a service that leaves is not kept by idle circuits', async () => {
  const server = createServer((_message, response) => response.end('ok'));
  server.keepAliveTimeout = 0;
  const bound = net.far.bind('web', server);
  await net.near.waitFor('web');
  const opened = await net.open();
  await net.get(opened, 'web.example.test');
  expect(opened.stats().circuits.http1).toBe(1);
  const closed = once(bound, 'close');
  bound.close();
  await within('the close of the service', closed);
  while (opened.stats().circuits.http1 > 0) await new Promise(setImmediate);
});
