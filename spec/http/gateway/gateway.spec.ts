// What a gateway does with ordinary requests.

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { answerTo, ask, readUntil } from '../exchange.js';
import { gatewayFixture, nextAccess, portOf, rawSocket } from './fixture.js';

describe('a gateway', () => {
  const net = gatewayFixture();

  it('brings a request to the service that its host names', async () => {
    await net.serve('web', (message, response) =>
      response.end(`${message.method} ${message.url} ${message.headers.host}`),
    );
    const opened = await net.open();
    const { body, response } = await net.get(opened, 'web.example.test', '/path?a=1');
    expect(body).toBe('GET /path?a=1 web.example.test');
    expect(response.statusCode).toBe(200);
  });

  it('passes body, status and headers both ways', async () => {
    await net.serve('web', async (message, response) => {
      const body = await readAll(message);
      response.writeHead(201, 'Made', [
        ['X-One', '1'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ]);
      response.end(`${message.headers['x-two']} ${body}`);
    });
    const opened = await net.open();
    const request = ask({
      port: portOf(opened),
      method: 'POST',
      headers: { host: 'web.example.test', 'X-Two': '2' },
      agent: false,
    });
    const { body, response } = await answerTo(request, 'a body');
    expect([response.statusCode, response.statusMessage, body]).toEqual([201, 'Made', '2 a body']);
    expect(response.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(response.rawHeaders).toContain('X-One');
  });

  it('streams both ways without collecting, and begins an answer that has no body yet', async () => {
    const parts: string[] = [];
    await net.serve('web', (message, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      message.on('data', (chunk) => {
        parts.push(`${chunk}`);
        response.write(`echo ${chunk}`);
      });
      message.on('end', () => response.end('bye'));
    });
    const opened = await net.open();
    const request = ask({ port: portOf(opened), method: 'POST', headers: { host: 'web.example.test' }, agent: false });
    request.flushHeaders();
    const [response] = (await within('the head', once(request, 'response'))) as [IncomingMessage];
    request.write('one');
    expect(`${(await within('one', once(response, 'data')))[0]}`).toBe('echo one');
    request.write('two');
    expect(`${(await within('two', once(response, 'data')))[0]}`).toBe('echo two');
    request.end();
    expect(`${await readAll(response)}`).toBe('bye');
    expect(parts).toEqual(['one', 'two']);
  });

  it('keeps circuits for the next requests', async () => {
    const sockets = new Set<unknown>();
    await net.serve('web', (message, response) => {
      sockets.add(message.socket);
      response.end('ok');
    });
    const opened = await net.open();
    for (let count = 0; count < 5; count++) await net.get(opened, 'web.example.test');
    expect(sockets.size).toBe(1);
    expect(opened.stats()).toMatchObject({
      requests: { open: 0, total: 5, byService: { web: { '2xx': 5 } } },
      circuits: { http1: 1 },
    });
  });

  it('passes trailers of requests and answers', async () => {
    await net.serve('web', async (message, response) => {
      await readAll(message);
      response.writeHead(200, { trailer: 'X-After' });
      response.write('body');
      response.addTrailers({ 'X-After': `got ${message.trailers['x-sum']}` });
      response.end();
    });
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write(
      'POST / HTTP/1.1\r\nHost: web.example.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n' +
        '3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n',
    );
    expect(await readUntil(socket, 'X-After: got 42')).toContain('4\r\nbody\r\n0\r\n');
    socket.destroy();
  });

  it('passes Expect: 100-continue on, and the answer to it', async () => {
    const server = await net.serve('web', () => {});
    server.on('checkContinue', async (message, response) => {
      response.writeContinue();
      response.end(`got ${await readAll(message)}`);
    });
    const opened = await net.open();
    const request = ask({
      port: portOf(opened),
      method: 'POST',
      headers: { host: 'web.example.test', expect: '100-continue', 'content-length': 4 },
      agent: false,
    });
    request.flushHeaders();
    await within('100', once(request, 'continue'));
    expect((await answerTo(request, 'body')).body).toBe('got body');
  });

  it('passes informational answers on', async () => {
    await net.serve('web', (_message, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.end('ok');
    });
    const opened = await net.open();
    const request = ask({ port: portOf(opened), headers: { host: 'web.example.test' }, agent: false });
    const hints = once(request, 'information');
    expect((await answerTo(request)).body).toBe('ok');
    expect((await hints)[0]).toMatchObject({ statusCode: 103, headers: { link: '</style.css>; rel=preload' } });
  });

  it('serves several requests on one connection, also when they come at once', async () => {
    await net.serve('web', (message, response) => response.end(`for ${message.url}`));
    const opened = await net.open();
    const socket = await rawSocket(opened);
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: web.example.test\r\n\r\n`;
    socket.write(get('/1') + get('/2') + get('/3'));
    const text = await readUntil(socket, 'for /3');
    expect(text.indexOf('for /1')).toBeLessThan(text.indexOf('for /2'));
    socket.destroy();
  });

  it('answers HEAD and statuses without a body', async () => {
    await net.serve('web', (message, response) => {
      if (message.url === '/204') response.writeHead(204).end();
      else if (message.url === '/304') response.writeHead(304, { etag: '"x"' }).end();
      else response.writeHead(200, { 'content-length': 7 }).end(message.method === 'HEAD' ? undefined : 'content');
    });
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write('HEAD / HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/content-length: 7/i);
    socket.write('GET /204 HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1.1 204 /);
    socket.write('GET /304 HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1.1 304 /);
    socket.write('GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    expect(await readUntil(socket, 'content')).toMatch(/^HTTP\/1.1 200 /);
    socket.destroy();
  });

  it('serves clients of HTTP/1.0, and closes after the answer', async () => {
    await net.serve('web', (_message, response) => {
      response.writeHead(200, { trailer: 'X-After' });
      response.write('in ');
      response.addTrailers({ 'X-After': '1' });
      response.end('parts');
    });
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write('GET / HTTP/1.0\r\nHost: web.example.test\r\n\r\n');
    const text = await readUntil(socket, 'in parts');
    expect(text).not.toMatch(/transfer-encoding/i);
    await within('the close', once(socket, 'close'));
  });

  it('reports each request', async () => {
    await net.serve('web', (message, response) => {
      message.resume();
      response.writeHead(418).end('short');
    });
    const opened = await net.open();
    const entry = nextAccess(opened);
    await answerTo(
      ask({ port: portOf(opened), method: 'PUT', path: '/x', headers: { host: 'web.example.test' }, agent: false }),
      'abc',
    );
    expect(await entry).toMatchObject({
      method: 'PUT',
      host: 'web.example.test',
      path: '/x',
      version: '1.1',
      status: 418,
      service: 'web',
      nodeId: net.far.id,
      code: undefined,
      bytesIn: 3,
      bytesOut: 5,
      remoteAddress: '127.0.0.1',
    });
  });

  it('ends the request at the service when the client goes', async () => {
    const gone = new Promise<void>((resolve) => {
      void net.serve('web', (_message, response) => {
        response.on('close', () => resolve());
        response.write('begin');
      });
    });
    await within('the service', net.near.waitFor('web'));
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write('GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    await readUntil(socket, 'begin');
    socket.destroy();
    await within('the end at the service', gone);
    expect(opened.stats().requests.open).toBe(0);
  });

  it('makes a service wait whose client does not read', async () => {
    let written = 0;
    let isFull = (): void => {};
    const full = new Promise<void>((resolve) => {
      isFull = resolve;
    });
    await net.serve('web', (_message, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const write = (): void => {
        while (written < 512 * 1024 * 1024) {
          written += chunk.length;
          if (!response.write(chunk)) {
            const timer = setTimeout(isFull, 200);
            response.once('drain', () => {
              clearTimeout(timer);
              write();
            });
            return;
          }
        }
      };
      write();
    });
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n');
    await within('a full service', full);
    expect(written).toBeLessThan(256 * 1024 * 1024);
    socket.destroy();
  });
});
