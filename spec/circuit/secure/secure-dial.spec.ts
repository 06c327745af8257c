// Dials that are encrypted from end to end, over honest relays and links.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../../lib/index.js';
import { kOnData } from '../../../lib/mux/hidden.js';
import { within } from '../../support/deadline.js';
import { pattern } from '../../support/frames.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RelayNet, type RelayNetOptions } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { turn, turnsUntil } from '../../support/turns.js';

const PORT = 7;

let net: RelayNet;

async function line(relays: number, options?: RelayNetOptions): Promise<void> {
  net = await RelayNet.line(relays, options);
}

function echo(): void {
  net.last.bind(`:${PORT}`, { allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

function dial(options: object = { secure: true }, port = PORT): Socket {
  return net.first.dial(`@${net.last.id}:${port}`, options);
}

/** Both ends of a circuit. */
async function connect(options?: object): Promise<[near: Socket, far: Socket]> {
  const server = net.last.bind(`:${PORT}`, { allowHalfOpen: true });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = dial({ secure: true, allowHalfOpen: true, ...options });
  await within('a connection', once(near, 'connect'));
  const [far] = await within('a connection', accepted);
  for (const socket of [near, far]) socket.on('error', () => {});
  return [near, far];
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

describe('A secure dial', () => {
  it.each([0, 1, 3])('carries bytes both ways over %d relays', async (relays) => {
    await line(relays);
    echo();
    const socket = dial();
    const sent = pattern(1_000_000);
    socket.end(sent);
    expect((await within('the echo', readToEnd(socket))).equals(sent)).toBe(true);
  });

  it.each([0, 1])('shows both ends that it is secure, and who the peer is, over %d relays', async (relays) => {
    await line(relays);
    const [near, far] = await connect();
    const via = relays === 0 ? [] : [net.nodes[1].id];
    expect(near).toMatchObject({ secure: true, verified: true, peer: { id: net.last.id, service: '', via } });
    expect(far).toMatchObject({ secure: true, verified: true, peer: { id: net.first.id, service: '', via } });
    near.destroy();
    expect(near.secure).toBe(true);
  });

  it('to the node itself works like any other', async () => {
    await line(0);
    echo();
    net.first.bind(':8', (socket) => socket.pipe(socket));
    const socket = net.first.dial(':8', { secure: true });
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });

  it('shows nothing of what is written to the relay', async () => {
    await line(1);
    const seen: Buffer[] = [];
    const relay = net.relay(1);
    const splice = relay.splice.bind(relay);
    relay.splice = (...values) => {
      const made = splice(...values);
      const onData = made[kOnData].bind(made);
      made[kOnData] = (stream, chunk) => {
        seen.push(Buffer.from(chunk));
        onData(stream, chunk);
      };
      return made;
    };
    echo();
    const socket = dial();
    socket.end('a secret that nobody should see');
    expect((await readToEnd(socket)).toString()).toBe('a secret that nobody should see');
    const bytes = Buffer.concat(seen);
    // A confirmation, one record of data and an end there; a record of data and an end back.
    expect(bytes).toHaveLength(5 * 20 + 2 * 31);
    expect(bytes.includes('secret')).toBe(false);
  });

  it('needs a request without a secret; else no peer is verified through a relay', async () => {
    await line(1);
    const [near, far] = await connect({ secure: undefined });
    expect([near.secure, near.verified, far.secure, far.verified]).toEqual([false, false, false, false]);
    near.destroy();
    far.destroy();
  });

  it('sends what was written early in order, and nothing of it before the server has answered', async () => {
    await line(1);
    echo();
    const socket = dial();
    for (const part of ['one ', 'two ', 'three']) socket.write(part);
    expect(socket.connecting).toBe(true);
    socket.end();
    expect((await readToEnd(socket)).toString()).toBe('one two three');
  });

  it('takes small writes in one turn', async () => {
    await line(1);
    const [near, far] = await connect();
    const chunks: Buffer[] = [];
    far.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (let index = 0; index < 1000; index++) expect(near.write(`${index} `)).toBe(true);
    const expected = Array.from({ length: 1000 }, (_, index) => `${index} `).join('');
    await turnsUntil('all is there', () => Buffer.concat(chunks).length === expected.length);
    expect(Buffer.concat(chunks).toString()).toBe(expected);
    near.destroy();
    far.destroy();
  });
});

describe('The end of a secure circuit', () => {
  it('is seen by each end for its own half', async () => {
    await line(1);
    const [near, far] = await connect();
    far.end('from the server');
    expect((await readToEnd(near)).toString()).toBe('from the server');
    expect(near.writable).toBe(true);
    near.end('and back');
    expect((await readToEnd(far)).toString()).toBe('and back');
    await turnsUntil('both are closed', () => near.destroyed && far.destroyed);
    await turnsUntil('the relay has forgotten it', () => net.relay(1).counters.circuits === 0);
    expect(net.relay(1).counters.lost).toBe(0);
  });

  it('is a reset when one end resets', async () => {
    await line(1);
    const [near, far] = await connect();
    const failed = once(far, 'error');
    near.resetAndDestroy();
    const [error] = await failed;
    expect(error).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_STREAM_RESET' } });
  });

  it('is seen by an end that still writes when the other has gone', async () => {
    await line(1);
    const [near, far] = await connect();
    near.destroy();
    await readToEnd(far);
    far.write('to nobody');
    const [error] = await within('a reset', once(far, 'error'));
    expect(error).toMatchObject({ code: 'ECONNRESET' });
  });

  it('is no reset when both go at once', async () => {
    await line(1);
    const [near, far] = await connect();
    const errors: Error[] = [];
    for (const socket of [near, far]) socket.on('error', (error) => errors.push(error));
    near.destroy();
    far.destroy();
    await turnsUntil('the relay has forgotten it', () => net.relay(1).counters.circuits === 0);
    expect(errors).toEqual([]);
  });

  it('follows the loss of a link', async () => {
    await line(1);
    const [near, far] = await connect();
    const failed = once(near, 'error');
    net.cut(1, 2);
    const [error] = await failed;
    expect(error).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_LINK_LOST' } });
    await turnsUntil('the other end knows', () => far.destroyed);
  });
});

describe('A secure circuit whose reader is slow', () => {
  it.each([0, 1, 2])('holds back the writer over %d relays, and loses nothing', async (relays) => {
    await line(relays);
    const [near, far] = await connect();
    const block = pattern(64 * 1024);
    let total = 0;
    while (near.writableLength <= block.length) {
      near.write(block);
      total += block.length;
      await turn();
    }
    const held = near.writableLength;
    for (let turns = 0; turns < 200; turns++) await turn();
    // Nothing moves: what is on its way is bounded by windows, whatever was written.
    expect(near.writableLength).toBe(held);
    expect(total).toBeLessThan(4 * 1024 * 1024);
    near.end();
    const received = await within('everything', readToEnd(far), 20_000);
    expect(received.length).toBe(total);
    for (let at = 0; at < total; at += block.length) {
      expect(received.subarray(at, at + block.length).equals(block)).toBe(true);
    }
    far.end();
    near.resume();
  });

  it('goes on however little the reader takes at a time', async () => {
    await line(1);
    const [near, far] = await connect();
    const sent = pattern(300_000);
    near.end(sent);
    const parts: Uint8Array[] = [];
    far.pause();
    let isEnded = false;
    far.once('end', () => {
      isEnded = true;
    });
    await turnsUntil('everything is read', () => {
      const part = far.read(Math.min(977, far.readableLength)) as Buffer | null;
      if (part !== null) parts.push(part);
      return isEnded;
    });
    expect(Buffer.concat(parts).equals(sent)).toBe(true);
    far.end();
    near.resume();
  });
});
