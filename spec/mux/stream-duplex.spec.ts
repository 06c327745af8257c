import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Session, type SessionOptions, type Stream } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { ACK, data, FIN, pattern, payloadOf, RST, windowUpdate } from '../support/frames.js';
import { naiveDecode } from '../support/naive-codec.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { ScriptedPeer } from '../support/scripted-peer.js';
import { closeOf } from '../support/session-pair.js';
import { turn } from '../support/turns.js';

const KIB = 1024;
const WINDOW = 256 * KIB;
const HALF = WINDOW / 2;

const made: Session[] = [];
beforeEach(watchHandles);
afterEach(async () => {
  for (const session of made.splice(0)) session.destroy();
  await nothingLeft();
});

interface Opened {
  session: Session;
  peer: ScriptedPeer;
  stream: Stream;
}

/** A stream with id 2 that the peer has acknowledged. */
async function open(options: Partial<SessionOptions> = {}): Promise<Opened> {
  const peer = new ScriptedPeer();
  const session = new Session(peer, { client: false, ...options });
  made.push(session);
  const stream = session.open();
  stream.on('error', () => {});
  await turn();
  peer.feed(windowUpdate(2, 0, ACK));
  await turn();
  expect(peer.takeText()).toEqual(['PING SYN 0', 'WINDOW 2 SYN 0']);
  return { session, peer, stream };
}

describe('Credit of a Stream', () => {
  it('stays away while the reader is paused, and goes back as it reads', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, pattern(HALF)), data(2, pattern(HALF)));
    await turn();
    expect(peer.takeText()).toEqual([]);
    expect(stream.readableLength).toBe(WINDOW);
    stream.read(HALF - 1);
    await turn();
    expect(peer.takeText()).toEqual([]);
    stream.read(1);
    await turn();
    expect(peer.takeText()).toEqual([`WINDOW 2 ${HALF}`]);
    stream.resume();
    await turn();
    expect(peer.takeText()).toEqual([`WINDOW 2 ${HALF}`]);
  });

  it('goes back at once to a peer whose bytes go straight to a listener', async () => {
    const { peer, stream } = await open();
    stream.on('data', () => {});
    await turn();
    peer.feed(data(2, pattern(HALF)));
    await turn();
    expect(peer.takeText()).toEqual([`WINDOW 2 ${HALF}`]);
    stream.pause();
    peer.feed(data(2, pattern(HALF)));
    await turn();
    expect(peer.takeText()).toEqual([]);
    stream.resume();
    await turn();
    expect(peer.takeText()).toEqual([`WINDOW 2 ${HALF}`]);
  });

  it('is the same whichever way the stream is read', async () => {
    const ways: Array<(stream: Stream) => Promise<unknown>> = [
      async (stream) => stream.on('data', () => {}),
      async (stream) => stream.on('readable', () => stream.read()),
      async (stream) => {
        for await (const _ of stream);
      },
      async (stream) => stream.setEncoding('utf8').on('data', () => {}),
      async (stream) => {
        stream.on('readable', () => {
          while (stream.read(1_000) !== null);
          if (stream.readableLength < 1_000) stream.read();
        });
      },
    ];
    for (const read of ways) {
      const { peer, stream } = await open();
      const reading = read(stream);
      let credit = WINDOW;
      for (let sent = 0; sent < 8 * WINDOW; sent += 32 * KIB) {
        expect(credit).toBeGreaterThanOrEqual(32 * KIB);
        peer.feed(data(2, pattern(32 * KIB)));
        await turn();
        await turn();
        credit += peer.takeFrames().reduce((sum, { length }) => sum + length, -32 * KIB);
      }
      expect(credit).toBeGreaterThan(HALF);
      peer.feed(windowUpdate(2, 0, FIN));
      await within('the end', Promise.all([once(stream, 'end'), reading]));
    }
  });

  it('counts bytes that were put back only once', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, pattern(WINDOW)));
    let granted = 0;
    for (let round = 0; round < 20; round++) {
      const chunk = stream.read(20_000) as Buffer | null;
      if (chunk !== null) stream.unshift(chunk.subarray(10_000));
      await turn();
      granted += peer.takeFrames().reduce((sum, { length }) => sum + length, 0);
      expect(granted).toBeLessThanOrEqual(WINDOW - stream.readableLength + 20_000);
    }
    stream.resume();
    await turn();
    granted += peer.takeFrames().reduce((sum, { length }) => sum + length, 0);
    expect(granted).toBeGreaterThan(HALF);
    expect(granted).toBeLessThanOrEqual(WINDOW);
  });

  it('does not hold a reader up that waits for more than the window', async () => {
    const { peer, stream } = await open();
    const wanted = 3 * WINDOW;
    stream.on('readable', () => stream.read(wanted));
    let credit = WINDOW;
    for (let fed = 0; fed < wanted; fed += HALF) {
      expect(credit).toBeGreaterThanOrEqual(HALF);
      peer.feed(data(2, pattern(HALF)));
      await turn();
      credit += peer.takeFrames().reduce((sum, { length }) => sum + length, -HALF);
    }
    expect(stream.readableLength).toBe(0);
  });

  it('is not given for a stream that was destroyed', async () => {
    const { session, peer, stream } = await open();
    peer.feed(data(2, pattern(WINDOW)));
    stream.destroy();
    await turn();
    expect(peer.takeText()).toEqual(['WINDOW 2 RST 0']);
    expect(session.streamCount).toBe(0);
  });
});

describe('Bytes that wait in a Stream', () => {
  it('do not keep much larger chunks of the link alive', async () => {
    const { peer, stream } = await open();
    const rest = data(4, pattern(100 * KIB));
    peer.feed(data(2, 'few'), rest);
    const chunk = stream.read() as Buffer;
    expect(chunk.toString()).toBe('few');
    expect(chunk.buffer.byteLength).toBeLessThan(KIB);
  });

  it('are not copied for a reader that waits for them', async () => {
    const { peer, stream } = await open();
    const chunks: Buffer[] = [];
    stream.on('readable', () => {
      for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null)
        chunks.push(chunk);
    });
    await turn();
    peer.feed(data(2, 'few'), data(4, pattern(100 * KIB)));
    await turn();
    expect(chunks.map(String)).toEqual(['few']);
    expect(chunks[0].buffer.byteLength).toBeGreaterThan(100 * KIB);
  });

  it('are copied behind a chunk that a reader has not taken', async () => {
    const { peer, stream } = await open();
    stream.on('readable', () => {});
    await turn();
    peer.feed(data(2, 'one'), data(2, 'two'), data(2, 'six'), data(4, pattern(100 * KIB)));
    await turn();
    const chunks = [stream.read(3), stream.read(3), stream.read(3)] as Buffer[];
    expect(chunks.map(String)).toEqual(['one', 'two', 'six']);
    expect(chunks.map(({ buffer }) => buffer.byteLength > KIB)).toEqual([true, false, false]);
  });

  it('are the memory of the link when they make up most of it', async () => {
    const { peer, stream } = await open();
    const payload = pattern(64 * KIB);
    peer.feed(data(2, payload));
    const chunk = stream.read() as Buffer;
    expect(chunk.equals(payload)).toBe(true);
    expect(chunk.buffer.byteLength).toBeLessThan(80 * KIB);
  });
});

describe('Writes of a Stream', () => {
  const sizes = [10, 5_000, 70_000, 0, 4_096, 300_000, 1];

  function writeAll(stream: Stream): { calls: number[]; errors: Array<Error | undefined | null> } {
    const calls = sizes.map(() => 0);
    const errors: Array<Error | undefined | null> = [];
    sizes.forEach((size, index) => {
      stream.write(pattern(size, index), (error) => {
        calls[index]++;
        errors[index] = error;
      });
    });
    return { calls, errors };
  }

  it('call back exactly once when the link has taken them, in order', async () => {
    const { peer, stream } = await open();
    const { calls, errors } = writeAll(stream);
    const drained = once(stream, 'drain');
    await turn();
    peer.feed(windowUpdate(2, 1_000_000));
    await within('drain', drained);
    await turn();
    expect(calls).toEqual(sizes.map(() => 1));
    expect(errors.every((error) => !error)).toBe(true);
    const { frames } = naiveDecode(peer.written);
    const expected = Buffer.concat(sizes.map((size, index) => pattern(size, index)));
    expect(payloadOf(frames, 2).equals(expected)).toBe(true);
  });

  const ends: Array<[name: string, end: (opened: Opened) => void, code: string]> = [
    ['a reset of the peer', ({ peer }) => peer.feed(windowUpdate(2, 0, RST)), 'ERR_STARLANE_STREAM_RESET'],
    ['a reset of this side', ({ stream }) => stream.reset(), 'ERR_STREAM_DESTROYED'],
    ['the destruction of the stream', ({ stream }) => stream.destroy(), 'ERR_STREAM_DESTROYED'],
    ['an error', ({ stream }) => stream.destroy(Object.assign(new Error('x'), { code: 'MINE' })), 'MINE'],
    ['the end of the session', ({ session }) => session.destroy(), 'ERR_STARLANE_CLOSED'],
    ['the loss of the link', ({ peer }) => peer.destroy(), 'ERR_STARLANE_LINK_LOST'],
  ];
  for (const [name, end, code] of ends) {
    it(`call back exactly once at ${name}`, async () => {
      for (const blocked of [false, true]) {
        const opened = await open();
        const { peer, stream } = opened;
        if (blocked) peer.block();
        const { calls, errors } = writeAll(stream);
        await turn();
        const closed = closeOf(stream);
        end(opened);
        await closed;
        await turn();
        if (!peer.destroyed) peer.unblock();
        await turn();
        expect(calls).toEqual(sizes.map(() => 1));
        expect(errors[5]).toMatchObject({ code });
        const late = await new Promise<Error | null | undefined>((resolve) => stream.write('late', resolve));
        expect(late).toMatchObject({ message: expect.any(String) });
      }
    });
  }

  it('of one turn leave in one write, small ones in one frame', async () => {
    const { peer, stream } = await open();
    const writes = peer.writes.length;
    stream.cork();
    for (let index = 0; index < 10; index++) stream.write(`part ${index}`);
    stream.uncork();
    await turn();
    expect(peer.writes.length).toBe(writes + 1);
    expect(peer.takeText()).toEqual(['DATA 2 60']);
  });

  it('make the writer wait while the link accepts nothing', async () => {
    const { peer, stream } = await open();
    peer.block();
    let accepted = 0;
    while (stream.write(pattern(8 * KIB))) accepted += 8 * KIB;
    await turn();
    expect(accepted).toBeLessThan(512 * KIB);
    expect(stream.writableNeedDrain).toBe(true);
    const drained = once(stream, 'drain');
    peer.unblock();
    await within('drain', drained);
  });

  it('are all sent before the end', async () => {
    const { peer, stream } = await open();
    stream.write(pattern(300_000));
    stream.end('!');
    await turn();
    expect(peer.takeText().some((line) => line.includes('FIN'))).toBe(false);
    peer.feed(windowUpdate(2, 100_000));
    await turn();
    expect(peer.takeText().at(-1)).toBe('WINDOW 2 FIN 0');
    peer.feed(windowUpdate(2, 0, FIN));
    stream.resume();
    await within('finished', finished(stream));
    expect(stream.destroyed).toBe(true);
  });

  it('and the end of a stream opened in this turn are the first that the peer receives of it', async () => {
    const { session, peer } = await open();
    const stream = session.open();
    stream.end('all at once');
    stream.on('error', () => {});
    await turn();
    expect(peer.takeText()).toEqual(['DATA 4 SYN 11', 'WINDOW 4 FIN 0']);
  });
});

describe('The end of a Stream', () => {
  it('is noticed also without a reader, and closes it when both sides have ended', async () => {
    const { session, peer, stream } = await open();
    stream.end();
    peer.feed(windowUpdate(2, 0, FIN));
    expect(await closeOf(stream)).toBeUndefined();
    expect(session.streamCount).toBe(0);
  });

  it('comes after everything that was sent before it', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, 'before', FIN));
    await turn();
    expect(stream.readableEnded).toBe(false);
    expect(String(stream.read())).toBe('before');
    await within('end', once(stream, 'end'));
  });

  it('leaves what has arrived to the reader, when the session ends in order after it', async () => {
    const { session, peer, stream } = await open();
    peer.feed(data(2, pattern(WINDOW), FIN));
    stream.end();
    await turn();
    const closed = session.close();
    await turn();
    peer.feedEnd();
    await within('close', closed);
    expect(session.error).toBeUndefined();
    expect((stream.read() as Buffer).equals(pattern(WINDOW))).toBe(true);
    await within('end', once(stream, 'end'));
  });

  const losses: Array<[name: string, lose: (opened: Opened) => void]> = [
    ['a reset', ({ peer }) => peer.feed(windowUpdate(2, 0, RST))],
    ['the loss of the link', ({ peer }) => peer.destroy()],
  ];
  for (const [name, lose] of losses) {
    it(`leaves all of it to the reader when ${name} follows the end of the peer, and reports it then`, async () => {
      const opened = await open();
      const { peer, stream } = opened;
      const seen: string[] = [];
      for (const event of ['end', 'error', 'close']) stream.on(event, () => seen.push(event));
      peer.feed(data(2, pattern(1_000), FIN));
      await turn();
      lose(opened);
      await turn();
      expect(seen).toEqual([]);
      expect((stream.read(400) as Buffer).equals(pattern(1_000).subarray(0, 400))).toBe(true);
      await turn();
      expect(seen).toEqual([]);
      const closed = closeOf(stream);
      expect((stream.read() as Buffer).equals(pattern(1_000).subarray(400))).toBe(true);
      await within('close', closed);
      expect(seen).toEqual(['end', 'error', 'close']);
    });
  }

  it('fails a write after a reset with its reason, however large, though there is something to read', async () => {
    for (const bytes of [10, 100_000]) {
      const { peer, stream } = await open();
      peer.feed(data(2, 'unread', FIN), windowUpdate(2, 0, RST));
      await turn();
      const failure = new Promise((resolve) => stream.write(Buffer.alloc(bytes), resolve));
      expect(await within('failure', failure)).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
      const both = new Promise((resolve) => {
        stream.cork();
        stream.write(Buffer.alloc(bytes));
        stream.write(Buffer.alloc(bytes), resolve);
        stream.uncork();
      });
      expect(await within('failure', both)).toMatchObject({
        code: expect.stringMatching(/^ERR_STREAM_DESTROYED|RESET$/),
      });
    }
  });

  it('by a reset after the end of the peer is immediate while a write waits, which is lost', async () => {
    const { peer, stream } = await open();
    peer.block();
    const failure = new Promise((resolve) => stream.write(Buffer.alloc(2 * WINDOW), resolve));
    peer.feed(data(2, 'unread', FIN), windowUpdate(2, 0, RST));
    expect(await within('failure', failure)).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
    expect(stream.destroyed).toBe(true);
  });

  it('by the end of the session is immediate when this side ends it, whatever is unread', async () => {
    const { session, peer, stream } = await open();
    peer.feed(data(2, 'unread', FIN));
    await turn();
    session.destroy();
    await turn();
    expect(stream.destroyed).toBe(true);
  });

  it('without the end of the peer is immediate, whatever is unread', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, 'unread'), windowUpdate(2, 0, RST));
    await turn();
    expect(stream.destroyed).toBe(true);
    expect(stream.errored).toMatchObject({ code: 'ERR_STARLANE_STREAM_RESET' });
  });

  it('by destruction with unread data is a reset, so that the peer learns that it was lost', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, 'unread', FIN));
    await turn();
    stream.destroy();
    await turn();
    expect(peer.takeText()).toEqual(['WINDOW 2 RST 0']);
  });

  it('by destruction without anything unread is an orderly one', async () => {
    const { peer, stream } = await open();
    peer.feed(data(2, 'read'));
    stream.resume();
    await turn();
    stream.destroy();
    await turn();
    expect(peer.takeText()).toEqual(['WINDOW 2 FIN 0']);
  });
});
