import { EventEmitter, once } from 'node:events';
import { type Duplex, PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Session, type SessionOptions, type Stream } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { ACK, data, FIN, goAway, ping, RST, SYN, windowUpdate } from '../support/frames.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { ScriptedPeer } from '../support/scripted-peer.js';
import { turn } from '../support/turns.js';

describe('Session', () => {
  const made: Session[] = [];
  beforeEach(watchHandles);
  afterEach(async () => {
    for (const session of made.splice(0)) session.destroy();
    await nothingLeft();
  });

  async function nextStream(session: Session): Promise<Stream> {
    const [stream] = (await within('a stream', once(session, 'stream'))) as [Stream];
    return stream.on('error', () => {});
  }

  async function make(options: Partial<SessionOptions> = {}): Promise<{ session: Session; peer: ScriptedPeer }> {
    const peer = new ScriptedPeer();
    const session = new Session(peer, { client: false, ...options });
    made.push(session);
    await turn();
    peer.takeFrames();
    return { session, peer };
  }

  describe('without a listener for streams', () => {
    it('keeps streams in the backlog, and emits them with their data when a listener is added', async () => {
      const { session, peer } = await make();
      peer.feed(data(1, 'early', SYN), windowUpdate(3, 0, SYN));
      await turn();
      expect(peer.takeText()).toEqual([]);
      const streams: Stream[] = [];
      session.on('stream', (stream) => streams.push(stream.on('error', () => {})));
      await turn();
      expect(streams.map(({ id }) => id)).toEqual([1, 3]);
      expect(streams[0].read()?.toString()).toBe('early');
      expect(peer.takeText()).toEqual(['WINDOW 1 ACK 0', 'WINDOW 3 ACK 0']);
    });

    it('emits one stream to a once() listener, and the next stream to the next listener', async () => {
      const { session, peer } = await make();
      peer.feed(windowUpdate(1, 0, SYN), windowUpdate(3, 0, SYN));
      expect((await nextStream(session)).id).toBe(1);
      await turn();
      expect(peer.takeText()).toEqual(['WINDOW 1 ACK 0']);
      expect((await nextStream(session)).id).toBe(3);
    });

    it('refuses what exceeds the accept backlog', async () => {
      const { peer } = await make({ acceptBacklog: 2 });
      peer.feed(windowUpdate(1, 0, SYN), data(3, 'x', SYN), windowUpdate(5, 0, SYN), data(7, 'y', SYN));
      await turn();
      expect(peer.takeText()).toEqual(['WINDOW 5 RST 0', 'WINDOW 7 RST 0']);
    });

    it('survives a peer that resets a waiting stream', async () => {
      const { session, peer } = await make();
      peer.feed(windowUpdate(1, 0, SYN));
      peer.feed(windowUpdate(1, 0, RST));
      await turn();
      peer.feed(windowUpdate(3, 0, SYN));
      expect((await nextStream(session)).id).toBe(3);
      expect(session.streamCount).toBe(1);
    });

    it('survives the loss of the link while a stream waits', async () => {
      const { session, peer } = await make();
      peer.feed(data(1, 'unread', SYN));
      session.on('error', () => {});
      const closed = new Promise((resolve) => session.once('close', resolve as () => void));
      peer.destroy();
      await within('close', closed);
      await turn();
      expect(session.streamCount).toBe(0);
    });

    it('keeps nothing of streams that are opened and reset repeatedly', async () => {
      const { session, peer } = await make({ acceptBacklog: 4 });
      for (let id = 1; id < 40; id += 2) peer.feed(data(id, 'x', SYN), windowUpdate(id, 0, RST));
      await turn();
      expect(session.streamCount).toBe(0);
      expect((Reflect.get(session, 'waiting') as Set<unknown>).size).toBeLessThanOrEqual(4);
    });

    it('emits a stream that has ended meanwhile', async () => {
      const { session, peer } = await make();
      peer.feed(data(1, 'whole', SYN | FIN));
      await turn();
      const stream = await nextStream(session);
      const chunks: string[] = [];
      for await (const chunk of stream) chunks.push(String(chunk));
      expect(chunks).toEqual(['whole']);
    });
  });

  it('emits streams as they come, and acknowledges them', async () => {
    const { session, peer } = await make();
    const streams: Stream[] = [];
    session.on('stream', (stream) => streams.push(stream.on('error', () => {})));
    peer.feed(windowUpdate(1, 0, SYN), data(3, 'hello', SYN));
    expect(streams.map(({ id }) => id)).toEqual([1, 3]);
    await turn();
    expect(peer.takeText()).toEqual(['WINDOW 1 ACK 0', 'WINDOW 3 ACK 0']);
    expect(session.streamCount).toBe(2);
    expect(String(streams[1].read())).toBe('hello');
  });

  it('emits a go away once, and refuses to open streams after it', async () => {
    const { session, peer } = await make();
    let emitted = 0;
    session.on('goaway', () => emitted++);
    peer.feed(goAway(0), goAway(0));
    expect(emitted).toBe(1);
    expect(() => session.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_GO_AWAY' }));
  });

  it("emits 'error' only if there is a listener, and 'close' once in any case", async () => {
    for (const listens of [false, true]) {
      const { session, peer } = await make();
      const events: string[] = [];
      session.on('close', () => events.push('close'));
      if (listens) session.on('error', (error) => events.push(String(Reflect.get(error, 'code'))));
      peer.destroy(new Error('broken'));
      await turn();
      session.destroy();
      await turn();
      expect(events).toEqual(listens ? ['ERR_STARLANE_TRANSPORT', 'close'] : ['close']);
      expect(session.error).toMatchObject({ code: 'ERR_STARLANE_TRANSPORT', cause: { message: 'broken' } });
    }
  });

  it('resolves every close(), with or without an error', async () => {
    const { session, peer } = await make();
    const first = session.close();
    const second = session.close();
    peer.destroy(new Error('in the middle'));
    await within('closed', Promise.all([first, second, session.close()]));
    await within('closed already', session.close());
  });

  it('can be disposed of', async () => {
    const { session, peer } = await make();
    const disposed = session[Symbol.asyncDispose]();
    await turn();
    peer.feedEnd();
    await within('disposed', disposed);
    expect(peer.destroyed).toBe(true);
  });

  it('measures the time of a ping, and counts bytes in both directions', async () => {
    const { session, peer } = await make();
    const measured = session.ping();
    await turn();
    const [asked] = peer.takeFrames();
    peer.feed(ping(asked.length, ACK));
    expect(await within('pong', measured)).toBeGreaterThan(0);
    expect(session.rttMs).toBeGreaterThan(0);
    expect(session.bytesIn).toBe(12);
    expect(session.bytesOut).toBe(peer.writtenBytes);
  });

  it('refuses a value that is not a Duplex, and unknown options', () => {
    const notDuplex = new EventEmitter() as unknown as Duplex;
    expect(() => new Session(notDuplex, { client: true })).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }),
    );
    const bad = { client: true, keepaliveMs: 5 } as unknown as SessionOptions;
    expect(() => new Session(new PassThrough(), bad)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
  });
});
