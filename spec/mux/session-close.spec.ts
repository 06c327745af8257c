import { describe, expect, it } from '@jest/globals';
import { starlaneError } from '../../lib/errors.js';
import { kOnReset } from '../../lib/mux/hidden.js';
import { MuxSession } from '../../lib/mux/session.js';
import { ACK, data, FIN, goAway, pattern, ping, SYN, windowUpdate } from '../support/frames.js';
import { NotingSink, sessionFixtures } from '../support/session-fixture.js';
import { turn, turnsUntil } from '../support/turns.js';

const make = sessionFixtures();

describe('Closing a session', () => {
  it('without streams sends a go away, ends the Duplex, and completes when the peer has ended too', async () => {
    const fixture = await make();
    fixture.session.close();
    expect(await fixture.answers()).toEqual(['GOAWAY 0']);
    expect(fixture.peer.sawEnd).toBe(true);
    expect(fixture.session.isClosed).toBe(true);
    expect(fixture.closes).toEqual([]);
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closes).toEqual([undefined]);
    expect(fixture.peer.destroyed).toBe(true);
    expect(fixture.timers.size).toBe(0);
  });

  it('waits for open streams, which continue meanwhile', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    const [stream] = fixture.incoming;
    fixture.session.close();
    fixture.session.close();
    expect(await fixture.answers()).toEqual(['GOAWAY 0']);
    await fixture.exchange(data(1, 'still here', FIN));
    expect(fixture.sinks[0].received.toString()).toBe('still here');
    expect(fixture.peer.sawEnd).toBe(false);
    stream.write(Buffer.from('so am I'));
    stream.end();
    expect(await fixture.answers()).toEqual(['DATA 1 7', 'WINDOW 1 FIN 0']);
    expect(fixture.peer.sawEnd).toBe(true);
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closes).toEqual([undefined]);
  });

  it('refuses new streams of the peer, and opens of this side', async () => {
    const fixture = await make();
    fixture.open();
    await fixture.exchange(windowUpdate(2, 0, ACK));
    fixture.session.close();
    expect(await fixture.exchange(windowUpdate(1, 0, SYN))).toEqual(['GOAWAY 0', 'WINDOW 1 RST 0']);
    expect(() => fixture.open()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
  });

  it('resets streams that are still open after the close timeout', async () => {
    const fixture = await make({ closeTimeoutMs: 3_000, keepAliveMs: 0 });
    const { sink } = fixture.open();
    await fixture.answers();
    fixture.session.close();
    fixture.clock.advance(2_990);
    expect(fixture.closes).toEqual([]);
    fixture.clock.advance(30);
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_CLOSE_TIMEOUT']);
    expect(sink.events).toEqual(['reset ERR_STARLANE_CLOSE_TIMEOUT']);
    expect(fixture.peer.destroyed).toBe(true);
  });

  it('bounds the wait for the end of the peer', async () => {
    const fixture = await make({ keepAliveMs: 0 });
    fixture.session.close();
    await fixture.answers();
    fixture.clock.advance(30_000);
    await turn();
    expect(fixture.peer.destroyed).toBe(true);
    expect(fixture.closes).toEqual([undefined]);
    expect(fixture.timers.size).toBe(0);
  });

  it('sends everything that was written before, on a link that needs a few seconds for it', async () => {
    const fixture = await make({ keepAliveMs: 0 });
    await fixture.exchange(data(1, 'request', SYN | FIN));
    const [stream] = fixture.incoming;
    fixture.peer.block();
    const answer = pattern(200 * 1024);
    stream.write(answer.subarray(0, 60 * 1024));
    await turn();
    stream.write(answer.subarray(60 * 1024));
    stream.end();
    await turn();
    fixture.session.close();
    await turn();
    fixture.clock.advance(5_000);
    expect(fixture.peer.destroyed).toBe(false);
    fixture.peer.unblock();
    await turn();
    const text = fixture.peer.takeText();
    expect(text.reduce((sum, line) => sum + (line.startsWith('DATA 1') ? Number(line.split(' ').at(-1)) : 0), 0)).toBe(
      answer.length,
    );
    expect(text.at(-1)).toBe('GOAWAY 0');
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closes).toEqual([undefined]);
  });

  it('by both sides at once is an end in order for both', async () => {
    const fixture = await make();
    fixture.session.close();
    await fixture.exchange(goAway(0));
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closes).toEqual([undefined]);
    expect(fixture.peer.destroyed).toBe(true);
  });

  it('rejects unanswered pings', async () => {
    const fixture = await make();
    const rejected = expect(fixture.session.ping()).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    fixture.session.close();
    await turn();
    await expect(fixture.session.ping()).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    fixture.peer.feedEnd();
    await rejected;
  });
});

describe('A go away of the peer', () => {
  it('without an error does not touch streams, and makes the end of the peer an orderly one', async () => {
    const fixture = await make();
    const { stream, sink } = fixture.open();
    await fixture.answers();
    await fixture.exchange(windowUpdate(2, 0, ACK), goAway(0), data(2, 'bye', FIN));
    expect(fixture.goAways).toBe(1);
    expect(sink.events).toEqual(['data 3', 'end']);
    stream.end();
    await turn();
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closes).toEqual([undefined]);
  });

  for (const code of [1, 2, 77]) {
    it(`with code ${code} ends the session and its streams`, async () => {
      const fixture = await make();
      const { sink } = fixture.open();
      await fixture.answers();
      await fixture.exchange(goAway(code), data(2, 'too late'));
      expect(fixture.closeCodes).toEqual(['ERR_STARLANE_GO_AWAY']);
      expect(sink.events).toEqual(['reset ERR_STARLANE_GO_AWAY']);
      expect(fixture.goAways).toBe(0);
      expect(fixture.peer.sawEnd).toBe(true);
    });
  }
});

describe('A go away of this side', () => {
  for (const code of [0, 1, 2]) {
    it(`carries code ${code}, once`, async () => {
      const fixture = await make();
      fixture.session.goAway(code);
      fixture.session.goAway(code);
      expect(await fixture.answers()).toEqual([`GOAWAY ${code}`]);
      expect(await fixture.exchange(ping(1))).toEqual(['PING ACK 1']);
    });
  }
});

describe('The loss of the link', () => {
  it('without a go away is an error, with streams or without', async () => {
    for (const streams of [0, 3]) {
      const fixture = await make();
      const sinks = Array.from({ length: streams }, () => fixture.open().sink);
      await fixture.answers();
      fixture.peer.feedEnd();
      await turn();
      expect(fixture.closeCodes).toEqual(['ERR_STARLANE_LINK_LOST']);
      for (const sink of sinks) expect(sink.events).toEqual(['reset ERR_STARLANE_LINK_LOST']);
      expect(fixture.peer.destroyed).toBe(true);
    }
  });

  it('after a go away, with streams that are open, is an error', async () => {
    const fixture = await make();
    const { sink } = fixture.open();
    await fixture.exchange(windowUpdate(2, 0, ACK), goAway(0));
    fixture.peer.feedEnd();
    await turn();
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_LINK_LOST']);
    expect(sink.events).toEqual(['reset ERR_STARLANE_LINK_LOST']);
  });

  it('by an error of the Duplex has that error as its cause', async () => {
    const fixture = await make();
    const { sink } = fixture.open();
    const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    fixture.peer.destroy(cause);
    await turn();
    expect(fixture.closes).toEqual([expect.objectContaining({ code: 'ERR_STARLANE_TRANSPORT', cause })]);
    expect(sink.error).toBe(fixture.closes[0]);
  });

  it('by a Duplex that closes without an error is reported too', async () => {
    const fixture = await make();
    const { sink } = fixture.open();
    fixture.peer.destroy();
    await turn();
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_LINK_LOST']);
    expect(sink.events).toEqual(['reset ERR_STARLANE_LINK_LOST']);
  });

  it('does not block the process for long, even with very many streams', async () => {
    const fixture = await make({ maxUnackedOpens: 100_000 });
    const sink = new NotingSink();
    for (let count = 0; count < 20_000; count++) fixture.session.open(sink);
    await fixture.answers();
    fixture.peer.destroy();
    await turn();
    expect(fixture.session.streamCount).toBeGreaterThan(10_000);
    await turnsUntil('every stream is notified', () => fixture.session.streamCount === 0, 100);
    expect(sink.events).toHaveLength(20_000);
  });

  it('leaves streams that can still be called without harm', async () => {
    const fixture = await make();
    const { stream, sink } = fixture.open();
    sink[kOnReset] = () => {
      stream.write(pattern(100_000));
      stream.end();
      stream.consumed(10);
      stream.reset();
      stream.close();
    };
    fixture.session.destroy(new Error('enough'));
    await turn();
    expect(fixture.closes).toEqual([expect.objectContaining({ message: 'enough' })]);
    expect(stream.isClosed).toBe(true);
    fixture.session.destroy();
    fixture.session.close();
    fixture.session.goAway();
    expect(fixture.closes).toHaveLength(1);
  });

  it('before the session was constructed is reported too', async () => {
    const fixture = await make();
    const { peer } = fixture;
    fixture.session.destroy();
    await turn();
    const closes: Array<Error | undefined> = [];
    const session = new MuxSession(
      peer,
      { client: true, timers: fixture.timers },
      { onStream() {}, onClose: (error) => closes.push(error) },
    );
    await turn();
    expect(closes).toEqual([expect.objectContaining({ code: 'ERR_STARLANE_LINK_LOST' })]);
    expect(session.isClosed).toBe(true);
  });
});

describe('A peer that falls silent', () => {
  it('is pinged after the idle time, and loses the link after the timeout', async () => {
    const fixture = await make({ keepAliveMs: 1_000, keepAliveTimeoutMs: 3_000 });
    const { sink } = fixture.open();
    await fixture.answers();
    fixture.clock.advance(1_020);
    expect(await fixture.answers()).toEqual(['PING SYN 1']);
    fixture.clock.advance(2_000);
    fixture.clock.runImmediates();
    fixture.clock.runImmediates();
    await turn();
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_KEEPALIVE']);
    expect(sink.events).toEqual(['reset ERR_STARLANE_KEEPALIVE']);
    expect(fixture.peer.destroyed).toBe(true);
  });

  it('is detected even while the Duplex takes no more bytes', async () => {
    const fixture = await make({ keepAliveMs: 1_000, keepAliveTimeoutMs: 3_000 });
    fixture.peer.block();
    const { sink } = fixture.open(pattern(1024 * 1024));
    await fixture.answers();
    fixture.clock.advance(1_020);
    fixture.clock.advance(2_000);
    fixture.clock.runImmediates();
    fixture.clock.runImmediates();
    expect(sink.events).toEqual(['reset ERR_STARLANE_KEEPALIVE']);
  });

  it('keeps the link with any byte, even while its side of the link is blocked', async () => {
    const fixture = await make({ keepAliveMs: 1_000, keepAliveTimeoutMs: 3_000 });
    fixture.peer.block();
    fixture.open(pattern(1024 * 1024));
    for (let second = 0; second < 20; second++) {
      fixture.clock.advance(1_000);
      fixture.peer.feed(windowUpdate(2, 1));
      fixture.clock.runImmediates();
      fixture.clock.runImmediates();
    }
    await turn();
    expect(fixture.closes).toEqual([]);
  });
});

describe('Aborting a session', () => {
  it('sends what waits on one stream ahead of everything else, and resets all streams at once', async () => {
    const fixture = await make({ keepAliveMs: 0 });
    fixture.peer.block();
    const bulk = [1, 2, 3, 4].map(() => fixture.open());
    const last = fixture.open();
    await turn();
    for (const { stream } of bulk) stream.write(Buffer.alloc(200 * 1024));
    await turn();
    last.stream.write(Buffer.from('goodbye'));
    fixture.session.abort(starlaneError('ERR_STARLANE_REVOKED'), last.stream);
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_REVOKED']);
    fixture.peer.unblock();
    const frames = (await fixture.answers()).filter((frame) => frame.startsWith('DATA'));
    expect(frames.at(-1)).toBe(`DATA ${last.stream.id} 7`);
    const bytes = frames.reduce((sum, frame) => sum + Number(frame.split(' ').at(-1)), 0);
    expect(bytes).toBeLessThan(600 * 1024);
    for (const { sink } of [...bulk, last]) expect(sink.events.at(-1)).toBe('reset ERR_STARLANE_REVOKED');
    expect(fixture.peer.sawEnd).toBe(true);
  });

  it('happens once', async () => {
    const fixture = await make();
    const { stream, sink } = fixture.open();
    fixture.session.abort(starlaneError('ERR_STARLANE_REVOKED'), stream);
    fixture.session.abort(starlaneError('ERR_STARLANE_CLOSED'), stream);
    await turn();
    expect([fixture.closeCodes, sink.events]).toEqual([['ERR_STARLANE_REVOKED'], ['reset ERR_STARLANE_REVOKED']]);
  });
});
