// Callers that do not behave: what they take from the port of queries is bounded, and others are answered meanwhile.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import { sendJson } from '../../../lib/node/queries/api.js';
import {
  ANSWER_MS,
  IDLE_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_CALLER,
  MAX_HEADER_BYTES,
  QueryPort,
  RATE,
  REQUEST_MS,
} from '../../../lib/node/queries/port.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { knows, readToEnd } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const HEALTH = 'GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n';

let asked: Node;
let bad: Node;
let good: Node;

beforeEach(async () => {
  asked = createNode({ closeTimeoutMs: 50 });
  bad = createNode({ closeTimeoutMs: 50 });
  good = createNode({ closeTimeoutMs: 50 });
  await link(bad, asked);
  await link(good, asked);
});

afterEach(() => Promise.all([asked, bad, good].map((node) => node.close())));

async function link(one: Node, other: Node): Promise<void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
}

function dial(node = bad): Socket {
  return node.dial(`@${asked.id}:2`).on('error', () => {});
}

async function exchange(text: string): Promise<string> {
  const socket = dial();
  socket.write(text);
  return (await readToEnd(socket)).toString();
}

function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

async function expectGoodIsAnswered(): Promise<void> {
  expect(await good.query(`@${asked.id}`, '/v1/health')).toMatchObject({ id: asked.id });
}

describe('a request', () => {
  it('with large headers is refused, and its connection ends', async () => {
    const text = await exchange(`GET /v1/health HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(2 * MAX_HEADER_BYTES)}\r\n\r\n`);
    expect(statuses(text)).toEqual([431]);
    await expectGoodIsAnswered();
  });

  it('that is no HTTP is refused', async () => {
    expect(statuses(await exchange('\x16\x03\x01 hello\r\n\r\n'))).toEqual([400]);
  });

  it.each([
    ['content-length: 5', 'hello'],
    ['transfer-encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
  ])('with a body (%s) is refused, and nothing of the body is read', async (header, body) => {
    const text = await exchange(`GET /v1/health HTTP/1.1\r\nhost: x\r\n${header}\r\n\r\n${body}`);
    expect(statuses(text)[0]).toBe(413);
    expect(text).toContain('connection: close');
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('with the method %s is refused', async (method) => {
    const text = await exchange(`${method} /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    expect(statuses(text)).toEqual([405]);
  });

  it('for a tunnel, or another protocol, opens nothing', async () => {
    const socket = dial();
    socket.write('CONNECT other:80 HTTP/1.1\r\nhost: other:80\r\n\r\n');
    expect((await readToEnd(socket)).length).toBe(0);
    const upgrade = 'GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n';
    expect(statuses(await exchange(upgrade))).toEqual([200]);
  });
});

describe('one caller', () => {
  it('gets 429 for most of thousands of requests, while another is answered', async () => {
    const socket = dial();
    const all = readToEnd(socket);
    const last = HEALTH.replace('host', 'connection: close\r\nhost');
    socket.write(HEALTH.repeat(2_999) + last);
    await expectGoodIsAnswered();
    const seen = statuses((await all).toString());
    const answered = seen.filter((status) => status === 200).length;
    expect(new Set(seen)).toEqual(new Set([200, 429]));
    expect(answered).toBeGreaterThanOrEqual(RATE.burst);
    // Those of some seconds, if the machine is slow.
    expect(answered).toBeLessThan(RATE.burst + 20 * RATE.perS);
    expect(seen).toHaveLength(3_000);
  });

  it('has its limit for all of its connections', async () => {
    const sockets = Array.from({ length: MAX_CONNECTIONS_PER_CALLER }, () => dial());
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const text = await exchange(HEALTH);
    expect(statuses(text)).toEqual([429]);
    expect(text).toContain(`more than ${MAX_CONNECTIONS_PER_CALLER} connections`);
    await expect(bad.query(`@${asked.id}`, '/v1/health')).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
    await expectGoodIsAnswered();
    sockets[0].destroy();
    await once(sockets[0], 'close');
    expect(statuses(await exchange(HEALTH.replace('host', 'connection: close\r\nhost')))).toEqual([200]);
  });

  it('does not take the places of others by connections that are refused', async () => {
    const sockets = Array.from({ length: 3 * MAX_CONNECTIONS }, () => dial());
    await Promise.all(sockets.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])));
    await expectGoodIsAnswered();
    for (const socket of sockets) socket.destroy();
  });
});

describe('time', () => {
  let clock: FakeClock;
  let port: QueryPort;

  beforeEach(async () => {
    clock = new FakeClock();
    port = new QueryPort(new Timers(clock), (request, response) => {
      if (request.url === '/large') sendJson(response, 200, 'x'.repeat(8 * 1024 * 1024));
      else if (request.url !== '/never') sendJson(response, 200, {});
    });
    asked.bind('clocked', (socket) => port.onSocket(socket));
    await knows(bad, 'clocked');
  });

  async function open(): Promise<Socket> {
    const socket = bad.dial('clocked').on('error', () => {});
    await once(socket, 'connect');
    await turnsUntil('the port has it', () => port.size === 1);
    return socket;
  }

  it('ends a connection that sends its first request too slowly', async () => {
    const socket = await open();
    const closed = once(socket, 'close');
    for (const part of ['GET / HTTP/1.1\r\n', 'host: x\r\n', 'a: b\r\n']) {
      socket.write(part);
      clock.advance(REQUEST_MS / 4);
    }
    expect(port.size).toBe(1);
    clock.advance(REQUEST_MS / 4 + 20);
    socket.resume();
    await closed;
    expect(port.size).toBe(0);
  });

  it('ends a connection that asks no more', async () => {
    const socket = await open();
    socket.write(HEALTH);
    await once(socket, 'data');
    await turnsUntil('it waits for the next', () => Math.abs(clock.dueMs - clock.now() - IDLE_MS) < 50);
    clock.advance(IDLE_MS - 100);
    expect(port.size).toBe(1);
    clock.advance(200);
    await turnsUntil('it has ended', () => port.size === 0);
  });

  it('ends a connection whose answer nobody reads', async () => {
    const socket = await open();
    socket.write('GET /large HTTP/1.1\r\nhost: x\r\n\r\n');
    await turnsUntil('the answer is begun', () => socket.readableLength > 0);
    // What the window holds has left by then.
    for (let turn = 0; turn < 3; turn++) {
      clock.advance(ANSWER_MS + 20);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await turnsUntil('it has ended', () => port.size === 0);
  });

  it('waits for an answer that takes long', async () => {
    const socket = await open();
    socket.write('GET /never HTTP/1.1\r\nhost: x\r\n\r\n');
    await turnsUntil('the request is there', () => Math.abs(clock.dueMs - clock.now() - ANSWER_MS) < 50);
    clock.advance(3 * ANSWER_MS);
    expect(port.size).toBe(1);
    socket.destroy();
    await turnsUntil('it has ended', () => port.size === 0);
  });

  it('ends idle connections at once when the node drains', async () => {
    await open();
    port.drain();
    await turnsUntil('it has ended', () => port.size === 0);
  });
});
