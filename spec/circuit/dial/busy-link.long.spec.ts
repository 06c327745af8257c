// Circuits over a link that is so busy that their first bytes have to wait.

import { createHash, randomFillSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { QueuedPrefix } from '../../../lib/circuit/open/pass-through.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { NotingSink } from '../../support/session-fixture.js';
import { readToEnd, type Testnet, testnet } from '../../support/testnet.js';

const MIB = 1024 * 1024;

describe('bytes that a circuit sends ahead of its socket', () => {
  it('are not counted as the socket’s, however they are reported as sent', () => {
    const sink = new NotingSink();
    const stream = {} as MuxStream;
    const prefix = new QueuedPrefix(sink, 10);
    stream.sink = prefix;
    for (const bytes of [4, 5]) prefix[kOnSent](stream, bytes);
    expect([sink.events, stream.sink]).toEqual([[], prefix]);
    prefix[kOnSent](stream, 3);
    expect(sink.events).toEqual(['sent 2']);
    expect(stream.sink).toBe(sink);
  });

  it('hide nothing else from the socket', () => {
    const sink = new NotingSink();
    sink.paused = true;
    const stream = {} as MuxStream;
    const prefix = new QueuedPrefix(sink, 10);
    stream.sink = prefix;
    prefix[kOnData](stream, Buffer.from('abc'));
    prefix[kOnEnd](stream);
    prefix[kOnReset](stream, Object.assign(new Error(), { code: 'X' }), 0);
    expect(sink.events).toEqual(['data 3', 'end', 'reset X']);
  });
});

describe.each(['memory', 'tcp'] as const)('on a link by %s that is filled in both directions', (kind) => {
  let net: Testnet;
  beforeEach(async () => {
    watchHandles();
    net = await testnet(kind);
  });
  afterEach(async () => {
    await net.close();
    await nothingLeft();
  });

  it('dials connect, and every byte and every callback arrives', async () => {
    const { joiner: client, listener: server } = net;
    server.bind('echo', { allowHalfOpen: true }, (socket) => socket.pipe(socket));
    const bulk = randomFillSync(Buffer.alloc(8 * MIB));
    const fillers = Array.from({ length: 4 }, () => {
      const socket = client.dial('echo', { allowHalfOpen: true });
      socket.end(bulk);
      return readToEnd(socket);
    });
    const small = Array.from({ length: 100 }, async (_, index) => {
      const bytes = randomFillSync(Buffer.alloc(index * 1000));
      const socket = client.dial('echo', { allowHalfOpen: true });
      const callbacks: Array<Promise<void>> = [];
      for (let at = 0; at < bytes.length; at += 5000) {
        callbacks.push(new Promise((resolve) => socket.write(bytes.subarray(at, at + 5000), () => resolve())));
      }
      socket.once('connect', () => {
        callbacks.push(new Promise((resolve) => socket.write('more', () => resolve())));
        socket.end();
      });
      const received = await readToEnd(socket);
      await Promise.all(callbacks);
      expect(received.equals(Buffer.concat([bytes, Buffer.from('more')]))).toBe(true);
    });
    await Promise.all(small);
    const sum = createHash('sha256').update(bulk).digest('hex');
    for (const received of await Promise.all(fillers)) {
      expect(createHash('sha256').update(received).digest('hex')).toBe(sum);
    }
  });
});
