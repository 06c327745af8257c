// Long messages, answers and streams, which travel on circuits of their own.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { messages } from '../../lib/messages/index.js';
import { chunkHead } from '../../lib/messages/wire/chunks.js';
import { OutcomeCode } from '../../lib/messages/wire/frames.js';
import { messageApart, RawSender, SERVICE } from '../support/raw-lane.js';
import { type Testnet, testnet } from '../support/testnet.js';

let net: Testnet;

beforeEach(async () => {
  net = await testnet('memory');
});

afterEach(() => net.close());

const MIB = 1024 * 1024;

function bytes(length: number): Buffer {
  return Buffer.alloc(length, 'starlane messages ');
}

async function digest(stream: AsyncIterable<Uint8Array>): Promise<{ length: number; hash: string }> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { length, hash: hash.digest('hex') };
}

/** Comparing megabytes by toEqual takes seconds. */
function isSame(a: unknown, b: unknown): boolean {
  if (Buffer.isBuffer(a) && Buffer.isBuffer(b)) return a.equals(b);
  return JSON.stringify(a) === JSON.stringify(b);
}

function* pieces(count: number, length: number): IterableIterator<Buffer> {
  for (let index = 0; index < count; index++) yield Buffer.alloc(length, index);
}

describe('a long message', () => {
  it('arrives as what it was, in its turn', async () => {
    const got: unknown[] = [];
    messages(net.listener).onMessage('orders', ({ data }) => {
      got.push(data);
    });
    const post = messages(net.joiner);
    const values = ['first', bytes(300_000), 'x'.repeat(100_000), { text: 'ü'.repeat(80_000) }, 'last'];
    await Promise.all(values.map((value) => post.send('orders', value)));
    expect(got.length).toBe(values.length);
    for (const [index, value] of values.entries()) expect(isSame(got[index], value)).toBe(true);
  });

  it('waits for a loop that has taken a message of another sender meanwhile', async () => {
    const got: unknown[] = [];
    const inbox = messages(net.listener).inbox(SERVICE);
    const sender = new RawSender(net.joiner);
    const loop = (async () => {
      for await (const { data } of inbox) {
        got.push(Buffer.isBuffer(data) ? data.length : data);
        if (got.length === 2) return;
        // Now the content of the long message arrives, whose turn came first.
        const body = sender.body('a', 1, 0);
        for (let at = 0; at < 4; at++) body.write(Buffer.concat([chunkHead(MIB / 4), bytes(MIB / 4)]));
        body.write(chunkHead(0));
        await once(body.resume(), 'end');
      }
    })();
    const lane = await sender.lane('a', 1);
    lane.write(messageApart(0, MIB));
    await lane.until(() => lane.wanted.includes(0));
    await messages(net.listener).send(SERVICE, 'short');
    await loop;
    expect(got).toEqual(['short', MIB]);
    expect(await lane.outcomeOf(0)).toBe(OutcomeCode.HANDLED);
    sender.destroy();
  });

  it('is not handled when it is longer than the receiver accepts', async () => {
    let runs = 0;
    messages(net.listener).onMessage('orders', () => void runs++, { maxMessageBytes: 100_000 });
    const error = await messages(net.joiner)
      .send('orders', bytes(100_001))
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_MESSAGE_SIZE', outcome: 'not-handled' });
    expect(runs).toBe(0);
  });

  it('arrives as a Readable where that is asked for', async () => {
    const got: unknown[] = [];
    messages(net.listener).onMessage<AsyncIterable<Uint8Array>>(
      'orders',
      async ({ data }) => void got.push(await digest(data)),
      { streamed: true, maxMessageBytes: 1_000 },
    );
    await messages(net.joiner).send('orders', bytes(2 * MIB));
    expect(got).toEqual([await digest(Readable.from([bytes(2 * MIB)]))]);
  });
});

describe('a stream', () => {
  it('is handled as it is read', async () => {
    const got: unknown[] = [];
    messages(net.listener).onMessage<Readable>('orders', async ({ data }) => void got.push(await digest(data)));
    await messages(net.joiner).send('orders', Readable.from(pieces(40, 50_000)));
    expect(got).toEqual([await digest(Readable.from(pieces(40, 50_000)))]);
  });

  it('does not go on when its reader does not', async () => {
    let read = 0;
    const release: Array<() => void> = [];
    messages(net.listener).onMessage<Readable>('orders', async ({ data }) => {
      await new Promise<void>((resolve) => release.push(resolve));
      await digest(data);
    });
    async function* endless(): AsyncIterableIterator<Buffer> {
      while (read < 24 * MIB) {
        read += MIB;
        yield bytes(MIB);
        if (read === 12 * MIB) release[0]();
      }
    }
    const sent = messages(net.joiner).send('orders', endless());
    // What waits on the way has limits: the windows of the circuit and two buffers.
    for (let before = -1; before !== read || read === 0; ) {
      before = read;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(read).toBeLessThan(12 * MIB);
    release[0]();
    await sent;
    expect(read).toBe(24 * MIB);
  });

  it('fails the handler when its source does', async () => {
    const seen: unknown[] = [];
    messages(net.listener).onMessage<Readable>('orders', async ({ data }) => {
      seen.push(await digest(data).catch((error) => (error as Error).message));
      throw new Error('it broke off');
    });
    async function* broken(): AsyncIterableIterator<Buffer> {
      yield bytes(10);
      throw new Error('no more');
    }
    const error = await messages(net.joiner)
      .send('orders', broken())
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_HANDLER_FAILED', outcome: 'handled' });
    expect(seen).toEqual(['read ECONNRESET']);
  });

  it('that breaks off does not end the process of a handler that does not read it', async () => {
    const closed: Array<Promise<void>> = [];
    messages(net.listener).onMessage<Readable>('orders', async ({ data }) => {
      const end = new Promise<void>((resolve) => data.once('close', resolve));
      closed.push(end);
      await end;
    });
    async function* broken(): AsyncIterableIterator<Buffer> {
      yield bytes(10);
      throw new Error('no more');
    }
    await messages(net.joiner).send('orders', broken());
    expect(closed.length).toBe(1);
  });
});

describe('an answer', () => {
  it('may be long, or a stream', async () => {
    const inbox = messages(net.listener).inbox('files');
    inbox.onCommand(1, (length: number) => bytes(length));
    inbox.onCommand(2, () => Readable.from(pieces(40, 50_000)));
    inbox.onCommand(3, () => ({ text: 'x'.repeat(200_000) }));
    const post = messages(net.joiner);
    expect(isSame(await post.call('files', 1, 3 * MIB), bytes(3 * MIB))).toBe(true);
    expect(await digest(await post.call<Readable>('files', 2))).toEqual(
      await digest(Readable.from(pieces(40, 50_000))),
    );
    expect(await post.call('files', 3)).toEqual({ text: 'x'.repeat(200_000) });
  });

  it('that is longer than the caller accepts was handled', async () => {
    messages(net.listener)
      .inbox('files')
      .onCommand(1, () => bytes(100_000));
    const error = await messages(net.joiner, { maxAnswerBytes: 90_000 })
      .call('files', 1)
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_MESSAGE_SIZE', outcome: 'handled' });
  });
});

describe('a key', () => {
  it('runs one handler for two messages, also while it runs', async () => {
    let runs = 0;
    let finish: () => void = () => {};
    const inbox = messages(net.listener).inbox('orders');
    inbox.onCommand(1, (input) => {
      runs++;
      return new Promise((resolve) => {
        finish = () => resolve(['done', input]);
      });
    });
    inbox.onCommand(2, () => finish());
    const post = messages(net.joiner);
    const both = [
      post.call('orders', 1, 'a', { idempotencyKey: 'k' }),
      post.call('orders', 1, 'b', { idempotencyKey: 'k' }),
    ];
    await post.call('orders', 2);
    expect(await Promise.all(both)).toEqual([
      ['done', 'a'],
      ['done', 'a'],
    ]);
    expect(await post.call('orders', 1, 'c', { idempotencyKey: 'k' })).toEqual(['done', 'a']);
    expect(runs).toBe(1);
  });
});
