// The circuit to one neighbour, by a fake clock: how it ends.

import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { encodeFrame, type Hello } from '../../../lib/messages/broadcast/frames.js';
import { Neighbour } from '../../../lib/messages/broadcast/neighbour.js';
import type { Socket } from '../../../lib/socket/socket.js';
import { Timers } from '../../../lib/util/timers.js';
import { duplexPair } from '../../support/duplex-pair.js';
import { FakeClock } from '../../support/fake-clock.js';

const HELLO: Hello = { kind: 'hello', version: 1, env: '12345678' };

const ANNOUNCEMENT = { origin: 'x'.repeat(16), counter: 1, own: false, hops: 0, heldMs: 0 };

function setup() {
  const clock = new FakeClock();
  const [near, far] = duplexPair();
  const ends: Array<Error | undefined> = [];
  const neighbour = new Neighbour(
    near as unknown as Socket,
    new Timers(clock),
    16_384,
    {
      onHello: () => {},
      onFrame: () => {},
      onReady: () => {},
      onEnd: (fault) => ends.push(fault),
    },
    HELLO,
  );
  for (const chunk of encodeFrame(HELLO)) far.write(chunk);
  return { clock, near, far, ends, neighbour };
}

describe('The circuit to a neighbour', () => {
  it('is gone some time after the neighbour has ended it, also when that reads nothing', async () => {
    const { clock, near, far, ends, neighbour } = setup();
    // More than the other end buffers.
    for (let count = 0; count < 3; count++) {
      neighbour.send({ kind: 'ihave', entries: Array.from({ length: 700 }, () => ANNOUNCEMENT) });
    }
    const ended = once(near, 'end');
    far.end();
    await ended;
    expect(ends).toEqual([undefined]);
    clock.advance(4_999);
    expect(near.destroyed).toBe(false);
    clock.advance(1_000);
    expect(near.destroyed).toBe(true);
    expect(ends).toEqual([undefined]);
  });

  it('is gone some time after it was ended here, also when the neighbour does not end it', () => {
    const { clock, near, ends, neighbour } = setup();
    neighbour.hangUp();
    clock.advance(4_999);
    expect(near.destroyed).toBe(false);
    clock.advance(1_000);
    expect(near.destroyed).toBe(true);
    expect(ends).toEqual([]);
  });
});
