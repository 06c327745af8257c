// Circuits through other nodes, from one end to the other.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { pattern } from '../../support/frames.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RelayNet, type RelayNetOptions } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { TRANSPORTS } from '../../support/transports.js';
import { turn, turnsUntil } from '../../support/turns.js';

const PORT = 7;

let net: RelayNet;

async function line(relays: number, transport: string): Promise<void> {
  const pair: RelayNetOptions['pair'] = async () => {
    const ends = await TRANSPORTS.find(({ name }) => name === transport)?.connect();
    if (ends === undefined) throw new Error(`no transport ${transport}`);
    return [ends.near, ends.far];
  };
  net = await RelayNet.line(relays, transport === 'memory' ? {} : { pair });
}

/** A socket from the first to the last node, and its other end. */
async function connected(options: { allowHalfOpen?: boolean } = {}): Promise<{ near: Socket; far: Socket }> {
  const server = net.last.bind(`:${PORT}`, options);
  const connection = once(server, 'connection') as Promise<[Socket]>;
  const near = net.first.dial(`@${net.last.id}:${PORT}`, options);
  const [[far]] = await within('a circuit', Promise.all([connection, once(near, 'connect')]));
  // The place is free for the next one.
  server.close();
  for (const socket of [near, far]) socket.on('error', () => {});
  return { near, far };
}

function idle(index: number): boolean {
  const { counters, heldBytes, pool } = net.relay(index);
  return counters.circuits === 0 && counters.pending === 0 && heldBytes === 0 && pool.size === 0;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (let index = 0; index < net.nodes.length; index++) {
    expect({ index, idle: idle(index) }).toEqual({ index, idle: true });
    expect(net.nodes[index].stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  }
  await nothingLeft();
});

describe.each([
  [1, 'memory'],
  [3, 'memory'],
  [9, 'memory'],
  [1, 'TCP'],
  [3, 'TCP'],
  [1, 'TLS'],
])('a circuit through %i relays, over %s', (relays, transport) => {
  it('carries an echo, and both ends know each other and the way', async () => {
    await line(relays, transport);
    const { near, far } = await connected();
    far.pipe(far);
    near.write('hello');
    expect(String(await once(near, 'data'))).toBe('hello');
    const via = net.nodes.slice(1, -1).map(({ id }) => id);
    expect(near.peer).toEqual({ id: net.last.id, service: '', via });
    expect(far.peer).toEqual({ id: net.first.id, service: '', via: via.reverse() });
    expect(near.remoteAddress).toBe(`@${net.last.id}`);
    expect(far).toMatchObject({ remoteAddress: `@${net.first.id}`, localPort: PORT, remotePort: near.localPort });
    expect(net.relay(1).counters).toMatchObject({ circuits: 1, pending: 0, opened: 1, refused: 0, lost: 0, bytes: 10 });
    near.end();
    await Promise.all([once(near, 'close'), once(far, 'close')]);
    for (let index = 1; index <= relays; index++) await turnsUntil(`relay ${index} is idle`, () => idle(index));
  });

  it('carries what was written before it was open, once and in order, and much in both directions', async () => {
    await line(relays, transport);
    const bytes = 3_000_000;
    net.last.bind(`:${PORT}`, { allowHalfOpen: true }, (socket) => {
      socket.pipe(socket);
    });
    const near = net.first.dial(`@${net.last.id}:${PORT}`, { allowHalfOpen: true });
    near.write(pattern(1000));
    near.write(pattern(bytes).subarray(1000));
    near.end();
    expect((await within('the echo', readToEnd(near))).equals(pattern(bytes))).toBe(true);
  });

  it('ends one half at a time, from either end', async () => {
    await line(relays, transport);
    for (const first of ['near', 'far'] as const) {
      const ends = await connected({ allowHalfOpen: true });
      const [one, other] = first === 'near' ? [ends.near, ends.far] : [ends.far, ends.near];
      one.end('last words');
      expect((await readToEnd(other)).toString()).toBe('last words');
      await turn();
      expect(other.writable).toBe(true);
      const answer = readToEnd(one);
      other.end(pattern(200_000));
      expect((await answer).equals(pattern(200_000))).toBe(true);
      await turnsUntil('both are closed', () => one.destroyed && other.destroyed);
    }
  });

  it('is reset from either end, which the other one sees', async () => {
    await line(relays, transport);
    const { near, far } = await connected();
    const failed = once(far, 'error');
    near.resetAndDestroy();
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_STREAM_RESET' } });
    const again = await connected();
    const refused = once(again.near, 'error');
    again.far.resetAndDestroy();
    expect((await refused)[0]).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_STREAM_RESET' } });
    for (let index = 1; index <= relays; index++) await turnsUntil(`relay ${index} is idle`, () => idle(index));
  });
});
