// Senders that break the protocol of messages, or use up what they can: they cost themselves alone.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../lib/index.js';
import { messages } from '../../lib/messages/index.js';
import { FrameType, Kind, OutcomeCode, Welcome } from '../../lib/messages/wire/frames.js';
import { CircuitKind, encodePreamble } from '../../lib/messages/wire/preamble.js';
import { frames, message, messageApart, RawSender, runOf, SERVICE } from '../support/raw-lane.js';
import { type Testnet, testnet } from '../support/testnet.js';

let net: Testnet;
let sender: RawSender;
let runs: unknown[];
let warnings: string[];

beforeEach(async () => {
  net = await testnet('memory');
  sender = new RawSender(net.joiner);
  runs = [];
  warnings = [];
  const post = messages(net.listener);
  post.on('warning', (error) => warnings.push(error.message));
  const inbox = post.onMessage(SERVICE, ({ data }) => void runs.push(data));
  // As long as its caller waits.
  inbox.onCommand(1, (_input, { signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)));
});

afterEach(async () => {
  // Others are served all the same.
  expect((await messages(net.joiner).send(SERVICE, 'honest')).nodeId).toBe(net.listener.id);
  sender.destroy();
  await net.close();
});

async function isEnded(socket: Socket): Promise<boolean> {
  if (!socket.destroyed) await once(socket, 'close');
  return true;
}

describe('a circuit', () => {
  it.each([
    ['speaks HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['has another version', Buffer.from([0x53, 0x4c, 0x4d, 9, 1, 0, 0])],
    ['is of no kind', Buffer.from([0x53, 0x4c, 0x4d, 1, 9, 0, 0])],
    ['is a lane without a session', Buffer.from([0x53, 0x4c, 0x4d, 1, 1, 0, 2, 0, 0])],
  ])('that %s is ended', async (_what, bytes) => {
    const socket = sender.dial();
    socket.write(bytes);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings.length).toBe(1);
  });

  it('with a content that nobody asked for is ended', async () => {
    const lane = await sender.lane('a', 1);
    lane.write(messageApart(0, 100_000));
    for (const number of [1, 7]) expect(await isEnded(sender.body('a', 1, number))).toBe(true);
    const fetch = sender.dial();
    fetch.write(encodePreamble({ kind: CircuitKind.FETCH, run: runOf('a'), epoch: 1, number: 0 }));
    expect(await isEnded(fetch)).toBe(true);
    // The next message of the same node would wait behind it.
    lane.write(frames((writer) => writer.number(FrameType.CANCEL, 0)));
    expect(await lane.outcomeOf(0)).toBe(OutcomeCode.CANCELLED);
  });

  it('of a streaming call is ended when there are none', async () => {
    const socket = sender.dial();
    socket.write(encodePreamble({ kind: CircuitKind.CALL, header: Buffer.from('{}') }));
    expect(await isEnded(socket)).toBe(true);
  });

  it('without a preamble counts against its sender', async () => {
    const silent = Array.from({ length: 70 }, () => sender.dial());
    const ended = await Promise.race(silent.map((socket) => once(socket, 'close').then(() => true)));
    expect(ended).toBe(true);
    for (const socket of silent) socket.destroy();
    await Promise.all(silent.map((socket) => isEnded(socket)));
  });
});

describe('a lane', () => {
  it.each([
    ['a frame of no type', Buffer.from([0, 0, 0, 1, 99])],
    ['a frame that is too long', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['an empty frame', Buffer.from([0, 0, 0, 0])],
    ['a number out of order', message(3)],
    ['a frame of receivers', frames((writer) => writer.welcome(0, 0, 0, 0))],
    ['an outcome confirmed that was never sent', frames((writer) => writer.number(FrameType.ACK, 5))],
    ['a message that is cut off', Buffer.from([0, 0, 0, 2, 1, 0])],
    ['a stream within a frame', frames((writer) => writer.message(0, undefined, 1, Kind.STREAM, 'x', 1, undefined))],
  ])('ends after %s', async (_what, bytes) => {
    const { socket } = await sender.lane('a', 1);
    socket.write(bytes);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings.length).toBe(1);
    // The session is over, too.
    expect((await sender.lane('a', 1, true)).status).toBe(Welcome.GONE);
  });

  it('ends when more is on its way than its credit allows', async () => {
    const { socket, welcome } = await sender.lane('a', 1);
    const count = welcome?.count as number;
    const calls = frames((writer) => {
      for (let number = 0; number <= count; number++)
        writer.message(number, 1, 60_000, Kind.NONE, undefined, 0, undefined);
    });
    socket.write(calls);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings).toEqual([expect.stringContaining('credit')]);
  });

  it('gets JSON that is none back as not handled', async () => {
    const lane = await sender.lane('a', 1);
    lane.write(frames((writer) => writer.message(0, undefined, 10_000, Kind.JSON, '{"a"', 4, undefined)));
    expect(await lane.outcomeOf(0)).toBe(OutcomeCode.CONTENT);
    expect(runs).toEqual([]);
  });
});

describe('a session', () => {
  it('is resumed where it was, and by its sender only', async () => {
    const first = await sender.lane('a', 1);
    first.write(message(0), message(1));
    await first.outcomeOf(1);
    first.socket.destroy();
    const { welcome } = await sender.lane('a', 1, true);
    expect(welcome).toMatchObject({ status: Welcome.RESUMED, next: 2 });
    expect((await sender.lane('b', 1, true)).status).toBe(Welcome.GONE);
    expect((await sender.lane('a', 2, true)).status).toBe(Welcome.GONE);
    // The node itself is another sender.
    const stolen = net.listener.dial(`@${net.listener.id}:16`);
    stolen.on('error', () => {});
    stolen.write(encodePreamble({ kind: CircuitKind.LANE, run: runOf('a'), epoch: 1, isResumed: true, outcomes: 0 }));
    expect(await isEnded(stolen)).toBe(true);
  });

  it('cannot be opened twice, and ends when its sender opens the next one', async () => {
    const first = await sender.lane('a', 5);
    await expect(sender.lane('a', 5)).rejects.toThrow('closed');
    await expect(sender.lane('a', 4)).rejects.toThrow('closed');
    expect((await sender.lane('a', 6)).status).toBe(Welcome.NEW);
    expect(await isEnded(first.socket)).toBe(true);
  });

  it('is refused to a sender that has too many', async () => {
    const opened = [];
    for (let index = 0; index < 64; index++) opened.push(await sender.lane(`run ${index}`, 1));
    expect(opened.every(({ status }) => status === Welcome.NEW)).toBe(true);
    expect((await sender.lane('run 64', 1)).status).toBe(Welcome.FULL);
    for (const { socket } of opened.slice(0, 2)) {
      socket.write(frames((writer) => writer.bare(FrameType.CLOSE)));
      await isEnded(socket);
    }
  });
});
