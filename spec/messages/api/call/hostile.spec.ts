// Circuits of calls from programs that break the protocol: each costs its own circuit, and nothing stays.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { Node, Socket } from '../../../../lib/index.js';
import { CallFrameDecoder, encodeFrame, type Frame, FrameKind } from '../../../../lib/messages/api/call/frames.js';
import { encodeHeader } from '../../../../lib/messages/api/call/header.js';
import { encodeItem } from '../../../../lib/messages/api/call/item.js';
import { type ApiServer, apiClient, defineApi, serveApi, stream } from '../../../../lib/messages/index.js';
import { CircuitKind, encodePreamble } from '../../../../lib/messages/wire/preamble.js';
import { knows, type Testnet, testnet } from '../../../support/testnet.js';

let net: Testnet;
let near: Node;
let server: ApiServer;
let runs: number;

const api = defineApi({
  name: 'victim',
  version: '1.0.0',
  commands: {
    hello: { number: 1, input: z.string(), handler: () => runs++ },
    items: {
      number: 2,
      input: stream(z.string()),
      output: stream(),
      async *handler(input) {
        runs++;
        for await (const item of input) yield item;
      },
    },
  },
});

beforeEach(async () => {
  runs = 0;
  net = await testnet('memory', { secret: '0123456789abcdef', closeTimeoutMs: 100 });
  near = net.joiner;
  server = serveApi(net.listener, api, { maxStreamingCalls: 4, maxItemBytes: 1_024 });
  await knows(near, 'victim');
});
afterEach(() => net.close());

async function begun(command: number, streams: boolean): Promise<Socket> {
  const header = { id: 'x', command, timeoutMs: undefined, streamsInput: streams, streamsOutput: streams };
  return written([encodePreamble({ kind: CircuitKind.CALL, header: encodeHeader(header) })]);
}

async function written(parts: readonly Uint8Array[]): Promise<Socket> {
  const socket = near.dial('victim:16', { allowHalfOpen: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  for (const part of parts) socket.write(part);
  return socket;
}

/** Reads frames until the end, and ends the socket as well. */
async function answer(socket: Socket): Promise<unknown[]> {
  const decoder = new CallFrameDecoder(1 << 20);
  const frames: Frame[] = [];
  for await (const chunk of socket) {
    decoder.push(chunk as Buffer);
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  }
  return frames.map(({ kind, payload }) => (kind === FrameKind.ERROR ? JSON.parse(String(payload)) : kind));
}

/** The server still serves others, and nothing of the bad call is left. */
async function isUnharmed(): Promise<void> {
  while (server.streamingCalls > 0) await new Promise(setImmediate);
  const items: unknown[] = [];
  for await (const item of apiClient(near, api).items(['a', 'b'])) items.push(item);
  expect(items).toEqual(['a', 'b']);
}

describe('a server', () => {
  it.each([
    ['a header that is no JSON', Buffer.from('{')],
    ['a header without a command', Buffer.from('{"id":"x"}')],
    ['no header', Buffer.alloc(0)],
  ])('closes a circuit with %s', async (_what, header) => {
    const socket = await written([encodePreamble({ kind: CircuitKind.CALL, header })]);
    await new Promise((resolve) => socket.resume().once('close', resolve));
    await isUnharmed();
  });

  it.each([
    ['a frame of a kind that is not known', 1, false, [Buffer.from([9, 0, 0, 0, 0])], 'ERR_STARLANE_MESSAGE_PROTOCOL'],
    ['an end in the place of the input', 1, false, encodeFrame(FrameKind.END), 'ERR_STARLANE_MESSAGE_PROTOCOL'],
    [
      'an item of a kind that is not known',
      1,
      false,
      [...encodeFrame(FrameKind.ITEM, [Buffer.from([77])]), ...encodeFrame(FrameKind.END)],
      'ERR_STARLANE_MESSAGE_PROTOCOL',
    ],
    [
      'two inputs',
      1,
      false,
      [...encodeFrame(FrameKind.ITEM, encodeItem('a', 99)), ...encodeFrame(FrameKind.ITEM, encodeItem('b', 99))],
      'ERR_STARLANE_MESSAGE_PROTOCOL',
    ],
    ['a command that it does not have', 7, false, [], 'ERR_STARLANE_NO_HANDLER'],
    ['a stream where there is none', 1, true, [], 'ERR_STARLANE_API'],
  ])('runs no handler for %s', async (_what, command, streams, parts, code) => {
    const socket = await begun(command, streams);
    for (const part of parts) socket.write(part);
    expect(await answer(socket)).toEqual([expect.objectContaining({ code, outcome: 'not-handled' })]);
    expect(runs).toBe(0);
    await isUnharmed();
  });

  it('ends the input of a handler at an item that is too long, by its first bytes', async () => {
    const socket = await begun(2, true);
    socket.write(Buffer.from([FrameKind.ITEM, 0, 16, 0, 0]));
    expect(await answer(socket)).toEqual([
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE', outcome: 'handled' }),
    ]);
    await isUnharmed();
  });

  it('gives one caller no more than its share of places, also where no input comes', async () => {
    const first = await begun(1, false);
    const second = await begun(2, true);
    while (server.streamingCalls < 2) await new Promise(setImmediate);
    expect(await answer(await begun(1, false))).toEqual([
      expect.objectContaining({ code: 'ERR_STARLANE_QUEUE_FULL', outcome: 'not-handled' }),
    ]);
    first.resetAndDestroy();
    second.resetAndDestroy();
    await isUnharmed();
  });

  it('lets go of a caller that goes within a frame', async () => {
    const socket = await begun(2, true);
    socket.end(Buffer.from([FrameKind.ITEM, 0, 0]));
    expect(await answer(socket)).toEqual([
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL', outcome: 'handled' }),
    ]);
    await isUnharmed();
  });
});

describe('a client', () => {
  it.each([
    ['an item, and no end', encodeFrame(FrameKind.ITEM, encodeItem(1, 99))],
    ['nothing', []],
    ['an error that is no JSON', encodeFrame(FrameKind.ERROR, [Buffer.from('{')])],
    ['an error of another shape', encodeFrame(FrameKind.ERROR, [Buffer.from('[null]')])],
    ['a frame of a kind that is not known', [Buffer.from([9, 0, 0, 0, 0])]],
    ['an item that is too long', [Buffer.from([FrameKind.ITEM, 255, 0, 0, 0])]],
  ])('does not know the outcome after %s', async (_what, parts) => {
    const other = defineApi({ name: 'liar', version: '1', commands: { tail: { number: 1, output: stream() } } });
    net.listener.bind('liar:16', { allowHalfOpen: true }, (socket) => {
      socket.resume();
      for (const part of parts) socket.write(part);
      socket.end();
    });
    await knows(near, 'liar');
    const error = await (async () => {
      for await (const _item of apiClient(near, other).tail());
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ outcome: 'unknown', code: expect.stringMatching(/^ERR_STARLANE_/) });
    while (near.stats().streams.links > 0) await new Promise(setImmediate);
  });
});
