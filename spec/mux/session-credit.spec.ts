import { describe, expect, it } from '@jest/globals';
import { ACK, data, dataHeader, FIN, pattern, ping, SYN, windowUpdate } from '../support/frames.js';
import { sessionFixtures } from '../support/session-fixture.js';

const KIB = 1024;
const WINDOW = 256 * KIB;
const make = sessionFixtures();

/** The length field of a frame that was written as text. */
function lengthOf(line: string): number {
  return Number(line.split(' ').at(-1));
}

describe('Credit', () => {
  it('is not returned for bytes that have not been consumed', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      fixture.sinks[0].paused = true;
      stream.accept();
    };
    const answers = await fixture.exchange(
      windowUpdate(1, 0, SYN),
      data(1, pattern(128 * KIB)),
      data(1, pattern(128 * KIB)),
    );
    expect(answers).toEqual(['WINDOW 1 ACK 0']);
    expect(fixture.session.unreadBytes).toBe(WINDOW);
  });

  it('is returned once half of the window has been consumed', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      fixture.sinks[0].paused = true;
      stream.accept();
    };
    await fixture.exchange(windowUpdate(1, 0, SYN), data(1, pattern(200 * KIB)));
    const [stream] = fixture.incoming;
    stream.consumed(128 * KIB - 1);
    expect(await fixture.answers()).toEqual([]);
    stream.consumed(1);
    expect(await fixture.answers()).toEqual([`WINDOW 1 ${128 * KIB}`]);
    expect(stream.unreadBytes).toBe(72 * KIB);
    stream.consumed(72 * KIB);
    expect(fixture.session.unreadBytes).toBe(0);
  });

  it('lets the peer fill the window again, and no more', async () => {
    const fixture = await make();
    const half = pattern(128 * KIB);
    await fixture.exchange(windowUpdate(1, 0, SYN));
    for (let round = 0; round < 8; round++) {
      expect(await fixture.exchange(data(1, half))).toEqual([`WINDOW 1 ${128 * KIB}`]);
    }
    expect(fixture.closes).toEqual([]);
    await fixture.exchange(dataHeader(1, WINDOW + 1));
    expect(fixture.closeCodes).toEqual(['ERR_STARLANE_WINDOW_OVERRUN']);
  });

  it('is not granted for the part of a frame that has not arrived', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN), dataHeader(1, WINDOW));
    let granted = 0;
    let delivered = 0;
    for (let piece = 0; piece < 16; piece++) {
      const answers = await fixture.exchange(pattern(WINDOW / 16));
      delivered += WINDOW / 16;
      for (const answer of answers) granted += lengthOf(answer);
      expect(granted).toBeLessThanOrEqual(delivered);
    }
    expect(granted).toBe(WINDOW);
  });

  it('bounds the bytes of a paused reader by its window, however the frames are cut', async () => {
    const fixture = await make();
    const answers = await fixture.exchange(windowUpdate(1, 0, SYN), dataHeader(1, WINDOW - 1), pattern(WINDOW / 2));
    const [sink] = fixture.sinks;
    const [stream] = fixture.incoming;
    sink.paused = true;
    // All that the peer may still send by the credit it has.
    const granted = answers.reduce((sum, line) => sum + lengthOf(line), 1);
    await fixture.exchange(pattern(WINDOW / 2 - 1), data(1, pattern(granted)));
    expect(fixture.closes).toEqual([]);
    expect(stream.unreadBytes).toBeLessThanOrEqual(stream.receiveWindowBytes);
  });

  it('of several streams leaves in one write', async () => {
    const fixture = await make();
    const opens = [1, 3, 5].map((id) => windowUpdate(id, 0, SYN));
    await fixture.exchange(...opens);
    const writes = fixture.peer.writes.length;
    const answers = await fixture.exchange(...[1, 3, 5].map((id) => data(id, pattern(128 * KIB))));
    expect(answers).toEqual([1, 3, 5].map((id) => `WINDOW ${id} ${128 * KIB}`));
    expect(fixture.peer.writes.length).toBe(writes + 1);
  });

  it('leaves at once when much is due', async () => {
    const fixture = await make();
    const ids = [1, 3, 5, 7];
    await fixture.exchange(...ids.map((id) => windowUpdate(id, 0, SYN)));
    fixture.peer.feed(...ids.map((id) => data(id, pattern(128 * KIB))));
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(fixture.peer.takeText()).toEqual(ids.map((id) => `WINDOW ${id} ${128 * KIB}`));
  });

  it('is not granted for a stream that the peer has ended', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      fixture.sinks[0].paused = true;
      stream.accept();
    };
    await fixture.exchange(windowUpdate(1, 0, SYN), data(1, pattern(200 * KIB), FIN));
    fixture.incoming[0].consumed(200 * KIB);
    expect(await fixture.answers()).toEqual([]);
    expect(fixture.session.unreadBytes).toBe(0);
  });

  it('of the peer limits sending', async () => {
    const fixture = await make();
    const { stream, sink } = fixture.open(pattern(WINDOW + 1000));
    const first = await fixture.answers();
    const sent = first.reduce((sum, line) => sum + lengthOf(line), 0);
    expect(sent).toBe(WINDOW);
    expect(stream.queuedBytes).toBe(1000);
    expect(sink.sentBytes).toBe(WINDOW);
    expect(await fixture.exchange(windowUpdate(2, 999, ACK))).toEqual(['DATA 2 999']);
    expect(await fixture.exchange(windowUpdate(2, 500))).toEqual(['DATA 2 1']);
    expect(sink.sentBytes).toBe(WINDOW + 1000);
    expect(stream.write(pattern(499))).toBe(true);
    expect(stream.write(pattern(1))).toBe(false);
    expect(await fixture.answers()).toEqual(['DATA 2 499']);
  });
});

describe('A receive window', () => {
  /** A session that has measured a round trip of `rttMs`. */
  async function measured(rttMs: number, options = {}) {
    const fixture = await make(options);
    for (let sample = 0; sample < 10; sample++) {
      fixture.clock.advance(rttMs);
      await fixture.exchange(ping(sample, ACK));
    }
    expect(fixture.session.rttMs).toBeCloseTo(rttMs, 2);
    return fixture;
  }

  it('doubles while half of it is read within a few round trips, up to the maximum', async () => {
    const fixture = await measured(20, { maxWindowBytes: 1024 * KIB });
    await fixture.exchange(windowUpdate(1, 0, SYN));
    const [stream] = fixture.incoming;
    // The first half does not count: it is not known when it began.
    fixture.clock.advance(10_000);
    await fixture.exchange(data(1, pattern(128 * KIB)));
    const windows: number[] = [];
    for (let round = 0; round < 6; round++) {
      fixture.clock.advance(20);
      const half = stream.receiveWindowBytes / 2;
      const [answer] = await fixture.exchange(data(1, pattern(half)));
      expect(lengthOf(answer)).toBe(half + stream.receiveWindowBytes - 2 * half);
      windows.push(stream.receiveWindowBytes / KIB);
    }
    expect(windows).toEqual([512, 1024, 1024, 1024, 1024, 1024]);
  });

  it('stays when reading half of it takes longer', async () => {
    const fixture = await measured(20);
    await fixture.exchange(windowUpdate(1, 0, SYN));
    for (let round = 0; round < 4; round++) {
      fixture.clock.advance(81);
      await fixture.exchange(data(1, pattern(128 * KIB)));
    }
    expect(fixture.incoming[0].receiveWindowBytes).toBe(WINDOW);
  });

  it('stays while no round trip has been measured', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN));
    for (let round = 0; round < 4; round++) await fixture.exchange(data(1, pattern(128 * KIB)));
    expect(fixture.session.rttMs).toBe(0);
    expect(fixture.incoming[0].receiveWindowBytes).toBe(WINDOW);
  });

  it('stays while this side is the slower one', async () => {
    const fixture = await measured(20);
    await fixture.exchange(windowUpdate(1, 0, SYN), windowUpdate(3, 0, SYN));
    fixture.sinks[0].paused = true;
    // Full reads in a row, for a stream whose window they do not grow.
    for (let read = 0; read < 4; read++) await fixture.exchange(data(1, pattern(64 * KIB - 12)));
    for (let read = 0; read < 16; read++) await fixture.exchange(dataHeader(99, 64 * KIB - 12), pattern(64 * KIB - 12));
    for (let round = 0; round < 4; round++) await fixture.exchange(data(3, pattern(128 * KIB)));
    expect(fixture.incoming[1].receiveWindowBytes).toBe(WINDOW);
    await fixture.exchange(ping(1_000, ACK));
    for (let round = 0; round < 2; round++) await fixture.exchange(data(3, pattern(128 * KIB)));
    expect(fixture.incoming[1].receiveWindowBytes).toBe(2 * WINDOW);
  });

  it('takes its growth from the budget of the session, and returns it at the end of the stream', async () => {
    const fixture = await measured(20, { receiveBudgetBytes: 256 * KIB });
    const { session } = fixture;
    await fixture.exchange(windowUpdate(1, 0, SYN), windowUpdate(3, 0, SYN));
    const [first, second] = fixture.incoming;
    const round = async (id: number) => {
      fixture.clock.advance(1);
      await fixture.exchange(data(id, pattern(128 * KIB)));
    };
    await round(1);
    await round(1);
    expect(first.receiveWindowBytes).toBe(512 * KIB);
    await round(3);
    await round(3);
    expect(second.receiveWindowBytes).toBe(WINDOW);
    first.reset();
    expect(session.budget.grownBytes).toBe(0);
    await round(3);
    expect(second.receiveWindowBytes).toBe(512 * KIB);
    expect(session.budget.grownBytes).toBe(256 * KIB);
  });
});

describe('The receive budget', () => {
  it('resets the stream with most unread bytes when the budget is exceeded', async () => {
    const fixture = await make({ receiveBudgetBytes: 256 * KIB });
    fixture.onIncoming = (stream) => {
      fixture.sinks[fixture.sinks.length - 1].paused = true;
      stream.accept();
    };
    const answers = await fixture.exchange(
      data(1, pattern(100 * KIB), SYN),
      data(3, pattern(150 * KIB), SYN),
      data(5, pattern(50 * KIB), SYN),
      data(1, 'goes on'),
    );
    expect(answers).toContain('WINDOW 3 RST 0');
    expect(fixture.sinks[1].events.at(-1)).toBe('reset ERR_STARLANE_RECEIVE_BUDGET');
    expect(fixture.sinks[0].received.subarray(100 * KIB).toString()).toBe('goes on');
    expect(fixture.session.unreadBytes).toBe(150 * KIB + 7);
    expect(fixture.closes).toEqual([]);
  });

  it('is not used by readers that keep up', async () => {
    const fixture = await make({ receiveBudgetBytes: 256 * KIB });
    await fixture.exchange(windowUpdate(1, 0, SYN));
    for (let round = 0; round < 10; round++) await fixture.exchange(data(1, pattern(128 * KIB)));
    expect(fixture.session.unreadBytes).toBe(0);
    expect(fixture.sinks[0].error).toBeUndefined();
  });
});
