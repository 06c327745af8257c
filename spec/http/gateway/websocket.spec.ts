// WebSockets through a gateway, with client and server of ws.

import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { describe, expect, it } from '@jest/globals';
import { WebSocket, WebSocketServer } from 'ws';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { gatewayFixture, portOf } from './fixture.js';

const net = gatewayFixture();

function session(port: number): ClientHttp2Session {
  const made = connect(`http://127.0.0.1:${port}`);
  made.on('error', () => {});
  net.finally(() => made.destroy());
  return made;
}

describe('a WebSocket', () => {
  async function serveChat(): Promise<WebSocketServer> {
    const http = await net.serve('chat', (_message, response) => response.writeHead(404).end('no page'));
    const server = new WebSocketServer({ server: http });
    server.on('connection', (socket, message) => {
      socket.send(`hello ${message.url}`);
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    return server;
  }

  function open(port: number, path = '/room'): WebSocket {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers: { host: 'chat.example.test' } });
    net.finally(() => socket.terminate());
    return socket;
  }

  async function message(socket: WebSocket): Promise<string> {
    return `${(await within('a message', once(socket, 'message')))[0]}`;
  }

  it('passes messages both ways, and the close', async () => {
    await serveChat();
    const opened = await net.open();
    const socket = open(portOf(opened));
    expect(await message(socket)).toBe('hello /room');
    socket.send('hi');
    expect(await message(socket)).toBe('hi');
    expect(opened.stats().requests.open).toBe(1);
    const entry = once(opened, 'access');
    const closed = once(socket, 'close');
    socket.close(4001, 'enough');
    expect((await within('the close', closed))[0]).toBe(4001);
    expect((await within('the entry', entry))[0]).toMatchObject({ status: 101, service: 'chat', path: '/room' });
    expect(opened.stats().requests.open).toBe(0);
  });

  it('gets the close of the service with its reason', async () => {
    const server = await serveChat();
    const opened = await net.open();
    const socket = open(portOf(opened));
    await message(socket);
    const closed = once(socket, 'close');
    for (const client of server.clients) client.close(4002, 'over');
    const [code, reason] = await within('the close', closed);
    expect([code, `${reason}`]).toEqual([4002, 'over']);
  });

  it('gets the answer of a service that does not change the protocol', async () => {
    await net.serve('chat', (_message, response) => response.writeHead(404).end('no page'));
    const opened = await net.open();
    const socket = open(portOf(opened));
    socket.on('error', () => {});
    const [, response] = await within('the answer', once(socket, 'unexpected-response'));
    expect(response.statusCode).toBe(404);
    expect(`${await readAll(response)}`).toBe('no page');
  });

  it('gets a page when there is no service', async () => {
    const opened = await net.open({ absentTimeoutMs: 1 });
    const socket = open(portOf(opened));
    socket.on('error', () => {});
    const [, response] = await within('the answer', once(socket, 'unexpected-response'));
    expect(response.statusCode).toBe(404);
    expect(`${await readAll(response)}`).toMatch(/ENOTFOUND/);
  });

  it('works over HTTP/2 as well, by extended CONNECT', async () => {
    await serveChat();
    const opened = await net.open();
    const client = session(portOf(opened));
    const [settings] = await within('the settings', once(client, 'remoteSettings'));
    expect(settings.enableConnectProtocol).toBe(true);
    const stream = client.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':path': '/h2',
        ':authority': 'chat.example.test',
        ':scheme': 'http',
        'sec-websocket-version': '13',
      },
      { endStream: false },
    );
    const [headers] = await within('the answer', once(stream, 'response'));
    expect(headers[':status']).toBe(200);
    const [frame] = await within('a frame', once(stream, 'data'));
    expect(frame.toString('latin1')).toContain('hello /h2');
    stream.close();
  });
});
