// Sockets that end at any moment of their life leave nothing behind at either end.

import { getEventListeners } from 'node:events';
import type { Socket as NetSocketType } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node } from '../../lib/index.js';
import { sharedTimers } from '../../lib/util/timers.js';
import { within } from '../support/deadline.js';
import { pattern } from '../support/frames.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { type LinkKind, type Testnet, testnet } from '../support/testnet.js';
import { turn } from '../support/turns.js';

const SOCKETS = 10_000;
const AT_A_TIME = 200;

/** Numbers in 0..below-1, the same for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Ways and moments to end a socket, by the end that dialled it. */
const ENDS: ReadonlyArray<(socket: NetSocketType, size: number) => void> = [
  (socket) => socket.destroy(),
  (socket, size) => {
    socket.write(pattern(size));
    socket.destroy();
  },
  (socket) => setImmediate(() => socket.destroy()),
  (socket) => socket.once('connect', () => socket.destroy()),
  (socket) => socket.once('connect', () => socket.resetAndDestroy()),
  (socket) => socket.resetAndDestroy(),
  (socket, size) => {
    socket.once('connect', () => {
      socket.write(pattern(size));
      socket.destroy();
    });
  },
  (socket, size) => {
    socket.write(pattern(size), () => socket.destroy());
  },
  (socket, size) => {
    socket.end(pattern(size), () => socket.destroy());
  },
  (socket, size) => socket.resume().end(pattern(size)),
  (socket, size) => {
    socket.once('data', () => socket.destroy(new Error('enough')));
    socket.end(pattern(size));
  },
  (socket, size) => {
    socket.setTimeout(60_000);
    socket.once('end', () => socket.destroy()).resume();
    socket.end(pattern(size));
  },
];

/** What the other end does with a socket that it accepted. */
const ANSWERS: ReadonlyArray<(socket: NetSocketType) => void> = [
  (socket) => socket.pipe(socket),
  (socket) => socket.destroy(),
  (socket) => socket.resetAndDestroy(),
  (socket) => socket.resume().end('bye'),
  (socket) => socket.once('data', () => socket.destroy()),
  (socket) => socket.resume().once('end', () => socket.end()),
];

let net: Testnet;
beforeEach(watchHandles);
afterEach(async () => {
  await net.close();
  await nothingLeft();
});

/** Unlike events.once, an error before it is no failure. */
function closeOf(socket: { once(event: 'close', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => socket.once('close', resolve));
}

function leftAt(node: Node): object {
  const { streams, dials, servers, holds } = node.stats();
  return { streams, pending: dials.pending, openSockets: servers.openSockets, holds };
}

describe.each(['memory', 'tcp'] as const)('10,000 sockets over a link (%s)', (kind: LinkKind) => {
  it.each(['dial', 'node.net'])(
    'by %s, that end at any moment, leave nothing behind',
    async (how) => {
      const seed = 7;
      const random = numbers(seed);
      net = await testnet(kind);
      const { joiner, listener } = net;
      const accepted: Array<Promise<unknown>> = [];
      const server = listener.bind('churn', (socket) => {
        socket.on('error', () => {});
        accepted.push(closeOf(socket));
        ANSWERS[random(ANSWERS.length)]?.(socket as unknown as NetSocketType);
      });
      await joiner.waitFor('churn');
      const timersBefore = sharedTimers.size;
      const before = [leftAt(joiner), leftAt(listener)];
      const { signal } = new AbortController();
      const emitters = [joiner, listener, server];
      const listenersBefore = emitters.map((emitter) => emitter.eventNames().length);

      let closed = 0;
      for (let begun = 0; begun < SOCKETS; begun += AT_A_TIME) {
        const batch = Array.from({ length: AT_A_TIME }, () => {
          const socket =
            how === 'dial'
              ? (joiner.dial('churn', { signal }) as unknown as NetSocketType)
              : joiner.net.connect({ port: 1 + random(1_000_000), host: 'churn', signal } as never);
          socket.on('error', () => {});
          const end = closeOf(socket).then(() => closed++);
          ENDS[random(ENDS.length)]?.(socket, 1 + random(random(10) === 0 ? 400_000 : 2_000));
          return end;
        });
        await within(`the end of a batch, seed ${seed}`, Promise.all(batch));
      }
      expect(closed).toBe(SOCKETS);
      // The far end notices it with the next bytes.
      await within('the end of the accepted ones', Promise.all(accepted));
      await within(
        'the end of the streams',
        (async () => {
          while (joiner.stats().streams.links + listener.stats().streams.links > 0) await turn();
        })(),
      );
      expect([leftAt(joiner), leftAt(listener)]).toEqual(before);
      expect(getEventListeners(signal, 'abort')).toHaveLength(0);
      expect(emitters.map((emitter) => emitter.eventNames().length)).toEqual(listenersBefore);
      // Each link has a few streams for itself, which come and go; none belongs to a socket.
      expect(sharedTimers.size).toBeLessThan(timersBefore + 10);
      expect(accepted.length).toBeGreaterThan(SOCKETS / 4);
    },
    60_000,
  );
});
