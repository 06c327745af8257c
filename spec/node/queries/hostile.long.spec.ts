// Callers that do not behave: what they take from the port of queries is bounded, and others are answered meanwhile.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import { sendJson } from '../../../lib/node/queries/api.js';
import { Bulk } from '../../../lib/node/queries/bulk.js';
import {
  ANSWER_MS,
  IDLE_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_CALLER,
  MAX_HEADER_BYTES,
  MAX_WAITING_BYTES,
  QueryPort,
  RATE,
  REQUEST_MS,
} from '../../../lib/node/queries/port.js';
import { CallerWork, WORK_OF_ALL } from '../../../lib/node/queries/work.js';
import { Timers } from '../../../lib/util/timers.js';
import { TokenBucket } from '../../../lib/util/token-bucket.js';
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

describe('work', () => {
  it('of one caller is bounded, and does not stop what neighbours need', () => {
    const timers = new Timers(new FakeClock());
    const all = new TokenBucket(WORK_OF_ALL);
    const one = new CallerWork(timers, all);
    for (let count = 0; count < 9; count++) one.charge(100);
    expect(one.isSpent).toBeUndefined();
    one.charge(200);
    expect(one.isSpent).toBe('caller');
    const other = new CallerWork(timers, all);
    expect(other.isSpent).toBeUndefined();
    other.charge(900);
    expect(new CallerWork(timers, all).isSpent).toBe('all');
  });

  it('that is used up gets 429 or 503, but for what every node may ask', async () => {
    const asks = async (isSpent: 'caller' | 'all', url: string): Promise<number> => {
      const handler = asked.queries.handler();
      const server = createServer((request, response) => handler(request, response, { isSpent, charge: () => {} }));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${url}`);
      await answer.text();
      server.closeAllConnections();
      server.close();
      return answer.status;
    };
    expect(await asks('caller', '/v1/topology')).toBe(429);
    expect(await asks('all', '/v1/source')).toBe(503);
    expect(await asks('all', '/v1/health')).toBe(200);
    expect(await asks('all', `/v1/hop?to=${bad.id}`)).toBe(200);
  });

  it('is charged to the one who asks', async () => {
    const handler = asked.queries.handler();
    let charges = 0;
    const port = new QueryPort(new Timers(), (request, response, work) => {
      const charge = (tookMs: number): void => {
        charges++;
        work?.charge(tookMs);
      };
      handler(request, response, { isSpent: work?.isSpent, charge });
    });
    asked.bind('charged', (socket) => port.onSocket(socket));
    await knows(bad, 'charged');
    const socket = bad.dial('charged').on('error', () => {});
    socket.write(HEALTH.replace('host', 'connection: close\r\nhost'));
    expect(statuses((await readToEnd(socket)).toString())).toEqual([200]);
    expect(charges).toBe(2);
  });

  it('for answers that nobody reads ends when too much waits', async () => {
    const port = new QueryPort(new Timers(), (_request, response) =>
      sendJson(response, 200, 'x'.repeat(MAX_WAITING_BYTES / 4)),
    );
    asked.bind('large', (socket) => port.onSocket(socket));
    await knows(bad, 'large');
    const socket = bad.dial('large').on('error', () => {});
    socket.write(HEALTH.repeat(20) + HEALTH.replace('host', 'connection: close\r\nhost'));
    const seen = statuses((await readToEnd(socket)).toString());
    expect(seen.filter((status) => status === 200).length).toBeLessThanOrEqual(6);
    expect(seen.filter((status) => status === 503).length).toBeGreaterThanOrEqual(15);
  });

  it('of those who read bulk ends when the node drains', async () => {
    const bulk = new Bulk();
    const server = createServer((_request, response) => bulk.send(response, 1024 * 1024 * 1024, false));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    bulk.end();
    await expect(answer.arrayBuffer()).rejects.toThrow();
    server.close();
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
