// Broadcast among nodes of this process: what arrives, what stays inside, and what happens to those that are slow, late or hostile.

import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { nodeIdToBytes } from '../../../lib/address.js';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  frameLength,
  type Gossip,
  LENGTH_BYTES,
} from '../../../lib/messages/broadcast/frames.js';
import { PendingMessages } from '../../../lib/messages/broadcast/pending.js';
import { TREE_LIMITS } from '../../../lib/messages/broadcast/tree/limits.js';
import { BroadcastTree } from '../../../lib/messages/broadcast/tree/tree.js';
import {
  BROADCAST_PORT,
  type Broadcast,
  type BroadcastGap,
  type BroadcastMessage,
  type BroadcastOptions,
  type BroadcastSlow,
  broadcast,
} from '../../../lib/messages/index.js';
import type { NodeOptions } from '../../../lib/options/options.js';
import { envDigests } from '../../../lib/wire/messages.js';
import { within } from '../../support/deadline.js';
import { duplexPair } from '../../support/duplex-pair.js';

const nodes: Node[] = [];

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

interface Member {
  readonly node: Node;
  readonly cast: Broadcast;
  readonly got: BroadcastMessage[];
}

async function start(options: NodeOptions = {}): Promise<Node> {
  const node = createNode({ closeTimeoutMs: 200, ...options });
  nodes.push(node);
  node.on('warning', () => {});
  for (const event of ['service', 'unservice'] as const) node.on(event, () => changes.emit('change'));
  return node;
}

function take(node: Node, options?: BroadcastOptions): Member {
  const got: BroadcastMessage[] = [];
  const cast = broadcast(node, 'all', options).onMessage((message) => got.push(message));
  return { node, cast, got };
}

/** Nodes in a star, each of which takes part. */
async function star(count: number, options: (index: number) => NodeOptions = () => ({})): Promise<Member[]> {
  const hub = await start(options(0));
  const { address } = await hub.listenAndServe('tcp://127.0.0.1:0');
  const others = await Promise.all(Array.from({ length: count - 1 }, (_, index) => start(options(index + 1))));
  await Promise.all(others.map((node) => node.join(address)));
  const members = [hub, ...others].map((node) => take(node));
  // Until then, a circuit that comes up late shows its end that earlier messages were not for it.
  const ready = Promise.all(members.map(({ cast }) => once(cast, 'ready')));
  await settled(members);
  await within('the event ready', ready, 60_000);
  expect(members.map(({ cast }) => cast.stats().ready)).toEqual(members.map(() => true));
  return members;
}

/** Emits 'change' when what participants know, have or have delivered may have changed: `stats()` has no events of its own. */
const changes = new EventEmitter();
changes.setMaxListeners(0);

function changesAfter<Target extends object>(target: Target, methods: ReadonlyArray<keyof Target>): void {
  for (const method of methods) {
    const original = target[method] as (...args: unknown[]) => unknown;
    target[method] = function (this: unknown, ...args: unknown[]): unknown {
      // Handlers run later in this turn.
      setImmediate(() => changes.emit('change'));
      return original.apply(this, args);
    } as never;
  }
}

changesAfter(BroadcastTree.prototype, ['onPeer', 'onPeerDown', 'onFrame', 'onReady', 'onTime']);
changesAfter(PendingMessages.prototype, ['shift']);

async function until(what: string, holds: () => boolean): Promise<void> {
  const wait = async (): Promise<void> => {
    while (!holds()) await once(changes, 'change');
  };
  await within(what, wait(), 60_000);
}

/** All know each other, and have neighbours. */
function settled(members: readonly Member[]): Promise<void> {
  const least = Math.min(members.length - 1, 2);
  return until('the circuits', () =>
    members.every(({ cast }) => {
      const { participants, neighbours } = cast.stats();
      return participants === members.length - 1 && neighbours >= least;
    }),
  );
}

/** Both ends of a link over memory, which the spec can cut. */
async function link(one: Node, other: Node): Promise<() => void> {
  const [near, far] = duplexPair();
  for (const end of [near, far]) end.on('error', () => {});
  await Promise.all([one.attach(near), other.attach(far)]);
  return () => {
    near.destroy();
    far.destroy();
  };
}

/** A raw circuit to a participant, as a hostile one has it: it offers the service, and is dialled. */
async function intruder(to: Member): Promise<Socket> {
  const node = await start();
  const dialled = new Promise<Socket>((resolve) => {
    node.bind(`broadcast/all:${BROADCAST_PORT}`, { meta: { broadcast: 1, env: envDigests([])[0] } }, (socket) => {
      socket.on('error', () => {});
      if (socket.peer?.id === to.node.id) resolve(socket);
    });
  });
  await link(node, to.node);
  return within('the circuit', dialled);
}

const NO_ENV = Buffer.from(envDigests([])[0], 'hex').toString('latin1');

function write(socket: Socket, frame: Frame): void {
  for (const chunk of encodeFrame(frame)) socket.write(chunk);
}

// Neighbours that were too slow on a loaded machine are dialled again with back-off.
jest.setTimeout(120_000);

describe('A broadcast', () => {
  it('brings each message to all others once and in order, as what it was', async () => {
    const members = await star(7);
    const sent = [Buffer.from([1, 2, 255]), 'größe', { a: [1, null, true] }, 7, null, ''];
    const [hub, , , sender] = members;
    for (const data of sent) expect(sender.cast.send(data)).toBe(true);
    hub.cast.send('from the hub');
    const last = new Map(members.map((member) => [member, member === sender ? 1 : sent.length + 1]));
    last.set(hub, sent.length);
    await until('all messages', () => members.every((member) => member.got.length >= (last.get(member) as number)));
    for (const member of members) {
      const { got } = member;
      expect(got).toHaveLength(last.get(member) as number);
      const fromThere = got.filter(({ from }) => from === sender.node.id);
      expect(fromThere.map(({ data }) => data)).toEqual(member === sender ? [] : sent);
      expect(got.filter(({ from }) => from === hub.node.id)).toHaveLength(member === hub ? 0 : 1);
      expect(new Set(got.map(({ id }) => id)).size).toBe(got.length);
    }
  });

  it('has one object for each node and name, and another one after close()', async () => {
    const node = await start();
    const first = broadcast(node);
    expect(broadcast(node, 'all')).toBe(first);
    expect(broadcast(node, 'other')).not.toBe(first);
    first.close();
    expect(() => first.send('late')).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
    await until('the freed name', () => !node.serviceMap().has('broadcast/all'));
    expect(broadcast(node)).not.toBe(first);
  });

  it('refuses options and messages that it cannot take', async () => {
    const node = await start();
    const code = (what: string) => expect.objectContaining({ code: what });
    expect(() => broadcast(undefined as never)).toThrow(code('ERR_STARLANE_ARGUMENT'));
    expect(() => broadcast(node, 'a b')).toThrow(code('ERR_STARLANE_ADDRESS'));
    expect(() => broadcast(node, 'x', { maxPending: 0 })).toThrow(code('ERR_STARLANE_OPTION'));
    expect(() => broadcast(node, 'x', { wrong: 1 } as BroadcastOptions)).toThrow(code('ERR_STARLANE_OPTION'));
    expect(() => broadcast(node, 'x', { env: 'other' })).toThrow(code('ERR_STARLANE_OPTION'));
    const cast = broadcast(node, 'x', { maxMessageBytes: 4 });
    expect(() => cast.send('12345')).toThrow(code('ERR_STARLANE_MESSAGE_SIZE'));
    expect(() => cast.send((() => 1) as object)).toThrow(code('ERR_STARLANE_ARGUMENT'));
    cast.onMessage(() => {});
    expect(() => cast.onMessage(() => {})).toThrow(code('ERR_STARLANE_ARGUMENT'));
  });

  it('can be read by an iterator, which ends with close()', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    await link(one, other);
    const [sender, reader] = [broadcast(one), broadcast(other)];
    await until('the circuit', () => sender.stats().neighbours === 1 && reader.stats().neighbours === 1);
    for (const data of ['a', 'b', 'c']) sender.send(data);
    const got: unknown[] = [];
    for await (const { data } of reader) {
      got.push(data);
      if (got.length === 3) reader.close();
    }
    expect(got).toEqual(['a', 'b', 'c']);
  });

  it('stays in its env, also where a node is in two', async () => {
    const [inOne, inBoth, inOther] = await Promise.all([
      start({ env: ['one'] }),
      start({ env: ['one', 'other'] }),
      start({ env: ['other'] }),
    ]);
    await Promise.all([link(inOne, inBoth), link(inBoth, inOther)]);
    expect(() => broadcast(inBoth)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
    const [one, both, other] = [take(inOne), take(inBoth, { env: 'one' }), take(inOther)];
    await settled([one, both]);
    one.cast.send('inside');
    await until('the message', () => both.got.length === 1);
    // Its instance can be seen, but it is of another env.
    await until('the service', () => inOther.serviceMap().get('broadcast/all').length === 2);
    expect(other.cast.stats()).toMatchObject({ participants: 0, neighbours: 0, delivered: 0 });
  });

  it('repairs what one missed that was cut off, and counts what is not kept any more', async () => {
    const [one, other, third] = await Promise.all([start(), start(), start()]);
    const cut = await link(one, other);
    const cutThird = await link(one, third);
    const [sender, kept, late] = [take(one, { cacheMessages: 5 }), take(other), take(third)];
    const gaps: BroadcastGap[] = [];
    for (const { cast } of [kept, late]) cast.on('gap', (gap) => gaps.push(gap));
    await settled([sender, kept, late]);
    sender.cast.send(0);
    await until('the first', () => kept.got.length === 1 && late.got.length === 1);
    cut();
    cutThird();
    await until('the ends', () => sender.cast.stats().neighbours === 0);
    for (let index = 1; index <= 3; index++) sender.cast.send(index);
    await link(one, other);
    await until('the repair', () => kept.got.length === 4);
    for (let index = 4; index <= 10; index++) sender.cast.send(index);
    await until('the others', () => kept.got.length === 11);
    kept.cast.close();
    await link(one, third);
    await until('the last ones', () => late.got.at(-1)?.data === 10);
    expect(kept.got.map(({ data }) => data)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(late.got.map(({ data }) => data)).toEqual([0, 6, 7, 8, 9, 10]);
    expect(gaps).toEqual([{ from: one.id, count: 5 }]);
  }, 60_000);

  it('gives one that joins later what is sent from then on', async () => {
    const [one, other, third] = await Promise.all([start(), start(), start()]);
    await link(one, other);
    const members = [take(one), take(other)];
    await settled(members);
    members[0].cast.send('before');
    await until('the first', () => members[1].got.length === 1);
    await until('what is established', () => members[1].cast.stats().origins === 1);
    await link(one, third);
    const late = take(third);
    await settled([...members, late]);
    members[0].cast.send('after');
    await until('the second', () => late.got.length === 1);
    expect(late.got[0].data).toBe('after');
  });

  it('drops the oldest for a slow handler, says how many, and slows nobody down', async () => {
    const [one, other, third] = await Promise.all([start(), start(), start()]);
    await Promise.all([link(one, other), link(other, third)]);
    const [sender, quick] = [take(one), take(third)];
    const slow = broadcast(other, 'all', { maxPending: 10 });
    const got: unknown[] = [];
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    slow.onMessage(async ({ data }) => {
      got.push(data);
      await released;
    });
    let dropped = 0;
    slow.on('slow', (event) => {
      expect(event.neighbour).toBeUndefined();
      dropped += event.dropped;
    });
    await until('the circuits', () => slow.stats().neighbours === 2 && sender.cast.stats().neighbours === 2);
    for (let index = 0; index < 100; index++) sender.cast.send(index);
    await until('all at the quick one', () => quick.got.length === 100);
    // One may be with the handler.
    await until('the slow one', () => slow.stats().delivered === 100 && dropped === slow.stats().dropped);
    expect([89, 90]).toContain(dropped);
    release();
    await until('the last ones', () => got.length === 100 - dropped);
    expect(got.slice(-10)).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
    expect(slow.stats()).toMatchObject({ delivered: 100, pending: 0 });
  });

  it('sends announcements to a neighbour that takes nothing, and the messages when it asks for them later', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    await link(one, other);
    const members = [take(one, { outboxBytes: 16_384 }), take(other)];
    await settled(members);
    const slow: BroadcastSlow[] = [];
    members[0].cast.on('slow', (event) => slow.push(event));
    const socket = await intruder(members[0]);
    socket.pause();
    write(socket, hello());
    // It is there, and says so: who is silent is given up.
    const beats = setInterval(() => write(socket, { kind: 'ihave', entries: [] }), 500);
    socket.once('close', () => clearInterval(beats));
    await until('the neighbour', () => members[0].cast.stats().neighbours === 2);
    const count = 600;
    for (let index = 0; index < count; index++) {
      members[0].cast.send('x'.repeat(2_000));
      // The other one keeps up, and gets all of them.
      if (index % 5 === 4) await until('the other', () => members[1].got.length === index + 1);
    }
    expect(slow).toHaveLength(1);
    expect(slow[0]).toMatchObject({ dropped: 0, neighbour: expect.not.stringMatching(other.id) });
    expect(members[0].cast.stats()).toMatchObject({ neighbours: 2, lost: 0 });
    const taken = framesFrom(socket);
    const got = new Set<number>();
    let announced = 0;
    await until('messages and announcements', () => {
      for (const frame of taken()) {
        if (frame.kind === 'gossip') got.add(frame.counter);
        if (frame.kind !== 'ihave') continue;
        for (const { origin, counter, own } of frame.entries) {
          announced++;
          const ranges = [{ from: counter, count: 1 }];
          write(socket, { kind: 'graft', origin, own, eager: false, ranges });
        }
      }
      return got.size === count;
    });
    expect(announced).toBeGreaterThan(100);
    clearInterval(beats);
  });

  it('emits slow for a burst of one turn, and nobody stays slow after it', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    await link(one, other);
    const members = [take(one, { outboxBytes: 16_384 }), take(other)];
    await settled(members);
    let room = true;
    for (let index = 0; index < 200; index++) room = members[0].cast.send('x'.repeat(300));
    expect(room).toBe(false);
    await within('room', members[0].cast.drained());
    await until('all of them', () => members[1].got.length === 200);
    expect(members[0].cast.send('more')).toBe(true);
    await until('one more', () => members[1].got.length === 201);
  });

  it('bounds what a neighbour costs that announces what nobody has', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    await link(one, other);
    const members = [take(one), take(other)];
    await settled(members);
    const socket = await intruder(members[0]);
    socket.resume();
    write(socket, hello());
    await until('the neighbour', () => members[0].cast.stats().neighbours === 2);
    for (let frame = 0; frame < 20; frame++) {
      const origin = `flood${frame}`.padEnd(16, 'x');
      const entries = Array.from({ length: 1_000 }, (_, index) => {
        return { origin, counter: index + 1, own: true, hops: 1, heldMs: 0 };
      });
      write(socket, { kind: 'ihave', entries });
    }
    // Each announcement that is kept costs a question; there is room for a quarter of what is waited for.
    const asked = framesFrom(socket);
    const counters = new Set<string>();
    await until('the questions', () => {
      for (const frame of asked()) {
        if (frame.kind !== 'graft') continue;
        for (const { from, count } of frame.ranges) {
          for (let index = 0; index < count; index++) counters.add(`${frame.origin} ${from + index}`);
        }
      }
      return counters.size > 0;
    });
    for (let index = 0; index < 20; index++) members[1].cast.send(index);
    await until('the messages of the other', () => members[0].got.length === 20);
    expect(counters.size).toBeLessThanOrEqual(TREE_LIMITS.maxMissing / 4);
    expect(members[0].cast.stats()).toMatchObject({ delivered: 20, lost: 0 });
    expect(members[0].cast.stats().origins).toBeLessThanOrEqual(2);
  });

  it('leaves when its node closes, although others have circuits to it', async () => {
    const members = await star(3);
    const left: Member[] = [];
    for (const member of members) member.cast.once('close', () => left.push(member));
    for (const member of members) {
      void member.node.close();
      expect(left).toContain(member);
    }
  });

  it('leaves when its node drains', async () => {
    const members = await star(3);
    const closed = once(members[1].cast, 'close');
    await within('the drain', members[1].node.drain());
    await within('close', closed);
    await until('the others', () => members[0].cast.stats().participants === 1);
  });

  it.each<[string, (self: string) => readonly Frame[] | Buffer]>([
    ['no HELLO', () => [{ kind: 'ihave', entries: [] }]],
    ['another env', () => [{ kind: 'hello', version: 1, env: 'another!' }]],
    ['two HELLOs', () => [hello(), hello()]],
    ['a frame that is too long', () => Buffer.from('ffffffff', 'hex')],
    ['a frame of no kind', () => Buffer.from('0000000263', 'hex')],
    ['a message in the name of another', () => [hello(), message('someoneelse', 1)]],
    ['a message that the node itself has not sent', (self) => [hello(), { ...message(self, 7), hops: 1 }]],
  ])('ends the circuit of a peer with %s, and no other', async (_what, framesOf) => {
    const [one, other] = await Promise.all([start(), start()]);
    await link(one, other);
    const members = [take(one), take(other)];
    await settled(members);
    members[0].cast.send('first');
    await until('the first', () => members[1].got.length === 1);
    const warned = once(members[0].cast, 'warning');
    const socket = await intruder(members[0]);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    // What the run is called, only its own messages show.
    const [run] = members[1].got[0].id.split('-');
    const frames = framesOf(`${nodeIdToBytes(one.id).toString('latin1')}${Buffer.from(run, 'hex').toString('latin1')}`);
    if (Buffer.isBuffer(frames)) {
      write(socket, hello());
      socket.write(Buffer.concat([frames, Buffer.alloc(8)]));
    } else for (const frame of frames) write(socket, frame);
    const [warning] = await within('the warning', warned);
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' });
    socket.resume();
    await within('the end', ended);
    members[0].cast.send('second');
    await until('the second', () => members[1].got.length === 2);
  });
});

/** Returns a function that returns the frames that have come since its last call. */
function framesFrom(socket: Socket): () => Frame[] {
  let bytes: Buffer = Buffer.alloc(0);
  const parts: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => {
    parts.push(chunk);
    changes.emit('change');
  });
  socket.resume();
  return () => {
    bytes = Buffer.concat([bytes, ...parts.splice(0)]);
    const frames: Frame[] = [];
    while (bytes.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + frameLength(bytes.subarray(0, LENGTH_BYTES));
      if (bytes.length < end) break;
      frames.push(decodeFrame(bytes.subarray(LENGTH_BYTES, end)));
      bytes = bytes.subarray(end);
    }
    return frames;
  };
}

function hello(): Frame {
  return { kind: 'hello', version: 1, env: NO_ENV };
}

function message(origin: string, counter: number): Gossip {
  const key = origin.padEnd(16, 'x').slice(0, 16);
  return {
    kind: 'gossip',
    origin: key,
    counter,
    own: false,
    fetched: false,
    hops: 0,
    format: 0,
    payload: Buffer.from('forged'),
  };
}
