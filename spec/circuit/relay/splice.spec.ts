// Open circuits, at the relay: data, credit, half-close and reset are passed on, memory is bounded, and no circuit waits for another.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RelayLimits } from '../../../lib/circuit/relay/limits.js';
import { ResetReason } from '../../../lib/mux/stream/resets.js';
import { ReplyCode } from '../../../lib/wire/open-reply.js';
import { pattern } from '../../support/frames.js';
import { type ManualNeighbour, type ManualStream, nodeIdOf, RelayFixture } from '../../support/relay-fixture.js';
import { turn, turnsUntil } from '../../support/turns.js';

const KIB = 1024;
const WINDOW = 64 * KIB;
const D = nodeIdOf('D');

let relay: RelayFixture;
let from: ManualNeighbour;
let to: ManualNeighbour;

function start(limits: Partial<RelayLimits> = {}): void {
  // Each neighbour leads to itself.
  relay = new RelayFixture({ nextHops: (dst) => [dst] }, limits);
  from = relay.link('P');
  to = relay.link('D');
}

beforeEach(() => start());
afterEach(() => relay.close());

async function turns(count: number): Promise<void> {
  for (let done = 0; done < count; done++) await turn();
}

/** A circuit whose far end does not read. */
async function stuck(written: number): Promise<{ near: ManualStream; far: ManualStream }> {
  const ends = await relay.circuit(from, to);
  ends.far.paused = true;
  ends.near.stream.write(pattern(written));
  return ends;
}

/** A circuit whose far end has got a window and does not read: what is written from here on, the relay holds. */
async function filled(): Promise<{ near: ManualStream; far: ManualStream }> {
  const ends = await stuck(WINDOW);
  await turnsUntil('a window is with the far end', () => ends.far.received.length > WINDOW - KIB);
  return ends;
}

describe('An open circuit', () => {
  it('carries everything in order, in both directions, in pieces of all sizes', async () => {
    const { near, far } = await relay.circuit(from, to);
    const bytes = pattern(2_000_000);
    for (let at = 0, size = 1; at < bytes.length; at += size, size = ((size * 7) % 70_001) + 1) {
      near.stream.write(bytes.subarray(at, at + size));
      far.stream.write(bytes.subarray(at, at + size));
      if (size % 3 === 0) await turn();
    }
    await turnsUntil('all has arrived', () => near.data.length >= bytes.length && far.data.length >= bytes.length);
    expect(near.data.equals(bytes)).toBe(true);
    expect(far.data.equals(bytes)).toBe(true);
    expect(relay.relay.heldBytes).toBe(0);
    expect(relay.relay.counters.bytes).toBe(2 * bytes.length);
  });

  it('gives credit for what the onward link has taken, and for nothing else', async () => {
    const { near, far } = await stuck(300 * KIB);
    await turns(20);
    // A window is with the far end, which does not read, and a window with the relay.
    expect(far.received.length).toBe(WINDOW);
    expect(relay.relay.heldBytes).toBeLessThanOrEqual(WINDOW);
    expect(near.stream.queuedBytes).toBeGreaterThanOrEqual(300 * KIB - 2 * WINDOW);
    far.paused = false;
    far.stream.consumed(far.received.length);
    await turnsUntil('all has arrived', () => far.data.length === 300 * KIB);
    expect(far.data.equals(pattern(300 * KIB))).toBe(true);
  });

  it('gives none while the onward link takes nothing, and stops no other circuit', async () => {
    const other = relay.link('A');
    const { near, far } = await relay.circuit(from, to);
    const free = await relay.circuit(from, other);
    to.duplex.pause();
    for (let written = 0; written < 40; written++) near.stream.write(pattern(50_000));
    await turns(50);
    expect(far.data.length).toBe(0);
    expect(relay.relay.heldBytes).toBeLessThanOrEqual(WINDOW);
    free.near.stream.write(pattern(1_000_000));
    free.far.stream.write(pattern(1_000_000));
    await turnsUntil('the other circuit goes on', () => free.far.data.length + free.near.data.length === 2_000_000);
    to.duplex.resume();
    await turnsUntil('so does this one', () => far.data.length === 2_000_000);
  });

  it('keeps no more of a slow circuit than its windows, in whatever pieces it is sent', async () => {
    const { near, far } = await stuck(2 * WINDOW);
    await turns(5);
    const other = await relay.circuit(from, to);
    far.stream.consumed(far.received.length);
    await turns(5);
    // Between what goes on at once, in the same chunks of the link.
    const bytes = pattern(50_000);
    for (let at = 0; at < bytes.length; at += 10) {
      near.stream.write(bytes.subarray(at, at + 10));
      other.near.stream.write(pattern(1000));
      if (at % 1000 === 0) await turn();
    }
    await turns(30);
    expect(relay.relay.heldBytes).toBeGreaterThan(40_000);
    expect(relay.relay.heldBytes).toBeLessThanOrEqual(WINDOW);
    const [queued, ...others] = relayStreams(to).filter(({ queuedBytes }) => queuedBytes > 0);
    expect(others).toEqual([]);
    const pieces = Reflect.get(Reflect.get(queued, 'queue') as object, 'pieces') as Array<{ bytes: Buffer }>;
    expect(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(2.5 * WINDOW);
    far.paused = false;
    far.stream.consumed(far.stream.unreadBytes);
    await turnsUntil('all has arrived', () => far.data.length === 2 * WINDOW + bytes.length);
    expect(far.data.subarray(2 * WINDOW).equals(bytes)).toBe(true);
  });

  it('ends one half after what was sent before, and the other goes on', async () => {
    const { near, far } = await stuck(200_000);
    near.stream.end();
    await turns(20);
    expect(far.events).not.toContain('end');
    far.stream.write(Buffer.from('still here'));
    await turnsUntil('the other half goes on', () => String(near.data) === 'still here');
    far.paused = false;
    far.stream.consumed(far.received.length);
    await turnsUntil('it has ended', () => far.events.includes('end'));
    expect(far.data.equals(pattern(200_000))).toBe(true);
    expect(relay.relay.counters.circuits).toBe(1);
    far.stream.end();
    await turnsUntil('nothing is left', () => relay.isIdle);
    expect(near.events.at(-1)).toBe('end');
    expect(relay.relay.counters.lost).toBe(0);
  });

  it('ends when both halves have ended, whichever stream is the last to close', async () => {
    for (const order of ['near', 'far', 'both']) {
      const { near, far } = await stuck(order === 'both' ? 10 : 200_000);
      near.stream.end();
      if (order !== 'near') far.stream.end();
      await turns(10);
      far.paused = false;
      far.stream.consumed(far.received.length);
      await turnsUntil('the far half has ended', () => far.events.includes('end'));
      if (order === 'near') far.stream.end();
      await turnsUntil('nothing is left', () => relay.isIdle);
      expect(near.events).toContain('end');
      expect(far.data.length).toBe(order === 'both' ? 10 : 200_000);
      expect(from.relayEnd.unreadBytes + to.relayEnd.unreadBytes).toBe(0);
      expect(from.relayEnd.streamCount + to.relayEnd.streamCount).toBe(0);
    }
  });

  it('delivers what its sender had ended before the link to the sender was lost', async () => {
    const { near, far } = await stuck(150_000);
    far.stream.end();
    near.stream.end();
    await turns(5);
    far.stream.consumed(far.received.length);
    await turnsUntil('the relay has all of it', () => from.relayEnd.streamCount === 0);
    from.session.destroy();
    await turns(5);
    far.paused = false;
    far.stream.consumed(far.stream.unreadBytes);
    await turnsUntil('it has ended', () => far.events.includes('end'));
    expect(far.data.equals(pattern(150_000))).toBe(true);
    expect(relay.isIdle).toBe(true);
  });

  it('ends with its last link, though that has confirmed nothing', async () => {
    const { near, far } = await relay.circuit(from, to);
    to.duplex.pause();
    far.stream.end();
    await turns(5);
    near.stream.write(pattern(60_000));
    near.stream.end();
    await turns(5);
    to.session.destroy();
    await turnsUntil('nothing is left', () => relay.isIdle);
    expect(from.relayEnd.unreadBytes).toBe(0);
  });

  it('is reset in both directions by either end, and drops what waits', async () => {
    for (const first of ['near', 'far'] as const) {
      const ends = await stuck(200_000);
      await turns(5);
      const [one, other] = first === 'near' ? [ends.near, ends.far] : [ends.far, ends.near];
      one.stream.reset();
      await turnsUntil('the other end hears', () => other.reasons.length === 1);
      expect(other.events.at(-1)).toBe('reset ERR_STARLANE_STREAM_RESET');
      expect(other.reasons).toEqual([ResetReason.NONE]);
      expect(relay.isIdle).toBe(true);
    }
    expect(relay.relay.counters.lost).toBe(0);
  });

  it.each([
    ['the near end', 'resets it', ResetReason.NONE],
    ['the far end', 'resets it', ResetReason.NONE],
    ['the near end', 'loses its link', 0x101],
    ['the far end', 'loses its link', 0x101],
  ])('delivers what %s has sent and ended, though it %s before all of it is read', async (who, how, reason) => {
    const [sender, reader] = who === 'the near end' ? ['near', 'far'] : ['far', 'near'];
    const ends = (await relay.circuit(from, to)) as Record<string, ManualStream>;
    const [one, other] = [ends[sender], ends[reader]];
    other.paused = true;
    const repliedBytes = other.received.length - other.data.length;
    one.stream.write(pattern(90 * KIB));
    one.stream.end();
    await turnsUntil('the relay has all of it', () => relayStreams(sender === 'near' ? from : to)[0].readEnded);
    // Data that no end reads any more is dropped, and gets no credit.
    other.stream.write(pattern(10 * KIB));
    if (how === 'resets it') one.stream.reset();
    else (sender === 'near' ? from : to).session.destroy();
    await turns(10);
    expect(other.events).not.toContain('end');
    expect(relay.relay.heldBytes).toBeGreaterThan(20 * KIB);
    other.stream.write(pattern(10 * KIB));
    other.paused = false;
    other.stream.consumed(other.received.length - repliedBytes);
    await turnsUntil('the reset follows', () => other.reasons.length === 1);
    expect(other.data.equals(pattern(90 * KIB))).toBe(true);
    expect(other.events.slice(-2)).toEqual(['end', expect.stringContaining('reset')]);
    expect(other.reasons).toEqual([reason]);
    expect(relay.isIdle).toBe(true);
  });

  it.each([ResetReason.REVOKED, ResetReason.EXPIRED])('ends at once with reason %d, whatever waits', async (reason) => {
    const { near, far } = await stuck(90 * KIB);
    near.stream.end();
    await turnsUntil('the relay has all of it', () => relayStreams(from)[0].readEnded);
    near.stream.reset(reason);
    await turnsUntil('it is reset', () => far.reasons.length === 1);
    expect(far.reasons).toEqual([reason | 0x100]);
    expect(far.events).not.toContain('end');
    expect(relay.isIdle).toBe(true);
  });

  it('waits a limited time for a reader that does not read what was ended before the reset', async () => {
    await relay.close();
    start({ drainTimeoutMs: 1000 });
    const { near, far } = await stuck(90 * KIB);
    near.stream.end();
    await turnsUntil('the relay has all of it', () => relayStreams(from)[0].readEnded);
    near.stream.reset();
    await turns(10);
    await relay.pass(600);
    // Each byte that is taken makes it longer: a little more credit than half of a window at a time.
    far.stream.receiveCredit += 1;
    relayStreams(to)[0].addSendCredit(1);
    await turns(10);
    await relay.pass(600);
    await relay.pass(600);
    expect(far.reasons).toEqual([]);
    await relay.pass(600);
    await turnsUntil('it is reset', () => far.reasons.length === 1);
    expect(far.events).not.toContain('end');
    expect(relay.isIdle).toBe(true);
  });

  it('passes on why it was reset, one hop further', async () => {
    const { near, far } = await relay.circuit(from, to);
    far.stream.reset(0x301);
    await turnsUntil('the other end hears', () => near.reasons.length === 1);
    expect(near.reasons).toEqual([0x401]);
    expect(near.events.at(-1)).toBe('reset ERR_STARLANE_LINK_LOST');
    expect(relay.relay.counters.lost).toBe(1);
  });

  it('grows its windows as far as the relay lets them, and no further', async () => {
    await relay.close();
    start({ maxWindowBytes: KIB * KIB });
    for (let sample = 0; sample < 10; sample++) {
      const pings = [from, to].map(({ relayEnd }) => relayEnd.ping());
      relay.clock.advance(20);
      await Promise.all(pings);
    }
    const { near, far } = await relay.circuit(from, to);
    near.stream.write(pattern(8 * KIB * KIB));
    await turnsUntil('all has arrived', () => far.data.length === 8 * KIB * KIB);
    expect(Math.max(...relayStreams(from).map(({ receiveWindowBytes }) => receiveWindowBytes))).toBe(KIB * KIB);
    near.stream.reset();
    await turnsUntil('nothing is left', () => relay.isIdle);
    expect(from.relayEnd.budget.grownBytes).toBe(0);
  });
});

describe('A thousand circuits', () => {
  it('go on while one is slow', async () => {
    const slow = await stuck(1_000_000);
    const others: Array<{ near: ManualStream; far: ManualStream }> = [];
    for (let count = 0; count < 1000; count++) others.push(await relay.circuit(from, to));
    for (const { near, far } of others) {
      near.stream.write(pattern(10_000));
      far.stream.write(pattern(10_000));
    }
    const arrived = ({ near, far }: { near: ManualStream; far: ManualStream }): boolean =>
      near.data.length === 10_000 && far.data.length === 10_000;
    await turnsUntil('all but one go on', () => others.every(arrived));
    expect(slow.far.received.length).toBe(WINDOW);
    expect(relay.relay.heldBytes).toBeLessThanOrEqual(WINDOW);
  });

  it('end with the link, a part in each turn', async () => {
    const nears: ManualStream[] = [];
    to.onIncoming = (stream) => {
      process.nextTick(() => stream.answer({ at: D }));
    };
    for (let count = 0; count < 5000; count++) nears.push(from.open(D));
    await turnsUntil('all stand', () => relay.relay.counters.circuits === 5000);
    to.session.destroy();
    await turnsUntil('the relay notices', () => relay.relay.counters.circuits < 5000);
    let largest = 0;
    for (let left = relay.relay.counters.circuits; left > 0; left = relay.relay.counters.circuits) {
      await new Promise((resolve) => setImmediate(resolve));
      largest = Math.max(largest, left - relay.relay.counters.circuits);
    }
    expect(largest).toBeLessThanOrEqual(1000);
    await turnsUntil('all have heard', () => nears.every(({ reasons }) => reasons[0] === 0x101));
    expect(relay.relay.counters.lost).toBe(5000);
  });

  it('end with the relay, a part in each turn, including those that are not open yet', async () => {
    const nears: ManualStream[] = [];
    to.onIncoming = (stream) => {
      if (to.incoming.length > 100) process.nextTick(() => stream.answer({ at: D }));
    };
    for (let count = 0; count < 3000; count++) nears.push(from.open(D));
    await turnsUntil('they stand', () => relay.relay.counters.circuits === 2900);
    const closed = relay.relay.close();
    expect(relay.relay.counters.circuits + relay.relay.counters.pending).toBe(2000);
    const late = from.open(D);
    expect(await from.answerTo(late)).toMatchObject({ code: ReplyCode.NO_ROUTE });
    for (let run = 0; run < 3; run++) await relay.pass(0);
    await closed;
    await turnsUntil('all have heard', () => nears.every(({ reasons }) => reasons[0] === 0x103));
    expect(nears[200].events.at(-1)).toBe('reset ERR_STARLANE_CLOSED');
    expect(relay.relay.counters).toMatchObject({ circuits: 0, pending: 0 });
  });
});

describe('A relay whose pool is full', () => {
  it('resets the circuit that holds most, and lets the others go on', async () => {
    await relay.close();
    start({ poolBytes: 80 * KIB });
    const small = await filled();
    const large = await filled();
    const medium = await filled();
    small.near.stream.write(pattern(10 * KIB));
    large.near.stream.write(pattern(30 * KIB));
    medium.near.stream.write(pattern(22 * KIB));
    await turnsUntil('more than 75 % is held', () => relay.relay.heldBytes >= 62 * KIB);
    // Nothing is taken any more.
    expect(await from.answerTo(from.open(D))).toMatchObject({ code: ReplyCode.LIMIT });
    medium.near.stream.write(pattern(6 * KIB));
    await turnsUntil('that is held as well', () => relay.relay.heldBytes >= 68 * KIB);
    expect(large.near.reasons).toEqual([]);
    small.near.stream.write(pattern(10 * KIB));
    await turnsUntil('one is reset', () => large.near.reasons.length === 1 && large.far.reasons.length === 1);
    expect([large.near.reasons, large.far.reasons]).toEqual([[0x102], [0x102]]);
    expect(large.near.events.at(-1)).toBe('reset ERR_STARLANE_RELAY_LIMIT');
    for (const { near, far } of [small, medium]) {
      expect(near.reasons).toEqual([]);
      far.paused = false;
      far.stream.consumed(far.received.length);
    }
    await turnsUntil('the others go on', () => relay.relay.heldBytes === 0);
    expect([small.far.data.length, medium.far.data.length]).toEqual([WINDOW + 20 * KIB, WINDOW + 28 * KIB]);
    expect(relay.relay.counters.lost).toBe(1);
  });

  it('counts early data for the node that sent it', async () => {
    await relay.close();
    start({ poolBytesPerSource: 60 * KIB });
    const { near: good } = await relay.circuit(to, from);
    const early = from.open(D);
    await to.arrived();
    early.stream.write(pattern(63 * KIB));
    await turnsUntil('it is reset', () => early.reasons.length === 1);
    expect(early.reasons).toEqual([0x102]);
    expect(relay.relay.heldBytes).toBe(0);
    expect(good.reasons).toEqual([]);
  });

  it('takes no circuits over a link whose circuits hold too much', async () => {
    await relay.close();
    start({ poolBytesPerLink: 70 * KIB });
    for (const { near } of [await filled(), await filled()]) near.stream.write(pattern(28 * KIB));
    await turnsUntil('more than 75 % is held', () => relay.relay.heldBytes >= 56 * KIB);
    const other = relay.link('A');
    expect(await from.answerTo(from.open(other.id))).toMatchObject({ code: ReplyCode.LIMIT });
    expect(await other.answerTo(other.open(D))).toMatchObject({ code: ReplyCode.NO_ROUTE });
    await relay.circuit(other, relay.link('B'));
  });
});

/** The streams at the relay's end of a link. */
function relayStreams(neighbour: ManualNeighbour): Array<ManualStream['stream']> {
  const table = Reflect.get(neighbour.relayEnd, 'streams') as { values(): IterableIterator<ManualStream['stream']> };
  return [...table.values()];
}
