// ws, its server on an http.Server that is bound by name, its client with the option `createConnection`.

import { randomBytes } from 'node:crypto';
import { createServer, type Server as HttpServer, type IncomingMessage } from 'node:http';
import type { Socket as NetSocket } from 'node:net';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { type ClientOptions, createWebSocketStream, type RawData, WebSocket, WebSocketServer } from 'ws';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { standstill } from './standstill.js';

const MIB = 1024 * 1024;

interface Message {
  data: Buffer;
  isBinary: boolean;
}

interface Closing {
  code: number;
  reason: string;
}

function nextMessage(socket: WebSocket): Promise<Message> {
  const message = new Promise<Message>((resolve) => {
    socket.once('message', (data: RawData, isBinary) => resolve({ data: data as Buffer, isBinary }));
  });
  return within('a message', message);
}

function closing(socket: WebSocket): Promise<Closing> {
  const closed = new Promise<Closing>((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  return within('the close', closed);
}

describe('ws', () => {
  const nodes = linkedNodes();
  let http: HttpServer;
  let server: WebSocketServer;
  beforeEach(() => {
    http = createServer((_request, response) => response.writeHead(404).end());
    server = new WebSocketServer({ server: http, perMessageDeflate: { threshold: 0 }, maxPayload: 64 * MIB });
    nodes.listener.bind('chat', http);
  });

  function echo(): void {
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
  }

  function client(options: ClientOptions = {}, path = '/'): WebSocket {
    const socket = new WebSocket(`ws://chat${path}`, {
      perMessageDeflate: false,
      createConnection: () => nodes.netDial('chat'),
      ...options,
    });
    nodes.finally(() => socket.terminate());
    return socket;
  }

  async function connected(options: ClientOptions = {}): Promise<WebSocket> {
    const socket = client(options);
    await within('open', emitted(socket, 'open'));
    return socket;
  }

  /** Both ends of one connection. */
  async function pair(options: ClientOptions = {}): Promise<[near: WebSocket, far: WebSocket]> {
    const accepted = emitted<WebSocket>(server, 'connection');
    const near = await connected(options);
    const far = await within('the connection', accepted);
    for (const end of [near, far]) end.on('error', () => {});
    return [near, far];
  }

  it('carries texts and bytes', async () => {
    echo();
    const socket = await connected();
    socket.send('grüße');
    expect(await nextMessage(socket)).toEqual({ data: Buffer.from('grüße'), isBinary: false });
    const bytes = randomBytes(1000);
    socket.send(bytes);
    expect(await nextMessage(socket)).toEqual({ data: bytes, isBinary: true });
  });

  it('keeps the order of 10,000 messages', async () => {
    echo();
    const socket = await connected();
    const received: string[] = [];
    const all = new Promise<void>((resolve) => {
      socket.on('message', (data: Buffer) => {
        if (received.push(String(data)) === 10_000) resolve();
      });
    });
    const sent = Array.from({ length: 10_000 }, (_, count) => `message ${count}`);
    for (const text of sent) socket.send(text);
    await within('the messages', all);
    expect(received).toEqual(sent);
  });

  it.each([
    ['plain', false],
    ['deflated', true],
  ])('carries %s frames of 1 MiB', async (_name, perMessageDeflate) => {
    echo();
    const socket = await connected({ perMessageDeflate });
    expect(socket.extensions).toBe(perMessageDeflate ? 'permessage-deflate' : '');
    for (const bytes of [randomBytes(MIB), Buffer.alloc(MIB, 'a')]) {
      socket.send(bytes);
      const { data } = await nextMessage(socket);
      expect(data.equals(bytes)).toBe(true);
    }
  });

  it('carries one message of 16 MiB in fragments', async () => {
    echo();
    const socket = await connected();
    const parts = Array.from({ length: 16 }, () => randomBytes(MIB));
    parts.forEach((part, number) => {
      socket.send(part, { fin: number === 15 });
    });
    const { data } = await nextMessage(socket);
    expect(data.equals(Buffer.concat(parts))).toBe(true);
  });

  it('pings and pongs both ways', async () => {
    const [near, far] = await pair();
    for (const [asking, answering] of [
      [near, far],
      [far, near],
    ]) {
      const pinged = emitted<Buffer>(answering, 'ping');
      const answered = emitted<Buffer>(asking, 'pong');
      asking.ping('are you there');
      expect(String(await within('ping', pinged))).toBe('are you there');
      expect(String(await within('pong', answered))).toBe('are you there');
    }
  });

  it('passes codes and reasons of a close, from either end', async () => {
    for (const who of ['near', 'far']) {
      const [near, far] = await pair();
      const ends = [closing(near), closing(far)];
      (who === 'near' ? near : far).close(4001, `${who} leaves`);
      expect(await Promise.all(ends)).toEqual(Array(2).fill({ code: 4001, reason: `${who} leaves` }));
    }
  });

  it('closes with 1006 when the other end is gone without a close', async () => {
    const [near, far] = await pair();
    const end = closing(far);
    near.terminate();
    expect(await end).toEqual({ code: 1006, reason: '' });
  });

  it('closes both ends when the link is lost', async () => {
    const [near, far] = await pair();
    const ends = [closing(near), closing(far)];
    nodes.cut();
    expect(await Promise.all(ends)).toEqual(Array(2).fill({ code: 1006, reason: '' }));
  });

  it('fails with the cause when it cannot connect', async () => {
    server.shouldHandle = (request: IncomingMessage) => request.url === '/';
    const refused = emitted<Error>(client({}, '/elsewhere'), 'error');
    expect(await within('the refusal', refused)).toMatchObject({ message: 'Unexpected server response: 400' });
    const dialled = emitted<Error>(
      client({ createConnection: () => nodes.netDial('nowhere', { timeoutMs: 20 }) }),
      'error',
    );
    expect(await within('no service', dialled)).toMatchObject({ code: 'ENOTFOUND' });
  });

  it('holds back a sender whose messages are not read', async () => {
    const accepted = emitted<NetSocket>(http, 'connection');
    const [near, far] = await pair();
    const carrier = await accepted;
    far.pause();
    const part = randomBytes(MIB);
    for (let count = 0; count < 32; count++) near.send(part);
    let received = 0;
    const all = new Promise<void>((resolve) => {
      far.on('message', (data: Buffer) => {
        received += data.length;
        if (received === 32 * MIB) resolve();
      });
    });
    const [other] = await pair();
    const roundTrip = (): Promise<unknown> => {
      const answered = emitted(other, 'pong');
      other.ping();
      return answered;
    };
    const arrived = await within(
      'the standstill',
      standstill(() => carrier.bytesRead, roundTrip),
    );
    expect(arrived).toBeLessThan(4 * MIB);
    far.resume();
    await within('the messages', all);
  });

  it('reads a stream of messages as a Duplex', async () => {
    const [near, far] = await pair();
    const source = createWebSocketStream(near);
    const sink = createWebSocketStream(far);
    const bytes = randomBytes(4 * MIB);
    const chunks: Buffer[] = [];
    sink.on('data', (chunk: Buffer) => chunks.push(chunk));
    const ended = emitted(sink, 'end');
    source.end(bytes);
    await within('the end', ended);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });
});
