// Publishers and subscribers that break the protocol: it costs them alone.

import { once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../../lib/index.js';
import {
  encodeHello,
  encodeSequence,
  encodeWelcome,
  FrameType,
  frame,
  writeDataHead,
} from '../../../lib/messages/topics/codec/layout.js';
import { MessageWriter } from '../../../lib/messages/topics/codec/message-writer.js';
import { known, Tally, TopicNet } from '../../support/topic-net.js';

let net = new TopicNet();
afterEach(() => net.close());

const hello = (base = 0): Buffer => encodeHello({ session: Buffer.alloc(16, 7), base, replies: 0 });

function dataFrame(topic: string, first: number, mask = 1, data: unknown = 'x'): Buffer {
  const writer = new MessageWriter(10_000);
  writer.encode(Buffer.from(topic), data, undefined);
  const message = writer.buffer.subarray(writer.start, writer.end);
  const head = Buffer.alloc(15);
  writeDataHead(head, message.length, first, mask);
  return Buffer.concat([head, message]);
}

/** Dials a subscription as a publisher does, and sends bytes. */
function attack({ node }: TopicNet['members'][number], ...bytes: Buffer[]): Socket {
  const socket = node.dial('topic/a.*:17');
  socket.on('error', () => {});
  socket.resume();
  for (const one of bytes) socket.write(one);
  return socket;
}

const wrong: Array<[string, Buffer[]]> = [
  ['another first frame', [frame(FrameType.FLUSH)]],
  ['messages before the first frame', [dataFrame('a.b', 1)]],
  ['a first frame that is too short', [frame(FrameType.HELLO, Buffer.alloc(3))]],
  ['a topic that does not fit', [hello(), dataFrame('b.b', 1)]],
  ['a topic with a wildcard', [hello(), dataFrame('a.*', 1)]],
  ['a number below 1', [hello(), dataFrame('a.b', 0)]],
  ['a confirmation of replies that were not sent', [hello(), encodeSequence(FrameType.ACK, 9), frame(FrameType.ACK)]],
  ['a frame that is too long', [hello(), Buffer.from([FrameType.CANCEL, 0, 0, 0, 9])]],
];

describe('a publisher that sends', () => {
  it.each(wrong)('%s loses its circuit, and nobody else does', async (_what, bytes) => {
    net = await TopicNet.of(3);
    const [one, attacker, publisher] = net.members;
    const tally = new Tally<unknown>();
    one.bus.subscribe('a.*', ({ data }) => tally.add(data));
    await known(attacker, 'a.*');
    await known(publisher, 'a.*');
    publisher.bus.publish('a.b', 'before');
    await publisher.bus.flush();
    const socket = attack(attacker, ...bytes);
    await once(socket, 'close');
    publisher.bus.publish('a.b', 'after');
    await publisher.bus.flush();
    expect(tally.values).toEqual(['before', 'after']);
  });

  it('numbers that repeat or jump gets no handler called twice, and its gaps are counted', async () => {
    net = await TopicNet.of(2);
    const [one, attacker] = net.members;
    const tally = new Tally<number>();
    const subscription = one.bus.subscribe('a.*', ({ sequence }) => tally.add(sequence));
    await known(attacker, 'a.*');
    attack(attacker, hello(), ...[1, 2, 1, 2, 3, 10, 4, 11].map((number) => dataFrame('a.b', number)));
    expect(await tally.reached(5)).toEqual([1, 2, 3, 10, 11]);
    expect(subscription.lost).toBe(6);
  });

  it('masks of groups that are not there reaches nobody', async () => {
    net = await TopicNet.of(2);
    const [one, attacker] = net.members;
    const tally = new Tally<number>();
    one.bus.subscribe('a.*', ({ sequence }) => tally.add(sequence));
    await known(attacker, 'a.*');
    attack(attacker, hello(), dataFrame('a.b', 1, 0x7fff_fffe), dataFrame('a.b', 2));
    expect(await tally.reached(1)).toEqual([2]);
  });

  it('opens too many circuits gets no more than its share', async () => {
    net = await TopicNet.of(2);
    const [one, attacker] = net.members;
    one.bus.subscribe('a.*', () => {});
    await known(attacker, 'a.*');
    const sockets = Array.from({ length: 20 }, (_, index) =>
      attack(attacker, encodeHello({ session: Buffer.alloc(16, index), base: 0, replies: 0 })),
    );
    await Promise.all(sockets.slice(0, 4).map((socket) => once(socket, 'connect')));
    const closed = new Tally<Socket>();
    for (const socket of sockets) socket.once('close', () => closed.add(socket));
    await closed.reached(4);
    expect(sockets.filter(({ destroyed }) => !destroyed)).toHaveLength(16);
  });
});

describe('a subscriber that answers', () => {
  const answers: Array<[string, Buffer[]]> = [
    ['another first frame', [encodeSequence(FrameType.ACK, 1)]],
    ['that it has got what was not sent', [encodeWelcome({ resumed: true, received: 99, handled: 0 })]],
    [
      'that it has handled what was not sent',
      [encodeWelcome({ resumed: false, received: 0, handled: 0 }), encodeSequence(FrameType.ACK, 99)],
    ],
    ['a message instead of a reply', [encodeWelcome({ resumed: false, received: 0, handled: 0 }), dataFrame('a.b', 1)]],
    [
      'an interest that is no JSON',
      [encodeWelcome({ resumed: false, received: 0, handled: 0 }), frame(FrameType.INTEREST, Buffer.from('{'))],
    ],
  ];

  it.each(answers)('%s gets no more, and the publisher goes on', async (_what, bytes) => {
    net = await TopicNet.of(3);
    const [publisher, one, attacker] = net.members;
    attacker.node.bind('topic/a.*:17', { meta: { p: 1, g: [[1, 2, 3], 'x'] } }, (socket) => {
      socket.on('error', () => {});
      socket.resume();
      for (const each of bytes) socket.write(each);
    });
    const tally = new Tally<unknown>();
    one.bus.subscribe('a.b', ({ data }) => tally.add(data));
    await known(publisher, 'a.*');
    await known(publisher, 'a.b');
    const warned = new Promise((resolve) => publisher.bus.once('warning', resolve));
    publisher.bus.publish('a.b', 1);
    expect(await warned).toMatchObject({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' });
    publisher.bus.publish('a.b', 2);
    expect(await tally.reached(2)).toEqual([1, 2]);
  });

  it('for another one is not believed', async () => {
    net = await TopicNet.of(3);
    const [caller, one, attacker] = net.members;
    attacker.node.bind('topic/z:17', { meta: { p: 1, g: [] } }, (socket) => {
      socket.on('error', () => {});
      socket.resume();
      socket.write(encodeWelcome({ resumed: false, received: 0, handled: 0 }));
      const writer = new MessageWriter(10_000);
      for (let request = 1; request < 20; request++) {
        writer.encode(Buffer.alloc(0), 'forged', { reply: request, status: 0 });
        const head = Buffer.alloc(15);
        writeDataHead(head, writer.end - writer.start, request, 0);
        socket.write(Buffer.concat([head, writer.buffer.subarray(writer.start, writer.end)]));
      }
    });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    one.bus.subscribe('a', async () => {
      await gate;
      return 'true';
    });
    await known(caller, 'a');
    await known(caller, 'z');
    const request = caller.bus.request('a');
    expect(await caller.bus.request('z')).toBe('forged');
    release();
    expect(await request).toBe('true');
  });

  it('with a pattern that is none is left out', async () => {
    net = await TopicNet.of(2);
    const [publisher, attacker] = net.members;
    for (const name of ['topic/', 'topic/a..b', 'topic/>.a']) attacker.node.bind(`${name}:17`, { meta: { p: 1 } });
    attacker.node.bind('topic/a:18', { meta: { p: 1 } });
    await publisher.node.waitFor('topic/a');
    expect(publisher.bus.publish('a', 1)).toBe(true);
    await publisher.bus.flush();
    await expect(publisher.bus.request('a.b')).rejects.toMatchObject({ code: 'ERR_STARLANE_NO_HANDLER' });
  });
});
