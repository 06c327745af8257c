import { describe, expect, it } from '@jest/globals';
import { kOnData, kReadOn } from '../../../lib/mux/hidden.js';
import { FLUSH_BYTES, type MuxStream } from '../../../lib/mux/stream/stream.js';
import { ACK, data, FIN, pattern, payloadOf, ping, RST, SYN, windowUpdate } from '../../support/frames.js';
import { naiveDecode } from '../../support/naive-codec.js';
import { type NotingSink, type SessionFixture, sessionFixtures } from '../../support/session-fixture.js';

const make = sessionFixtures();
const WINDOW = 256 * 1024;

/** A stream that either side has opened and both sides know. */
async function established(
  fixture: SessionFixture,
  opener: 'us' | 'peer',
): Promise<{ stream: MuxStream; sink: NotingSink; id: number }> {
  if (opener === 'peer') {
    await fixture.exchange(windowUpdate(1, 0, SYN));
    return { stream: fixture.incoming[0], sink: fixture.sinks[0], id: 1 };
  }
  const opened = fixture.open();
  await fixture.answers();
  await fixture.exchange(windowUpdate(2, 0, ACK));
  return { ...opened, id: 2 };
}

for (const opener of ['us', 'peer'] as const) {
  describe(`A stream opened by ${opener}`, () => {
    it('half-closes here first: data of the peer still arrives until both have ended', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      stream.write(Buffer.from('last words'));
      stream.end();
      expect(await fixture.answers()).toEqual([`DATA ${id} 10`, `WINDOW ${id} FIN 0`]);
      await fixture.exchange(data(id, 'the '), data(id, 'answer'));
      expect(sink.received.toString()).toBe('the answer');
      expect(fixture.session.streamCount).toBe(1);
      await fixture.exchange(windowUpdate(id, 0, FIN));
      expect(sink.events.at(-1)).toBe('end');
      expect(stream.isClosed).toBe(true);
      expect(fixture.session.streamCount).toBe(0);
    });

    it('half-closes there first: data of this side still leaves until both have ended', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      await fixture.exchange(data(id, 'that is all', FIN));
      expect(sink.events).toEqual(['data 11', 'end']);
      expect(stream.readEnded).toBe(true);
      expect(stream.isClosed).toBe(false);
      stream.write(pattern(1_000));
      expect(await fixture.answers()).toEqual([`DATA ${id} 1000`]);
      stream.end();
      expect(await fixture.answers()).toEqual([`WINDOW ${id} FIN 0`]);
      expect(fixture.session.streamCount).toBe(0);
    });

    it('ends after everything that was queued before, even if credit comes late', async () => {
      const fixture = await make();
      const { stream, id } = await established(fixture, opener);
      stream.write(pattern(WINDOW + 10));
      stream.end();
      stream.write(Buffer.from('dropped'));
      const first = await fixture.answers();
      expect(first.some((line) => line.includes('FIN'))).toBe(false);
      expect(await fixture.exchange(windowUpdate(id, 9))).toEqual([`DATA ${id} 9`]);
      expect(await fixture.exchange(windowUpdate(id, 9))).toEqual([`DATA ${id} 1`, `WINDOW ${id} FIN 0`]);
    });

    it('closes at once when it is reset here: queued data is dropped, the sink is not called', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      stream.write(pattern(2 * WINDOW));
      stream.reset();
      stream.reset();
      expect(await fixture.answers()).toEqual([`WINDOW ${id} RST 0`]);
      expect(fixture.session.streamCount).toBe(0);
      expect(stream.write(Buffer.from('x'))).toBe(false);
      stream.end();
      // Frames that were on their way are ignored, whatever they are.
      const crossing = [data(id, 'x'), windowUpdate(id, 5), data(id, 'y', FIN), windowUpdate(id, 0, RST)];
      expect(await fixture.exchange(...crossing, ping(1))).toEqual(['PING ACK 1']);
      expect(sink.events).toEqual([]);
      expect(fixture.closes).toEqual([]);
    });

    it('closes at once when it is reset there, with data waiting on both sides', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      sink.paused = true;
      stream.write(pattern(2 * WINDOW));
      await fixture.exchange(data(id, pattern(1_000)), windowUpdate(id, 0, RST));
      expect(sink.events.at(-1)).toBe('reset ERR_STARLANE_STREAM_RESET');
      expect(fixture.session.streamCount).toBe(0);
      expect(fixture.session.unreadBytes).toBe(0);
      stream.consumed(1_000);
      stream.reset();
      stream.end();
      expect(fixture.session.unreadBytes).toBe(0);
      expect((await fixture.answers()).filter((line) => line.startsWith('WINDOW'))).toEqual([]);
    });

    it('that is reset after its end stays counted as unread until its sink has read on, or resets it', async () => {
      for (const leave of [(stream: MuxStream) => stream.consumed(6), (stream: MuxStream) => stream.reset()]) {
        const fixture = await make();
        const { stream, sink, id } = await established(fixture, opener);
        sink.paused = true;
        Object.assign(sink, { [kReadOn]: () => true });
        await fixture.exchange(data(id, 'unread', FIN), windowUpdate(id, 0, RST));
        expect(sink.events).toEqual(['data 6', 'end']);
        expect(fixture.session.streamCount).toBe(0);
        expect(stream.unreadBytes).toBe(6);
        leave(stream);
        expect(stream.unreadBytes).toBe(0);
      }
    });

    it('that is reset here after the end of the peer no longer counts as unread', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      sink.paused = true;
      Object.assign(sink, { [kReadOn]: () => true });
      await fixture.exchange(data(id, 'unread', FIN));
      stream.destroy(new Error('over the budget'));
      expect(stream.unreadBytes).toBe(0);
      expect(fixture.session.unreadBytes).toBe(0);
    });

    it('that is reset before its end no longer counts as unread, since nothing will read it', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      sink.paused = true;
      Object.assign(sink, { [kReadOn]: () => true });
      await fixture.exchange(data(id, 'unread'), windowUpdate(id, 0, RST));
      expect(stream.unreadBytes).toBe(0);
    });

    it('survives a reset that crosses data: neither side notifies its sink again', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      stream.write(Buffer.from('crossing'));
      fixture.peer.feed(windowUpdate(id, 0, RST));
      expect(await fixture.answers()).toEqual([`DATA ${id} 8`]);
      expect(sink.events).toEqual(['reset ERR_STARLANE_STREAM_RESET']);
      expect(fixture.closes).toEqual([]);
    });

    it('ignores the payload of a frame with RST', async () => {
      const fixture = await make();
      const { sink, id } = await established(fixture, opener);
      await fixture.exchange(data(id, 'never', RST), ping(3));
      expect(sink.events).toEqual(['reset ERR_STARLANE_STREAM_RESET']);
    });

    it('that is reset in the middle of a payload drops the rest of it', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      const frame = data(id, pattern(1_000), FIN);
      await fixture.exchange(frame.subarray(0, 500));
      stream.reset();
      expect(await fixture.exchange(frame.subarray(500), ping(4))).toEqual([`WINDOW ${id} RST 0`, 'PING ACK 4']);
      expect(sink.events).toEqual([`data ${500 - 12}`]);
    });

    it('that is reset while it delivers drops what follows', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      sink[kOnData] = () => stream.reset();
      const answers = await fixture.exchange(data(id, 'one', FIN), data(id, 'two'), ping(5));
      expect(answers).toEqual([`WINDOW ${id} RST 0`, 'PING ACK 5']);
      expect(sink.events).toEqual([]);
    });

    it('that is closed ends its half and waits for the end of the peer', async () => {
      const fixture = await make();
      const { stream, sink, id } = await established(fixture, opener);
      stream.close();
      expect(await fixture.answers()).toEqual([`WINDOW ${id} FIN 0`]);
      await fixture.exchange(windowUpdate(id, 100), windowUpdate(id, 0, FIN));
      expect(fixture.session.streamCount).toBe(0);
      expect(sink.events).toEqual([]);
    });

    it('that is closed answers data with a reset', async () => {
      const fixture = await make();
      const { stream, id } = await established(fixture, opener);
      stream.close();
      await fixture.answers();
      expect(await fixture.exchange(data(id, 'anybody there?'), data(id, 'hello?'))).toEqual([`WINDOW ${id} RST 0`]);
      expect(fixture.session.streamCount).toBe(0);
    });

    it('that is closed is reset when the peer does not end it in time', async () => {
      const fixture = await make({ closeTimeoutMs: 2_000, openTimeoutMs: 0, keepAliveMs: 0 });
      const { stream, sink, id } = await established(fixture, opener);
      stream.close();
      await fixture.answers();
      fixture.clock.advance(2_020);
      expect(await fixture.answers()).toEqual([`WINDOW ${id} RST 0`]);
      expect(fixture.session.streamCount).toBe(0);
      expect(sink.events).toEqual([]);
      expect(fixture.timers.size).toBe(0);
    });

    it('that is closed with much queued data is reset: an end would claim that it had arrived', async () => {
      const fixture = await make();
      const { stream, id } = await established(fixture, opener);
      stream.write(pattern(WINDOW + FLUSH_BYTES + 1));
      await fixture.answers();
      stream.close();
      expect(await fixture.answers()).toEqual([`WINDOW ${id} RST 0`]);
    });

    it('that is closed with little queued data sends it before the end', async () => {
      const fixture = await make();
      const { stream, id } = await established(fixture, opener);
      stream.write(pattern(WINDOW + 10));
      await fixture.answers();
      stream.close();
      expect(await fixture.answers()).toEqual([]);
      expect(await fixture.exchange(windowUpdate(id, 100))).toEqual([`DATA ${id} 10`, `WINDOW ${id} FIN 0`]);
    });
  });
}

describe('The end of a stream between Starlane peers', () => {
  it('is on the frame of the last data', async () => {
    const fixture = await make({ starlanePeer: true });
    const { stream } = fixture.open();
    stream.write(Buffer.from('all of it'));
    stream.end();
    expect(await fixture.answers()).toEqual(['DATA 2 SYN+FIN 9']);
    const large = fixture.open(pattern(100_000));
    large.stream.end();
    const frames = await fixture.answers();
    expect(frames.at(-1)).toMatch(/^DATA 4 FIN /);
  });

  it('takes effect after the data that it came with', async () => {
    const fixture = await make({ starlanePeer: true });
    const frame = data(1, 'in parts', SYN | FIN);
    await fixture.exchange(frame.subarray(0, 15));
    expect(fixture.sinks[0].events).toEqual(['data 3']);
    await fixture.exchange(frame.subarray(15));
    expect(fixture.sinks[0].events).toEqual(['data 3', 'data 5', 'end']);
  });
});

describe('Bytes that a stream could not send at once', () => {
  it('are counted as sent exactly once, when the Duplex has taken them', async () => {
    const fixture = await make();
    const { stream, sink } = await established(fixture, 'us');
    fixture.peer.block();
    const sizes = [5_000, 70_000, 100, 60_000, 5_000];
    const queued = sizes.filter((size) => !stream.write(pattern(size)));
    expect(queued.length).toBeGreaterThan(3);
    await fixture.answers();
    expect(sink.sentBytes).toBe(0);
    fixture.peer.unblock();
    await fixture.answers();
    expect(sink.sentBytes).toBe(queued.reduce((sum, size) => sum + size, 0));
    expect(stream.queuedBytes).toBe(0);
  });

  it('arrive in order, whatever their sizes and whichever path they took', async () => {
    const fixture = await make();
    const { stream, sink, id } = await established(fixture, 'us');
    const input = pattern(WINDOW);
    const sizes = [1, 4_096, 4_097, 65_536, 65_537, 3, 100_000, 17];
    let offset = 0;
    let unsent = 0;
    for (const size of sizes) {
      if (!stream.write(input.subarray(offset, offset + size))) unsent += size;
      offset += size;
      if (size % 2 === 1) await fixture.answers();
    }
    await fixture.answers();
    const { frames } = naiveDecode(fixture.peer.written);
    expect(payloadOf(frames, id).equals(input.subarray(0, offset))).toBe(true);
    expect(sink.sentBytes).toBe(unsent);
  });
});
