// What a relay does with an OPEN: where it passes it on, what it answers, and how long it waits.

import { afterEach, describe, expect, it } from '@jest/globals';
import type { NodeId } from '../../../lib/address.js';
import type { Routes } from '../../../lib/circuit/paths.js';
import type { RelayLimits } from '../../../lib/circuit/relay/limits.js';
import { ResetReason } from '../../../lib/mux/stream/resets.js';
import { ReplyCode } from '../../../lib/wire/open-reply.js';
import { pattern } from '../../support/frames.js';
import { type ManualNeighbour, nodeIdOf, RelayFixture } from '../../support/relay-fixture.js';
import { turn, turnsUntil } from '../../support/turns.js';

const [A, B, C, D, P, R, S] = [...'ABCDPRS'].map(nodeIdOf);

let relay: RelayFixture;
let told: string[];

function start(hops: readonly NodeId[], limits: Partial<RelayLimits> = {}, isEnabled = true): RelayFixture {
  told = [];
  const routes: Pick<Routes, 'nextHops' | 'penalise' | 'reward'> = {
    nextHops: (dst) => (dst === P ? [P] : hops),
    penalise: (neighbour) => told.push(`penalise ${neighbour[0]}`),
    reward: (neighbour) => told.push(`reward ${neighbour[0]}`),
  };
  relay = new RelayFixture(routes, limits, isEnabled);
  return relay;
}

afterEach(() => relay.close());

describe('An OPEN for another node', () => {
  it('goes on with the relay among the visited, one hop and a little time less', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    from.open(D, {
      src: S,
      hopLimit: 9,
      visited: [A, P],
      relays: 1,
      remainingMs: 900,
      service: 'echo',
      env: '0011223344556677',
      flags: 0x80,
      rest: Buffer.from('later'),
    });
    const { open } = await to.arrived();
    expect(open).toMatchObject({ src: S, dst: D, dstPort: 7, srcPort: 50_000, service: 'echo', flags: 0x80 });
    expect(open).toMatchObject({ hopLimit: 8, visited: [A, P, R], relays: 2, env: '0011223344556677' });
    expect(open.remainingMs).toBe(880);
    expect(String(open.rest)).toBe('later');
  });

  it('is answered with the reply of the next node, and the relay is part of the way', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D);
    (await to.arrived()).answer({ at: D, port: 80, visited: [B, C] });
    expect(await from.answerTo(near)).toEqual({ code: 0, port: 80, at: D, reason: '', visited: [R, B, C] });
    expect(told).toEqual(['reward D']);
    expect(relay.relay.counters).toMatchObject({ circuits: 1, pending: 0, opened: 1, refused: 0 });
  });

  it('tries the next neighbour when one leads nowhere, and lists those tried', async () => {
    start([A, B, D]);
    const [from, first, second, third] = ['P', 'A', 'B', 'D'].map((letter) => relay.link(letter));
    const near = from.open(D);
    (await first.arrived()).answer({ code: ReplyCode.NO_ROUTE, at: C, visited: [C, A] });
    const next = await second.arrived();
    expect(next.open).toMatchObject({ visited: [A, C, R], relays: 1 });
    next.answer({ code: ReplyCode.LIMIT, at: B });
    (await third.arrived()).answer({ at: D });
    expect(await from.answerTo(near)).toMatchObject({ code: 0, visited: [R] });
    expect(told).toEqual(['penalise A', 'penalise B', 'reward D']);
    // A way that led nowhere leaves nothing behind.
    await turnsUntil('those are closed', () => first.session.streamCount === 0 && second.session.streamCount === 0);
  });

  it('fails with the most telling reason and all nodes tried when every neighbour leads nowhere', async () => {
    start([A, B, D]);
    const [from, first, second, third] = ['P', 'A', 'B', 'D'].map((letter) => relay.link(letter));
    const near = from.open(D);
    (await first.arrived()).answer({ code: ReplyCode.LIMIT, at: C, reason: 'full', visited: [C] });
    (await second.arrived()).answer({ code: ReplyCode.NO_ROUTE, at: B, visited: [B] });
    (await third.arrived()).stream.reset();
    // The last one is the destination itself, whose answer is final.
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.LIMIT, at: D, visited: [A, C, B, R] });
    await turnsUntil('it has ended', () => near.events.includes('end'));
    near.stream.end();
    await turnsUntil('nothing is left', () => relay.isIdle);
    expect(relay.relay.counters.refused).toBe(1);
  });

  it.each([
    ['refused', ReplyCode.REFUSED],
    ['denied', ReplyCode.DENIED],
    ['at its limit', ReplyCode.LIMIT],
  ])('is not tried another way when the destination has %s it', async (_what, code) => {
    start([A, B]);
    const [from, first, second] = ['P', 'A', 'B'].map((letter) => relay.link(letter));
    const near = from.open(D);
    (await first.arrived()).answer({ code, at: D, reason: 'because' });
    expect(await from.answerTo(near)).toMatchObject({ code, at: D, reason: 'because' });
    expect(second.incoming).toHaveLength(0);
  });

  it('tries the next neighbour when one does not answer, and resets the stream to that one', async () => {
    start([A, B]);
    const [from, first, second] = ['P', 'A', 'B'].map((letter) => relay.link(letter));
    const near = from.open(D, { remainingMs: 900 });
    const silent = await first.arrived();
    // Two hops are expected: a third of the time is kept.
    await relay.pass(599);
    expect(second.incoming).toHaveLength(0);
    await relay.pass(1);
    const next = await second.arrived();
    expect(next.open.remainingMs).toBe(280);
    expect(silent.reasons).toEqual([0x100 | ResetReason.TIMEOUT]);
    await relay.pass(300);
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.TIMEOUT, at: R, visited: [A, B, R] });
    expect((await from.answerTo(near)).reason).toContain('does not answer');
    expect(told).toEqual(['penalise A', 'penalise B']);
  });

  it('penalises no neighbour that had too little time', async () => {
    start([A]);
    const [from, first] = ['P', 'A'].map((letter) => relay.link(letter));
    const near = from.open(D, { remainingMs: 100 });
    await first.arrived();
    await relay.pass(100);
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.TIMEOUT });
    expect(told).toEqual([]);
  });

  it('takes an answer that has come while the process was busy', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D, { remainingMs: 500 });
    const far = await to.arrived();
    relay.clock.advance(500);
    // The deadline has passed, and is checked when the input of the turn was read.
    far.answer({ at: D });
    await turnsUntil('the reply is there', () => near.reply !== undefined);
    relay.clock.runImmediates();
    expect(near.reply?.code).toBe(0);
    near.stream.write(Buffer.from('goes on'));
    await turnsUntil('it stands', () => far.data.length === 7);
  });

  it('has a limited time, whatever it says itself', async () => {
    start([A, B, C], { openTimeoutMs: 1000, hopTimeoutMs: 800 });
    const neighbours = ['A', 'B', 'C'].map((letter) => relay.link(letter));
    const from = relay.link('P');
    const near = from.open(D, { remainingMs: 600_000 });
    await neighbours[0].arrived();
    for (let ms = 0; ms < 1000; ms += 100) await relay.pass(100);
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.TIMEOUT, at: R });
  });

  it('is not passed on when no time is left', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    expect(await from.answerTo(from.open(D, { remainingMs: 0 }))).toMatchObject({ code: ReplyCode.TIMEOUT, at: R });
    expect(to.incoming).toHaveLength(0);
    expect(told).toEqual([]);
  });

  it('goes on when the link to a neighbour is lost, or takes no streams', async () => {
    start([A, B, D]);
    const [from, first, second, third] = ['P', 'A', 'B', 'D'].map((letter) => relay.link(letter));
    second.session.goAway();
    await turn();
    const near = from.open(D);
    await first.arrived();
    first.session.destroy();
    const far = await third.arrived();
    expect(far.open.visited).toEqual([A, R]);
    far.answer({ at: D });
    expect(await from.answerTo(near)).toMatchObject({ code: 0 });
    expect(second.incoming).toHaveLength(0);
  });

  it.each([
    ['is no reply', (to: ManualNeighbour) => to.incoming[0].stream.write(Buffer.from([0xff, 0xff, 0xff]))],
    ['ends', (to: ManualNeighbour) => to.incoming[0].stream.end()],
    ['is a reset', (to: ManualNeighbour) => to.incoming[0].stream.reset()],
  ])('is tried another way when the answer %s', async (_what, answer) => {
    start([A, D]);
    const [from, first, second] = ['P', 'A', 'D'].map((letter) => relay.link(letter));
    const near = from.open(D);
    await first.arrived();
    answer(first);
    (await second.arrived()).answer({ at: D });
    expect(await from.answerTo(near)).toMatchObject({ code: 0 });
    expect(told).toEqual(['penalise A', 'reward D']);
    await turnsUntil('the other is gone', () => first.session.streamCount === 0);
  });

  it('is answered however busy the link to the dialler is', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const { near: busy, far: bulk } = await relay.circuit(from, to);
    const near = from.open(D);
    await to.arrived(1);
    // More than may be on its way, by many circuits, each of which has a window.
    const bulks = [bulk];
    for (let count = 0; count < 20; count++) bulks.push((await relay.circuit(to, from)).near);
    from.duplex.pause();
    busy.paused = true;
    for (const { stream } of bulks) stream.write(pattern(60_000));
    for (let turns = 0; turns < 20; turns++) await turn();
    (await to.arrived(1)).answer({ code: ReplyCode.REFUSED, at: D, reason: 'because' });
    for (let turns = 0; turns < 20; turns++) await turn();
    expect(near.reply).toBeUndefined();
    from.duplex.resume();
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.REFUSED, reason: 'because' });
    expect(near.reasons).toEqual([]);
  });

  it('is cancelled everywhere when the dialler cancels it', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D);
    const far = await to.arrived();
    near.stream.reset();
    await turnsUntil('the next node has heard', () => far.reasons.length === 1);
    expect(relay.isIdle).toBe(true);
  });

  it('is lost with the link that it came by', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    from.open(D);
    const far = await to.arrived();
    from.session.destroy();
    await turnsUntil('the next node has heard', () => far.reasons.length === 1);
    expect(far.reasons).toEqual([0x100 | ResetReason.LINK_LOST]);
    expect(relay.isIdle).toBe(true);
  });
});

describe('A relay refuses', () => {
  it.each([
    ['what may cross no more links', { hopLimit: 0 }, ReplyCode.HOP_LIMIT, 'the hop limit is used up'],
    ['what has visited it', { visited: [R, P], relays: 2 }, ReplyCode.LOOP, 'the circuit has been here'],
    [
      'what it should have sent itself',
      { src: R, visited: [P], relays: 1 },
      ReplyCode.LOOP,
      'the circuit has been here',
    ],
    ['what does not come from its source', { src: S }, ReplyCode.DENIED, 'it does not come from the peer'],
    ['what another was the last to pass', { src: S, visited: [P, A], relays: 2 }, ReplyCode.DENIED, 'it does not come'],
    ['what has no way', { dst: B }, ReplyCode.NO_ROUTE, 'no way to'],
  ])('%s', async (_what, changes, code, reason) => {
    start([D].filter(() => !('dst' in changes)));
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D, changes);
    expect(await from.answerTo(near)).toMatchObject({ code, at: R, reason: expect.stringContaining(reason) });
    expect(to.incoming).toHaveLength(0);
    near.stream.end();
    await turnsUntil('it is gone', () => from.session.streamCount === 0);
    expect(relay.isIdle).toBe(true);
  });

  it('a circuit that comes again, by any neighbour and with any list', async () => {
    start([D]);
    const [from, other, to] = ['P', 'A', 'D'].map((letter) => relay.link(letter));
    const onward = { src: S, visited: [A], relays: 1 };
    const circuitId = Buffer.from('0123456789abcdef');
    from.open(D, { circuitId });
    await to.arrived();
    const again = other.open(D, { circuitId, ...onward });
    expect(await other.answerTo(again)).toMatchObject({ code: ReplyCode.LOOP, at: R });
    await relay.pass(60_001);
    const later = other.open(D, { circuitId, ...onward });
    (await to.arrived(1)).answer({ at: D });
    expect(await other.answerTo(later)).toMatchObject({ code: 0 });
  });

  it('everything when it does not relay', async () => {
    start([D], {}, false);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const reply = await from.answerTo(from.open(D));
    expect(reply).toMatchObject({ code: ReplyCode.NO_ROUTE, reason: 'this node relays nothing', visited: [R] });
    expect(to.incoming).toHaveLength(0);
  });

  it('everything once it drains, and leaves open circuits alone', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const { near, far } = await relay.circuit(from, to);
    relay.relay.drain();
    expect(await from.answerTo(from.open(D))).toMatchObject({
      code: ReplyCode.NO_ROUTE,
      reason: 'this node drains',
    });
    near.stream.write(Buffer.from('goes on'));
    await turnsUntil('it arrives', () => far.data.length === 7);
  });

  it.each([
    ['of a neighbour', { maxCircuitsPerNeighbour: 2 }, '2 circuits of one neighbour (maxCircuitsPerNeighbour)'],
    ['of a source', { maxCircuitsPerSource: 2 }, '2 circuits of one source (maxCircuitsPerSource)'],
    ['a second', { opensPerSecond: 1, openBurst: 2 }, 'more than 1 opens a second (relayOpensPerSecond)'],
  ])('more circuits %s than there may be', async (_what, limits, reason) => {
    start([D], limits);
    const [from, to] = [relay.link('P'), relay.link('D')];
    await relay.circuit(from, to);
    const { near } = await relay.circuit(from, to);
    const refused = from.open(D);
    expect(await from.answerTo(refused)).toMatchObject({ code: ReplyCode.LIMIT, at: R, reason });
    // There is room again when one has ended.
    near.stream.reset();
    await relay.pass(1000);
    await relay.circuit(from, to);
  });

  it('no circuit because others are not answered', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    // Far more than the backlog of the link.
    const pending = Array.from({ length: 200 }, () => from.open(D));
    await to.arrived(199);
    expect(pending.every(({ events }) => events.length === 0)).toBe(true);
    expect(relay.relay.counters.pending).toBe(200);
    (await to.arrived(150)).answer({ at: D });
    expect(await from.answerTo(pending[150])).toMatchObject({ code: 0 });
  });
});

describe('Data ahead of the reply', () => {
  it('is kept, and passed on once and in order when the circuit is open', async () => {
    start([A, D]);
    const [from, first, second] = ['P', 'A', 'D'].map((letter) => relay.link(letter));
    const bytes = pattern(60_000);
    const near = from.open(D, {}, 'with OPEN,');
    for (let at = 0; at < bytes.length; at += 1_000) near.stream.write(bytes.subarray(at, at + 1_000));
    near.stream.end();
    const lost = await first.arrived();
    await turnsUntil('all of it is there', () => relay.relay.heldBytes === bytes.length + 10);
    expect(lost.data).toHaveLength(0);
    lost.answer({ code: ReplyCode.NO_ROUTE, at: A });
    const far = await second.arrived();
    expect(far.data).toHaveLength(0);
    far.answer({ at: D });
    await turnsUntil('it has ended', () => far.events.includes('end'));
    expect(far.data.equals(Buffer.concat([Buffer.from('with OPEN,'), bytes]))).toBe(true);
    expect(relay.relay.heldBytes).toBe(0);
  });

  it('gets no credit, so that at most a window of it can come', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D);
    near.stream.write(pattern(500_000));
    const far = await to.arrived();
    for (let turns = 0; turns < 20; turns++) await turn();
    expect(relay.relay.heldBytes).toBeGreaterThan(60_000);
    expect(relay.relay.heldBytes).toBeLessThan(65_536);
    far.answer({ at: D });
    await turnsUntil('all has arrived', () => far.data.length === 500_000);
    expect(far.data.equals(pattern(500_000))).toBe(true);
  });

  it('takes about as much memory as it has bytes, though it comes byte by byte', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D);
    const far = await to.arrived();
    for (let sent = 0; sent < 20_000; sent++) near.stream.write(Buffer.from([sent]));
    await turnsUntil('it is there', () => relay.relay.heldBytes === 20_000);
    const half = relay.relay.pool.any as object;
    const pieces = Reflect.get(Reflect.get(half, 'early'), 'pieces') as Array<{ bytes: Buffer }>;
    expect(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(40_000);
    far.answer({ at: D });
    await turnsUntil('all has arrived', () => far.data.length === 20_000);
    expect(far.data.every((byte, index) => byte === (index & 0xff))).toBe(true);
  });

  it('beyond the window costs that neighbour its link, and no other', async () => {
    start([D]);
    const [from, other, to] = ['P', 'A', 'D'].map((letter) => relay.link(letter));
    const { near: good, far: goodFar } = await relay.circuit(other, to);
    // It counts as if nothing were relayed.
    const near = from.open(D);
    Reflect.set(near.stream, 'sendCredit', 262_144);
    near.stream.write(pattern(100_000));
    await turnsUntil('its link is lost', () => from.session.isClosed);
    good.stream.write(Buffer.from('goes on'));
    await turnsUntil('it arrives', () => goodFar.data.length === 7);
  });

  it('is dropped with the circuit when nothing leads there', async () => {
    start([D]);
    const [from, to] = [relay.link('P'), relay.link('D')];
    const near = from.open(D, {}, 'unheard');
    (await to.arrived()).answer({ code: ReplyCode.REFUSED, at: D });
    expect(await from.answerTo(near)).toMatchObject({ code: ReplyCode.REFUSED });
    near.stream.end();
    await turnsUntil('nothing is left', () => relay.isIdle && from.session.streamCount === 0);
    expect(from.relayEnd.unreadBytes).toBe(0);
  });
});
