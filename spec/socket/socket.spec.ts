import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from '../../lib/index.js';
import { catchErrorsOfTicks } from '../support/caught-errors.js';
import { closeOf, type NodePair, nodePair, readAll, recordEvents, socketPair } from '../support/socket-pair.js';
import { turn } from '../support/turns.js';

const EVENTS = ['connect', 'ready', 'data', 'end', 'finish', 'timeout', 'drain', 'error', 'close'];

let pair: NodePair;
beforeEach(async () => {
  pair = await nodePair();
});
afterEach(async () => {
  await pair[Symbol.asyncDispose]();
});

describe('the life of a socket', () => {
  it('goes through connect, ready, data, end and close in the order of net.Socket', async () => {
    pair.server.bind('greet', (socket) => socket.end('hello'));
    const socket = pair.client.dial('greet');
    const seen = recordEvents(socket, EVENTS);
    expect([socket.connecting, socket.pending, socket.readyState]).toEqual([true, true, 'opening']);
    socket.once('connect', () => {
      expect([socket.connecting, socket.pending, socket.readyState]).toEqual([false, false, 'open']);
    });
    await once(socket, 'close');
    expect(seen).toEqual(['connect', 'ready', 'data', 'end', 'finish', 'close']);
    expect(socket.readyState).toBe('closed');
  });

  it('passes to its close event whether there was an error', async () => {
    const { near, far } = await socketPair(pair);
    const closes: boolean[] = [];
    near.on('close', (hadError: boolean) => closes.push(hadError));
    far.on('close', (hadError: boolean) => closes.push(hadError));
    near.on('error', () => {});
    far.resume();
    const both = Promise.all([closeOf(near), closeOf(far)]);
    near.destroy(new Error('mine'));
    await both;
    // An error of one end is none of the other, as with net.Socket.
    expect(closes).toEqual([true, false]);
  });

  it('emits error before close', async () => {
    const { near } = await socketPair(pair);
    const seen = recordEvents(near, EVENTS);
    near.destroy(new Error('mine'));
    await closeOf(near);
    expect(seen).toEqual(['error', 'close']);
  });

  it('sends what was written before it is connected', async () => {
    pair.server.bind('echo', (socket) => socket.pipe(socket));
    const socket = pair.client.dial('echo');
    socket.write('a');
    socket.write('b');
    socket.end('c');
    expect(`${await readAll(socket)}`).toBe('abc');
  });

  it('calls back early writes once it is connected, and not before', async () => {
    pair.server.bind('sink', (socket) => socket.resume());
    const socket = pair.client.dial('sink');
    const order: string[] = [];
    socket.on('connect', () => order.push('connect'));
    await new Promise<void>((resolve) => {
      socket.write('a', () => {
        order.push('written');
        resolve();
      });
    });
    expect(order.sort()).toEqual(['connect', 'written']);
    socket.destroy();
  });
});

describe('half-close', () => {
  it('ends the writing half by itself when the peer has ended, by default', async () => {
    const { near, far } = await socketPair(pair);
    near.resume();
    far.resume();
    const finish = once(far, 'finish');
    near.end();
    await finish;
    await Promise.all([near.closed || once(near, 'close'), far.closed || once(far, 'close')]);
  });

  it('goes on in the other direction with allowHalfOpen', async () => {
    const { near, far } = await socketPair(pair, { allowHalfOpen: true });
    near.end('question');
    expect(`${await readAllWithoutDestroying(far)}`).toBe('question');
    expect(far.readyState).toBe('writeOnly');
    expect(near.readyState).toBe('readOnly');
    far.end('answer');
    expect(`${await readAllWithoutDestroying(near)}`).toBe('answer');
  });

  it('refuses to write after end with EPIPE or ERR_STREAM_WRITE_AFTER_END', async () => {
    const { near } = await socketPair(pair);
    near.end();
    const failed = once(near, 'error');
    near.write('late');
    expect((await failed)[0]).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' });
  });
});

describe('destruction', () => {
  it('without an error lets the peer see a plain end', async () => {
    const { near, far } = await socketPair(pair);
    const seen = recordEvents(far, EVENTS);
    far.resume();
    near.destroy();
    await once(far, 'close');
    expect(seen).toEqual(['end', 'finish', 'close']);
  });

  it('with unread data resets the peer, as TCP does', async () => {
    const { near, far } = await socketPair(pair);
    far.write('unread');
    await once(near, 'readable');
    far.on('error', () => {});
    near.destroy();
    const [error] = await once(far, 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
  });

  it('by a reset after its end leaves everything to the reader without an error, as TCP does', async () => {
    const { near, far } = await socketPair(pair);
    const sent = Buffer.alloc(100_000, 'whole');
    far.end(sent);
    await Promise.all([once(near, 'readable'), once(far, 'finish')]);
    far.resetAndDestroy();
    await once(far, 'close');
    await turn();
    const closed = once(near, 'close');
    expect((await readAll(near)).equals(sent)).toBe(true);
    expect(await closed).toEqual([false]);
  });

  it('of the other node leaves everything that was sent and ended to a reader who is slower', async () => {
    const { near, far } = await socketPair(pair);
    const sent = Buffer.alloc(100_000, 'whole');
    far.end(sent);
    await Promise.all([once(near, 'readable'), once(far, 'finish')]);
    await pair.server.close();
    expect(near.destroyed).toBe(false);
    expect((await readAll(near)).equals(sent)).toBe(true);
  });

  it('of its own node leaves nothing that keeps the process alive', async () => {
    const { near, far } = await socketPair(pair);
    far.end('unread');
    await Promise.all([once(near, 'readable'), once(far, 'finish')]);
    await pair.client.close();
    expect(pair.client.stats().holds).toBe(0);
  });

  it('by resetAndDestroy resets the peer and closes without an error here', async () => {
    const { near, far } = await socketPair(pair);
    const failed = once(far, 'error');
    near.resetAndDestroy();
    const [hadError] = await once(near, 'close');
    expect(hadError).toBe(false);
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('by destroySoon waits until everything has left', async () => {
    const { near, far } = await socketPair(pair);
    const everything = readAll(far);
    near.write(Buffer.alloc(300_000, 1));
    near.destroySoon();
    expect((await everything).length).toBe(300_000);
    await (near.closed || once(near, 'close'));
  });

  it('before it is connected ends the dial', async () => {
    const socket = pair.client.dial('nobody');
    const seen = recordEvents(socket, EVENTS);
    socket.destroy();
    await once(socket, 'close');
    expect(seen).toEqual(['close']);
    expect(pair.client.stats().dials.pending).toBe(0);
  });

  it('calls every write callback exactly once', async () => {
    const { near } = await socketPair(pair);
    near.on('error', () => {});
    const calls = new Map<number, number>();
    for (let i = 0; i < 50; i++) {
      near.write(Buffer.alloc(65_536), () => calls.set(i, (calls.get(i) ?? 0) + 1));
    }
    near.destroy();
    await once(near, 'close');
    expect([...calls.values()]).toEqual(new Array(50).fill(1));
  });

  it('answers data that still comes by a reset', async () => {
    const { near, far } = await socketPair(pair, { allowHalfOpen: true });
    const failed = once(far, 'error');
    far.resume();
    near.destroy();
    await once(far, 'end');
    far.write('anyone?');
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('happens on disposal, which waits for close', async () => {
    const { near, far } = await socketPair(pair);
    far.resume();
    await near[Symbol.asyncDispose]();
    expect(near.closed).toBe(true);
  });
});

describe('counts and addresses', () => {
  it('count every byte once, strings and corked writes included', async () => {
    const { near, far } = await socketPair(pair);
    near.write('héllo');
    expect(near.bytesWritten).toBe(6);
    near.cork();
    near.write('ab');
    near.write(Buffer.alloc(100_000));
    expect(near.bytesWritten).toBe(100_008);
    near.uncork();
    expect(near.bytesWritten).toBe(100_008);
    const everything = readAll(far);
    near.end();
    expect((await everything).length).toBe(100_008);
    expect(far.bytesRead).toBe(100_008);
    expect(near.bytesWritten).toBe(100_008);
  });

  it('count bytes that wait in the socket while the peer reads nothing', async () => {
    const { near, far } = await socketPair(pair);
    near.write(Buffer.alloc(1_000_000));
    near.write(Buffer.alloc(10));
    expect(near.bytesWritten).toBe(1_000_010);
    expect(near.bufferSize).toBe(1_000_010);
    const everything = readAll(far);
    near.end();
    expect((await everything).length).toBe(1_000_010);
    expect(near.writableLength).toBe(0);
  });

  it('name both ends', async () => {
    const { near, far } = await socketPair(pair);
    expect(near.remoteAddress).toBe(`@${pair.server.id}`);
    expect(near.localAddress).toBe(`@${pair.client.id}`);
    expect(far.remoteAddress).toBe(near.localAddress);
    expect(far.remotePort).toBe(near.localPort);
    expect(far.localPort).toBe(near.remotePort);
    expect(near.address()).toEqual({ address: near.localAddress, family: 'Starlane', port: near.localPort });
    expect(near.peer).toEqual({ id: pair.server.id, service: 'pair', via: [] });
    expect(far.peer).toEqual({ id: pair.client.id, service: 'pair', via: [] });
  });

  it('are empty before it is connected', () => {
    const socket = pair.client.dial('nobody');
    expect([socket.address(), socket.remoteAddress, socket.peer, socket.bytesRead]).toEqual([
      {},
      undefined,
      undefined,
      0,
    ]);
    socket.destroy();
  });
});

describe('the idle timeout', () => {
  it('fires once after silence, leaves the socket open, and fires again after activity', async () => {
    const { near, far } = await socketPair(pair);
    near.setTimeout(20);
    expect(near.timeout).toBe(20);
    await once(near, 'timeout');
    expect(near.destroyed).toBe(false);
    const again = once(near, 'timeout');
    far.write('x');
    near.resume();
    await again;
  });

  it('is taken back by 0, together with its listener', async () => {
    const { near } = await socketPair(pair);
    const listener = (): void => {};
    near.setTimeout(1000, listener);
    expect(near.listenerCount('timeout')).toBe(1);
    near.setTimeout(0, listener);
    expect(near.listenerCount('timeout')).toBe(0);
  });

  it('refuses what is no time', async () => {
    const { near } = await socketPair(pair);
    expect(() => near.setTimeout(-1)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
    expect(() => near.setTimeout(Number.NaN)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
  });
});

describe('back-pressure', () => {
  it('stops a writer whose peer does not read, and lets it go on with drain', async () => {
    const { near, far } = await socketPair(pair);
    expect(near.write(Buffer.alloc(2 * 1024 * 1024))).toBe(false);
    let drained = false;
    near.once('drain', () => {
      drained = true;
    });
    // The answer shows that all that fits into the window has been sent.
    await once(far, 'readable');
    const answer = once(near, 'data');
    far.write('!');
    await answer;
    expect(drained).toBe(false);
    const drain = once(near, 'drain');
    far.on('readable', () => far.read());
    far.read();
    await drain;
    expect(near.bufferSize).toBe(0);
  });

  it('keeps no more than a window of what is not read', async () => {
    const { near, far } = await socketPair(pair);
    near.write(Buffer.alloc(4 * 1024 * 1024));
    await once(far, 'readable');
    // A reply shows that everything that could be sent has been.
    const pong = once(near, 'data');
    far.write('!');
    await pong;
    expect(far.readableLength).toBeLessThanOrEqual(256 * 1024);
    near.destroy();
    far.destroy();
  });

  it('hands over more than a window to a reader who asks for that much at once', async () => {
    const { near, far } = await socketPair(pair);
    const size = 700_000;
    near.write(Buffer.alloc(size, 7));
    const chunk = await new Promise<Buffer>((resolve) => {
      far.on('readable', () => {
        const all = far.read(size) as Buffer | null;
        if (all !== null) resolve(all);
      });
    });
    expect(chunk.length).toBe(size);
  });
});

describe('as a stream of Node', () => {
  it('works with pipeline in both directions', async () => {
    pair.server.bind('echo', (socket) => {
      pipeline(socket, socket).catch(() => {});
    });
    const socket = pair.client.dial('echo');
    const chunks = Array.from({ length: 64 }, (_, i) => Buffer.alloc(20_000, i));
    const sink = new PassThrough();
    const [received] = await Promise.all([readAll(sink), pipeline(Readable.from(chunks), socket, sink)]);
    expect(received.equals(Buffer.concat(chunks))).toBe(true);
  });

  it('works with finished', async () => {
    const { near, far } = await socketPair(pair);
    far.end('bye');
    near.resume();
    await finished(near);
    expect(near.destroyed).toBe(true);
  });

  it('decodes text across chunk borders', async () => {
    const { near, far } = await socketPair(pair);
    near.setEncoding('utf8');
    const text = 'é'.repeat(200_000);
    far.end(text);
    let received = '';
    for await (const part of near) received += part as unknown as string;
    expect(received).toBe(text);
  });

  it('obeys an AbortSignal', async () => {
    const controller = new AbortController();
    const socket = pair.client.dial('nobody', { signal: controller.signal });
    const failed = once(socket, 'error');
    controller.abort();
    expect((await failed)[0]).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
  });
});

describe('an exception of a listener', () => {
  const raised = catchErrorsOfTicks();

  it('surfaces as uncaught and costs no other socket of the link anything', async () => {
    const { near, far } = await socketPair(pair);
    const other = await otherPair(pair);
    near.on('data', () => {
      throw new Error('of a listener');
    });
    far.write('x');
    other.far.write('y');
    expect(`${(await once(other.near, 'data'))[0]}`).toBe('y');
    expect(raised).toMatchObject([{ message: 'of a listener' }]);
    other.near.destroy();
  });
});

async function otherPair(nodes: NodePair): Promise<{ near: Socket; far: Socket }> {
  const bound = nodes.server.bind('other');
  const near = nodes.client.dial('other');
  const [far] = (await once(bound, 'connection')) as [Socket];
  near.on('error', () => {});
  far.on('error', () => {});
  return { near, far };
}

/** Async iteration destroys the stream at its end; this leaves the writing half alone. */
async function readAllWithoutDestroying(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks);
}
