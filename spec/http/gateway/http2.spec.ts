// HTTP/2 without TLS through a gateway, and a gateway that is used through the mesh.

import { once } from 'node:events';
import { type ClientHttp2Session, connect, createServer as createHttp2Server } from 'node:http2';
import type { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Agent, fetch } from 'undici';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { exchange } from '../exchange.js';
import { gatewayFixture, portOf } from './fixture.js';

const net = gatewayFixture();

function session(port: number): ClientHttp2Session {
  const made = connect(`http://127.0.0.1:${port}`);
  made.on('error', () => {});
  net.finally(() => made.destroy());
  return made;
}

describe('HTTP/2 without TLS', () => {
  it('shares the port with HTTP/1.1', async () => {
    await net.serve('web', async (message, response) => {
      const body = await readAll(message);
      response.setHeader('x-cookies', message.headers.cookie ?? '');
      response.end(`${message.httpVersion} ${message.headers.host} ${message.url} ${body}`);
    });
    const opened = await net.open();
    const stream = session(portOf(opened)).request({
      ':method': 'POST',
      ':path': '/p?q',
      ':authority': 'web.example.test',
      cookie: ['a=1', 'b=2'],
    });
    const response = once(stream, 'response');
    stream.end('abc');
    const body = `${await within('the body', readAll(stream))}`;
    expect((await response)[0]).toMatchObject({ ':status': 200, 'x-cookies': 'a=1; b=2' });
    expect(body).toBe('1.1 web.example.test /p?q abc');
    expect((await net.get(opened, 'web.example.test')).body).toBe('1.1 web.example.test / ');
  });

  it('carries many requests at once, and trailers', async () => {
    await net.serve('web', async (message, response) => {
      await readAll(message);
      response.writeHead(200, { trailer: 'x-after' });
      response.addTrailers({ 'x-after': `${message.url}` });
      response.end('ok');
    });
    const opened = await net.open();
    const client = session(portOf(opened));
    const ask = async (path: string): Promise<unknown> => {
      const stream = client.request({ ':path': path, ':authority': 'web.example.test' });
      const trailers = once(stream, 'trailers');
      await readAll(stream);
      return (await within('the trailers', trailers))[0]['x-after'];
    };
    const paths = Array.from({ length: 50 }, (_, index) => `/${index}`);
    expect(await Promise.all(paths.map(ask))).toEqual(paths);
  });

  it('ends the request at the service when a stream is cancelled', async () => {
    let isGone: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      isGone = resolve;
    });
    await net.serve('web', (_message, response) => {
      response.on('close', isGone);
      response.write('begin');
    });
    const opened = await net.open();
    const stream = session(portOf(opened)).request({ ':path': '/', ':authority': 'web.example.test' });
    stream.on('error', () => {});
    await within('data', once(stream, 'data'));
    stream.close(8);
    await within('the end at the service', gone);
  });

  it('answers the request to upgrade to it by HTTP/1.1, as a client that asks so must accept', async () => {
    await net.serve('web', async (message, response) => response.end(`${await readAll(message)}`));
    const opened = await net.open();
    const headers = {
      host: 'web.example.test',
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
    };
    const answer = await exchange({ port: portOf(opened), method: 'POST', headers, agent: false }, {}, 'body');
    expect(answer.body).toBe('body');
  });
});

describe('through the mesh', () => {
  it('a node uses a gateway that is bound as a service, and the backend learns which node it is', async () => {
    await net.serve('web', (message, response) => {
      const { 'starlane-peer-id': id, 'starlane-peer-verified': verified, forwarded } = message.headers;
      response.end(JSON.stringify({ id, verified, forwarded, for: message.headers['x-forwarded-for'] }));
    });
    await net.open({ listen: { service: 'edge' } });
    await within('the gateway', net.far.waitFor('edge'));
    const socket = net.far.dial('edge');
    const answer = await exchange('http://web.example.test/', {
      createConnection: () => socket as unknown as NetSocket,
      headers: { host: 'web.example.test' },
    });
    expect(JSON.parse(answer.body)).toEqual({
      id: net.far.id,
      verified: 'true',
      forwarded: `for=_${net.far.id};host="web.example.test";proto=http`,
    });
  });

  it('speaks HTTP/2 there too', async () => {
    await net.serve('web', (message, response) => response.end(`for ${message.headers['starlane-peer-id']}`));
    await net.open({ listen: { service: 'edge' } });
    await within('the gateway', net.far.waitFor('edge'));
    const client = connect('http://web.example.test', {
      createConnection: () => net.far.dial('edge') as unknown as Duplex,
    });
    net.finally(() => client.destroy());
    const stream = client.request({ ':path': '/' });
    expect(`${await within('the body', readAll(stream))}`).toBe(`for ${net.far.id}`);
  });
});

it('fetch of undici works against a gateway by name', async () => {
  await net.serve('web', async (message, response) => response.end(`${message.method} ${await readAll(message)}`));
  const opened = await net.open({ default: 'web' });
  const answer = await fetch(`http://127.0.0.1:${portOf(opened)}/`, {
    method: 'POST',
    body: 'hello',
    dispatcher: new Agent({ keepAliveTimeout: 1 }),
  });
  expect(await answer.text()).toBe('POST hello');
});

it('a service that speaks HTTP/2 without TLS gets requests so by a rule', async () => {
  const server = createHttp2Server((message, response) => response.end(`${message.httpVersion} ${message.url}`));
  net.far.bind('two', server as never);
  await net.near.waitFor('two');
  const opened = await net.open({ hosts: { 'h2.test': { services: 'two', protocol: 'h2c' } } });
  expect((await net.get(opened, 'h2.test', '/x')).body).toBe('2.0 /x');
});
