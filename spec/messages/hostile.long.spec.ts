// Senders that break the protocol of messages, or use up what they can: they cost themselves alone.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../lib/index.js';
import { type Inbox, messages } from '../../lib/messages/index.js';
import { FrameDecoder, FrameType, FrameWriter, Kind, readWelcome, Welcome } from '../../lib/messages/wire/frames.js';
import { CircuitKind, encodePreamble } from '../../lib/messages/wire/preamble.js';
import { type Testnet, testnet } from '../support/testnet.js';

let net: Testnet;
let inbox: Inbox;
let runs: unknown[];
let warnings: string[];

beforeEach(async () => {
  net = await testnet('memory');
  runs = [];
  warnings = [];
  const post = messages(net.listener);
  post.on('warning', (error) => warnings.push(error.message));
  inbox = post.onMessage('orders', ({ data }) => void runs.push(data));
  inbox.onCommand(1, () => new Promise(() => {}));
});

afterEach(async () => {
  // Others are served all the same.
  expect((await messages(net.joiner).send('orders', 'honest')).nodeId).toBe(net.listener.id);
  await net.close();
});

function dial(): Socket {
  const socket = net.joiner.dial('orders:16');
  socket.on('error', () => {});
  return socket;
}

/** Opens a lane, and returns what it is welcomed with. */
async function lane(
  run: string,
  epoch: number,
  isResumed = false,
  outcomes = 0,
): Promise<{ socket: Socket; status: number; count: number; next: number }> {
  const socket = dial();
  socket.write(encodePreamble({ kind: CircuitKind.LANE, run: run.padEnd(16), epoch, isResumed, outcomes }));
  const { status, count, next } = await new Promise<ReturnType<typeof readWelcome>>((resolve, reject) => {
    const decoder = new FrameDecoder((type, bytes, from, to) => {
      if (type === FrameType.WELCOME) resolve(readWelcome(bytes, from, to));
    });
    socket.once('data', (chunk: Buffer) => decoder.push(chunk));
    socket.once('close', () => reject(new Error('closed')));
  });
  socket.resume();
  return { socket, status, count, next };
}

function frames(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter();
  write(writer);
  return Buffer.concat(writer.take());
}

function message(number: number, text = 'x'): Buffer {
  return frames((writer) => writer.message(number, undefined, 10_000, Kind.TEXT, text, text.length, undefined));
}

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
    const socket = dial();
    socket.write(bytes);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings.length).toBe(1);
  });

  it('with a content that nobody asked for is ended', async () => {
    const { socket } = await lane('a', 1);
    socket.write(frames((writer) => writer.messageApart(0, undefined, 10_000, Kind.BYTES, 100_000, undefined)));
    for (const number of [1, 7]) {
      const body = dial();
      body.write(encodePreamble({ kind: CircuitKind.BODY, run: 'a'.padEnd(16), epoch: 1, number }));
      expect(await isEnded(body)).toBe(true);
    }
    const fetch = dial();
    fetch.write(encodePreamble({ kind: CircuitKind.FETCH, run: 'a'.padEnd(16), epoch: 1, number: 0 }));
    expect(await isEnded(fetch)).toBe(true);
    socket.destroy();
  });

  it('of a streaming call is ended when there are none', async () => {
    const socket = dial();
    socket.write(encodePreamble({ kind: CircuitKind.CALL, header: Buffer.from('{}') }));
    expect(await isEnded(socket)).toBe(true);
  });

  it('without a preamble counts against its sender', async () => {
    const silent = Array.from({ length: 70 }, dial);
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
    const { socket } = await lane('a', 1);
    socket.write(bytes);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings.length).toBe(1);
    // The session is over, too.
    expect((await lane('a', 1, true)).status).toBe(Welcome.GONE);
  });

  it('ends when more is on its way than its credit allows', async () => {
    const { socket, count } = await lane('a', 1);
    const calls = frames((writer) => {
      for (let number = 0; number <= count; number++)
        writer.message(number, 1, 60_000, Kind.NONE, undefined, 0, undefined);
    });
    socket.write(calls);
    expect(await isEnded(socket)).toBe(true);
    expect(warnings).toEqual([expect.stringContaining('credit')]);
  });

  it('gets JSON that is none back as not handled', async () => {
    const { socket } = await lane('a', 1);
    socket.write(frames((writer) => writer.message(0, undefined, 10_000, Kind.JSON, '{"a"', 4, undefined)));
    await once(socket, 'data');
    expect(runs).toEqual([]);
    socket.destroy();
  });
});

describe('a session', () => {
  it('is resumed where it was, and by its sender only', async () => {
    const first = await lane('a', 1);
    first.socket.write(Buffer.concat([message(0), message(1)]));
    await once(first.socket, 'data');
    first.socket.destroy();
    expect(await lane('a', 1, true)).toMatchObject({ status: Welcome.RESUMED, next: 2 });
    expect((await lane('b', 1, true)).status).toBe(Welcome.GONE);
    expect((await lane('a', 2, true)).status).toBe(Welcome.GONE);
    // The node itself is another sender.
    const stolen = net.listener.dial(`@${net.listener.id}:16`);
    stolen.on('error', () => {});
    stolen.write(
      encodePreamble({ kind: CircuitKind.LANE, run: 'a'.padEnd(16), epoch: 1, isResumed: true, outcomes: 0 }),
    );
    expect(await isEnded(stolen)).toBe(true);
  });

  it('cannot be opened twice, and ends when its sender opens the next one', async () => {
    const first = await lane('a', 5);
    await expect(lane('a', 5)).rejects.toThrow('closed');
    await expect(lane('a', 4)).rejects.toThrow('closed');
    expect((await lane('a', 6)).status).toBe(Welcome.NEW);
    expect(await isEnded(first.socket)).toBe(true);
  });

  it('is refused to a sender that has too many', async () => {
    const opened = [];
    for (let index = 0; index < 64; index++) opened.push(await lane(`run ${index}`, 1));
    expect(opened.every(({ status }) => status === Welcome.NEW)).toBe(true);
    expect((await lane('run 64', 1)).status).toBe(Welcome.FULL);
    for (const { socket } of opened.slice(0, 2)) {
      socket.write(frames((writer) => writer.bare(FrameType.CLOSE)));
      await isEnded(socket);
    }
  });
});
