// Whole nodes on links with a round trip of 300 ms, in virtual time: how many round trips a link and a dial take.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { NodeOptions } from '../../../lib/index.js';
import { FakeClock } from '../../support/fake-clock.js';
import { lossyPair } from '../../support/lossy-pair.js';
import { RelayNet } from '../../support/relay-net.js';
import { turn } from '../../support/turns.js';

const RTT_MS = 300;
const BYTES_PER_MS = 12_500;
const KINDS: ReadonlyArray<readonly [string, NodeOptions]> = [
  ['plain circuits', {}],
  ['circuits that are encrypted from end to end', { secret: 'around the world' }],
];

let clock: FakeClock;
let net: RelayNet | undefined;
let links: number;

beforeEach(() => {
  clock = new FakeClock();
  links = 0;
});

afterEach(() => net?.close());

/** Lets time pass from one arrival to the next until it is done. */
async function passUntil<T>(done: Promise<T>): Promise<T> {
  let isDone = false;
  const note = (): void => {
    isDone = true;
  };
  done.then(note, note);
  for (;;) {
    await turn();
    if (isDone) return done;
    if (clock.dueMs < Number.POSITIVE_INFINITY) clock.advance(Math.max(0, clock.dueMs - clock.now()));
  }
}

function lineOf(relays: number, node: NodeOptions): Promise<RelayNet> {
  const pair = (): ReturnType<typeof lossyPair> =>
    lossyPair(clock, { rttMs: RTT_MS, bytesPerMs: BYTES_PER_MS, seed: ++links });
  return passUntil(RelayNet.line(relays, { node, pair }));
}

/** What a dial from one end to the other takes, and then an echo, in round trips from end to end. */
async function dial({ first, last }: RelayNet, relays: number): Promise<{ connected: number; echoed: number }> {
  const roundTripMs = (relays + 1) * RTT_MS;
  const start = clock.now();
  const socket = first.dial(`@${last.id}:7`);
  await passUntil(once(socket, 'connect'));
  const connectedMs = clock.now() - start;
  socket.write('hello');
  await passUntil(once(socket, 'data'));
  const echoedMs = clock.now() - start;
  socket.destroy();
  return { connected: connectedMs / roundTripMs, echoed: echoedMs / roundTripMs };
}

describe('a link at 300 ms', () => {
  it.each(KINDS)('is in sync at both ends after three and a half round trips, with %s', async (_kind, options) => {
    const start = clock.now();
    net = await lineOf(0, options);
    // TCP and TLS are done by then, within a timeout of their own: four of the default five seconds are left for losses.
    expect((clock.now() - start) / RTT_MS).toBeLessThanOrEqual(3.6);
  });
});

for (const [kind, options] of KINDS) {
  describe(`a dial at 300 ms, with ${kind}`, () => {
    for (const [way, relays] of [
      ['a direct link', 0],
      ['one relay', 1],
      ['three relays', 3],
    ] as const) {
      it(`is connected over ${way} after at most two and a half round trips from end to end`, async () => {
        net = await lineOf(relays, options);
        net.last.bind(':7', (socket) => socket.pipe(socket));
        const { connected, echoed } = await dial(net, relays);
        expect(connected).toBeLessThanOrEqual(2.5);
        expect(echoed).toBeLessThanOrEqual(3.5);
      });
    }
  });
}
