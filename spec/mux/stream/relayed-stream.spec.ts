// Streams that are hops of circuits through relays: both ends begin with less credit than yamux promises.

import { describe, expect, it } from '@jest/globals';
import type { SessionOptions } from '../../../lib/mux/session-options.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { ACK, data, dataHeader, FIN, pattern, ping, SYN, windowUpdate } from '../../support/frames.js';
import { NotingSink, type SessionFixture, sessionFixtures } from '../../support/session-fixture.js';

const KIB = 1024;
const RELAY_WINDOW = 64 * KIB;
const make = sessionFixtures();

function lengthOf(line: string): number {
  return Number(line.split(' ').at(-1));
}

/** A session whose streams use the relay window from the start, over a link with a round trip of 20 ms. */
async function measured(options: Partial<SessionOptions> = {}): Promise<SessionFixture> {
  const fixture = await make({ starlanePeer: true, ...options });
  for (let sample = 0; sample < 10; sample++) {
    fixture.clock.advance(20);
    await fixture.exchange(ping(sample, ACK));
  }
  fixture.onIncoming = (stream) => {
    stream.useRelayWindow();
    stream.accept();
  };
  return fixture;
}

/** The sink of a relay: limits the growth of a window, and notes credit and the end. */
class HopSink extends NotingSink {
  limit = 1024 * KIB;
  credit = 0;

  growthLimit(): number {
    return this.limit;
  }

  onCredit(_stream: MuxStream, bytes: number): void {
    this.credit += bytes;
  }

  onClosed(): void {
    this.events.push('closed');
  }
}

describe('A relayed stream', () => {
  it('may send 64 KiB at first, including what it opened with', async () => {
    const fixture = await make();
    const { stream } = fixture.open(Buffer.alloc(100));
    stream.useRelayWindow();
    stream.useRelayWindow();
    stream.write(pattern(RELAY_WINDOW));
    const sent = (await fixture.answers()).reduce((sum, line) => sum + lengthOf(line), 0);
    expect(sent).toBe(RELAY_WINDOW);
    expect(stream.queuedBytes).toBe(100);
    expect(await fixture.exchange(windowUpdate(2, 100, ACK))).toEqual(['DATA 2 100']);
  });

  it('may receive 64 KiB, and returns credit by half of that', async () => {
    const fixture = await measured();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    expect(fixture.incoming[0].receiveWindowBytes).toBe(RELAY_WINDOW);
    expect(await fixture.exchange(data(1, pattern(32 * KIB)))).toEqual([`WINDOW 1 ${32 * KIB}`]);
    fixture.sinks[0].paused = true;
    expect(await fixture.exchange(data(1, pattern(RELAY_WINDOW)))).toEqual([]);
    await fixture.exchange(dataHeader(1, 1));
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_WINDOW_OVERRUN']);
  });

  it('is reset by an overrun in the frame during which it began to use the relay window', async () => {
    const fixture = await make({ starlanePeer: true });
    fixture.onIncoming = (stream) => {
      stream.accept();
      fixture.sinks[0].paused = true;
    };
    await fixture.exchange(windowUpdate(1, 0, SYN), dataHeader(1, 200 * KIB), pattern(1000));
    fixture.incoming[0].useRelayWindow();
    await fixture.exchange(pattern(RELAY_WINDOW - 1000));
    expect(fixture.session.unreadBytes).toBe(RELAY_WINDOW);
    expect(await fixture.exchange(pattern(1))).toEqual(['WINDOW 1 RST 0']);
    expect(fixture.sinks[0].events.at(-1)).toBe('reset ERR_STARLANE_WINDOW_OVERRUN');
    expect(fixture.session.unreadBytes).toBe(0);
    // The rest of the frame is ignored, and the link continues.
    expect(await fixture.exchange(pattern(200 * KIB - RELAY_WINDOW - 1), ping(1))).toEqual(['PING ACK 1']);
  });

  it('takes its growth beyond 64 KiB from the budget, and returns all of it', async () => {
    const fixture = await measured({ receiveBudgetBytes: 448 * KIB });
    await fixture.exchange(windowUpdate(1, 0, SYN));
    const [stream] = fixture.incoming;
    const windows: number[] = [];
    for (let round = 0; round < 5; round++) {
      fixture.clock.advance(1);
      await fixture.exchange(data(1, pattern(stream.receiveWindowBytes / 2)));
      windows.push(stream.receiveWindowBytes / KIB);
    }
    expect(windows).toEqual([64, 128, 256, 512, 512]);
    expect(fixture.session.budget.grownBytes).toBe(448 * KIB);
    stream.reset();
    expect(fixture.session.budget.grownBytes).toBe(0);
  });

  it('grows as far as its sink allows', async () => {
    const fixture = await measured();
    const sink = new HopSink();
    fixture.onIncoming = (stream) => {
      stream.sink = sink;
      stream.useRelayWindow();
      stream.accept();
    };
    await fixture.exchange(windowUpdate(1, 0, SYN));
    const [stream] = fixture.incoming;
    const read = async (rounds: number): Promise<number> => {
      for (let round = 0; round < rounds; round++) {
        fixture.clock.advance(1);
        await fixture.exchange(data(1, pattern(stream.receiveWindowBytes / 2)));
      }
      return stream.receiveWindowBytes / KIB;
    };
    sink.limit = 0;
    expect(await read(3)).toBe(64);
    sink.limit = 128 * KIB;
    expect(await read(4)).toBe(128);
    sink.limit = 1024 * KIB;
    expect(await read(6)).toBe(1024);
    const consumed = sink.received.length;
    expect(sink.credit).toBe(consumed);
    await fixture.exchange(windowUpdate(1, 5000));
    expect(sink.credit).toBe(consumed + 5000);
  });

  it('notifies its sink that it has closed, when the end of this side was the last', async () => {
    const fixture = await measured();
    const sink = new HopSink();
    fixture.onIncoming = (stream) => {
      stream.sink = sink;
      stream.useRelayWindow();
      stream.accept();
    };
    await fixture.exchange(windowUpdate(1, 0, SYN | FIN), windowUpdate(3, 0, SYN));
    const [first, second] = fixture.incoming;
    // Queued data leaves before the end.
    first.write(pattern(RELAY_WINDOW + 1));
    first.end();
    await fixture.answers();
    const sent = sink.events.splice(1).map((event) => Number(/^sent (\d+)$/.exec(event)?.[1]));
    expect(sent.reduce((sum, bytes) => sum + bytes)).toBe(RELAY_WINDOW);
    expect(sink.events.splice(0)).toEqual(['end']);
    await fixture.exchange(windowUpdate(1, 1));
    expect(sink.events.splice(0)).toEqual(['closed', 'sent 1']);
    second.end();
    await fixture.exchange(windowUpdate(3, 0, FIN));
    expect(sink.events).toEqual(['end']);
  });
});
