// Resets of streams: their reasons, and peers that reset thousands of streams at once.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import { MuxSession } from '../../../lib/mux/session.js';
import { passedOn, ResetReason, readResetReason, resetError } from '../../../lib/mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { ACK, data, FIN, goAway, ping, RST, SYN, windowUpdate } from '../../support/frames.js';
import { ScriptedPeer } from '../../support/scripted-peer.js';
import { NotingSink, sessionFixtures } from '../../support/session-fixture.js';
import { turn, turnsUntil } from '../../support/turns.js';

/** One turn of the event loop. */
const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const PER_TURN = 1_000;
const STREAMS = 3_500;

class Scene {
  readonly peer = new ScriptedPeer();
  readonly notified: number[] = [];
  readonly reasons = new Set<number>();
  readonly received: number[] = [];
  readonly ends: Array<Error | undefined> = [];
  onNotified = (_stream: MuxStream): void => {};
  private readonly sink: StreamSink = {
    [kOnData]: (stream, chunk) => {
      this.received.push(stream.id);
      stream.consumed(chunk.length);
    },
    [kOnEnd]: () => {},
    [kOnSent]: () => {},
    [kOnReset]: (stream, _error, reason) => {
      this.notified.push(stream.id);
      this.reasons.add(reason);
      this.onNotified(stream);
    },
  };
  readonly session = new MuxSession(
    this.peer,
    { client: true, starlanePeer: true, keepAliveMs: 0, maxUnackedOpens: 100_000 },
    { onStream: () => {}, onClose: (error) => this.ends.push(error) },
  );
  readonly streams = Array.from({ length: STREAMS }, () => this.session.open(this.sink));

  async untilAllAreNotified(): Promise<void> {
    await turnsUntil('all are notified', () => this.notified.length >= STREAMS, 1_000);
  }

  /** All resets in one chunk, as a relay that has lost a link sends them. */
  resets(reason = 0, streams: readonly MuxStream[] = this.streams): Buffer {
    return Buffer.concat(streams.map(({ id }) => windowUpdate(id, reason, ACK | RST)));
  }
}

describe('Streams that the peer resets at once', () => {
  let scene: Scene;
  beforeEach(async () => {
    scene = new Scene();
    await turn();
  });

  it('are delivered in the same turn when they are few', () => {
    scene.peer.feed(scene.resets(0, scene.streams.slice(0, 10)));
    expect(scene.notified).toHaveLength(10);
  });

  it('are delivered in order, a thousand in each turn', async () => {
    scene.peer.feed(scene.resets());
    const afterTurns = [scene.notified.length];
    while (scene.notified.length < STREAMS) {
      await immediate();
      afterTurns.push(scene.notified.length);
    }
    expect(afterTurns).toEqual([PER_TURN, 2 * PER_TURN, 3 * PER_TURN, STREAMS]);
    expect(scene.notified).toEqual(scene.streams.map(({ id }) => id));
    expect(scene.session.streamCount).toBe(0);
  });

  it('get the reason of the reset', async () => {
    scene.peer.feed(scene.resets(ResetReason.RELAY_LIMIT));
    await scene.untilAllAreNotified();
    await turn();
    expect([...scene.reasons]).toEqual([ResetReason.RELAY_LIMIT]);
    expect(scene.notified).toHaveLength(STREAMS);
  });

  it('get the data that came before the reset', () => {
    const last = scene.streams.at(-1) as MuxStream;
    scene.peer.feed(data(last.id, 'before it', ACK), scene.resets());
    expect(scene.received).toEqual([last.id]);
  });

  it('are notified once, however often they are reset', async () => {
    scene.peer.feed(scene.resets(), scene.resets(), scene.resets());
    await scene.untilAllAreNotified();
    await turn();
    expect(scene.notified).toHaveLength(STREAMS);
  });

  it('are not notified when this side has given them up meanwhile', async () => {
    scene.peer.feed(scene.resets());
    for (const stream of scene.streams) if (!stream.isClosed) stream.reset();
    await turn();
    expect(scene.notified).toHaveLength(PER_TURN);
    expect(scene.session.streamCount).toBe(0);
  });

  it('get the end of the session as the reason when it comes first', async () => {
    scene.peer.feed(scene.resets(ResetReason.RELAY_LIMIT));
    scene.session.destroy();
    await scene.untilAllAreNotified();
    expect(new Set(scene.notified).size).toBe(STREAMS);
    expect([...scene.reasons]).toEqual([ResetReason.RELAY_LIMIT, ResetReason.LINK_LOST]);
  });

  it('may end the session while they are notified', async () => {
    scene.peer.feed(scene.resets());
    scene.onNotified = () => scene.session.destroy();
    await scene.untilAllAreNotified();
    expect(new Set(scene.notified).size).toBe(STREAMS);
  });

  it('stay bounded when the peer keeps opening and resetting streams', async () => {
    const opened = (n: number): Buffer => Buffer.concat([data(2 + 2 * n, 'x', SYN), windowUpdate(2 + 2 * n, 0, RST)]);
    scene.peer.feed(...Array.from({ length: 20_000 }, (_, n) => opened(n)));
    expect(scene.session.streamCount).toBeLessThan(STREAMS + 10);
    await immediate();
    expect(scene.session.streamCount).toBe(STREAMS);
  });

  it('keep their own reason when the peer ends the session after the resets', async () => {
    scene.peer.feed(scene.resets(ResetReason.RELAY_LIMIT), goAway(0));
    scene.peer.feedEnd();
    await scene.untilAllAreNotified();
    await turn();
    expect([...scene.reasons]).toEqual([ResetReason.RELAY_LIMIT]);
    expect(scene.ends).toEqual([undefined]);
  });

  it('are notified at once when another frame comes for them, which is ignored', () => {
    const last = scene.streams.at(-1) as MuxStream;
    scene.peer.feed(scene.resets(), windowUpdate(last.id, 0, FIN), data(last.id, 'behind it'), ping(7));
    expect(scene.notified).toContain(last.id);
    expect([scene.received, scene.ends]).toEqual([[], []]);
  });

  it('are notified a thousand a turn again after a quiet while', async () => {
    scene.peer.feed(scene.resets(0, scene.streams.slice(0, 2 * PER_TURN)));
    await turnsUntil('they are notified', () => scene.notified.length === 2 * PER_TURN, 100);
    await turn();
    scene.peer.feed(scene.resets(0, scene.streams.slice(-1)));
    expect(scene.notified).toHaveLength(2 * PER_TURN + 1);
  });

  it('wait beyond a thousand a turn even if this side has not answered them yet', async () => {
    const closed: number[] = [];
    const waiting = { [kOnData]: () => {}, [kOnEnd]: () => {}, [kOnSent]: () => {} };
    const peer = new ScriptedPeer();
    new MuxSession(
      peer,
      { client: false, starlanePeer: true, keepAliveMs: 0, acceptBacklog: STREAMS },
      {
        onStream: (stream) => {
          stream.sink = { ...waiting, [kOnReset]: () => closed.push(stream.id) };
        },
        onClose: () => {},
      },
    );
    await turn();
    const ids = Array.from({ length: STREAMS }, (_, n) => 1 + 2 * n);
    peer.feed(Buffer.concat(ids.map((id) => windowUpdate(id, 0, SYN))));
    peer.feed(Buffer.concat(ids.map((id) => windowUpdate(id, 0, RST))));
    expect(closed).toHaveLength(PER_TURN);
    await turnsUntil('all are notified', () => closed.length === STREAMS, 100);
    expect(closed).toEqual(ids);
  });

  it('take no part of the receive budget from streams that are not reset', async () => {
    const KIB = 1024;
    const reset: number[] = [];
    const reader: StreamSink = {
      [kOnData]: () => {}, // Read later.
      [kOnEnd]: () => {},
      [kOnSent]: () => {},
      [kOnReset]: (stream) => reset.push(stream.id),
    };
    const peer = new ScriptedPeer();
    const session = new MuxSession(
      peer,
      { client: true, starlanePeer: true, keepAliveMs: 0, maxUnackedOpens: 100_000, receiveBudgetBytes: 1024 * KIB },
      { onStream: () => {}, onClose: () => {} },
    );
    const streams = Array.from({ length: STREAMS }, () => session.open(reader));
    await turn();
    const [live, ...others] = streams.toReversed() as [MuxStream, ...MuxStream[]];
    const held = others.slice(0, 20);
    peer.feed(...held.map(({ id }) => data(id, Buffer.alloc(50 * KIB), ACK)));
    peer.feed(Buffer.concat(streams.slice(0, -1).map(({ id }) => windowUpdate(id, 0, RST))));
    expect(reset).toHaveLength(PER_TURN);
    peer.feed(data(live.id, Buffer.alloc(200 * KIB), ACK));
    expect(live.isClosed).toBe(false);
    expect(session.unreadBytes).toBeLessThanOrEqual(1024 * KIB);
    await turnsUntil('the others are notified', () => reset.length === STREAMS - 1, 100);
    expect([live.isClosed, session.unreadBytes]).toEqual([false, 200 * KIB]);
  });
});

const make = sessionFixtures();

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

describe('The reason of a reset', () => {
  it('counts one hop more at each relay, up to the maximum of a byte', () => {
    expect(passedOn(ResetReason.LINK_LOST)).toBe(0x101);
    expect(passedOn(0x101)).toBe(0x201);
    expect(passedOn(0xff01)).toBe(0xff01);
  });

  it('stays none at any distance', () => {
    expect(passedOn(ResetReason.NONE)).toBe(0);
    expect(passedOn(0x300)).toBe(0);
  });

  it('is read without the bits of later versions', () => {
    expect(readResetReason(0xabcd_0304)).toBe(0x0304);
  });

  it.each([
    [0, 'ERR_STARLANE_STREAM_RESET', 'stream 7'],
    [0x201, 'ERR_STARLANE_LINK_LOST', 'a link 2 hops on'],
    [0x102, 'ERR_STARLANE_RELAY_LIMIT', 'a relay 1 hop on'],
    [0x103, 'ERR_STARLANE_CLOSED', 'a relay 1 hop on'],
    [0x104, 'ERR_STARLANE_OPEN_TIMEOUT', 'a node 1 hop on'],
    [0x1ff, 'ERR_STARLANE_STREAM_RESET', 'stream 7'],
  ])('%i is for users %s', (reason, code, detail) => {
    expect(resetError(7, reason)).toMatchObject({ code, message: expect.stringContaining(detail) });
  });

  it('is one error for a million streams', () => {
    expect(resetError(9, 0x101)).toBe(resetError(7, 0x101));
    expect(resetError(9, 0)).not.toBe(resetError(7, 0));
  });
});

describe('The error of a reason', () => {
  it('is one for all streams, and keeps no memory of the first one', async () => {
    class FirstStream {
      fail(): Error {
        return resetError(1, passedOn(ResetReason.RELAY_CLOSED | 0x1700));
      }
    }
    const first = (): WeakRef<FirstStream> => {
      const stream = new FirstStream();
      expect(stream.fail()).toBe(stream.fail());
      return new WeakRef(stream);
    };
    const gone = first();
    // The target of a WeakRef that was read in this turn stays alive until its end.
    await new Promise(setImmediate);
    collectGarbage();
    expect(gone.deref()).toBeUndefined();
  });
});

describe('A session', () => {
  it('sends the reason of a reset to a Starlane peer, and to no other', async () => {
    for (const starlanePeer of [true, false]) {
      const fixture = await make({ starlanePeer });
      const { stream } = fixture.open();
      await fixture.exchange(windowUpdate(2, 0, ACK));
      stream.reset(passedOn(ResetReason.RELAY_LIMIT));
      expect(await fixture.answers()).toEqual([`WINDOW 2 RST ${starlanePeer ? 0x102 : 0}`]);
    }
  });

  it('notifies the sink of a destroyed stream with the same reason as the peer', async () => {
    const fixture = await make({ starlanePeer: true });
    const sink = new NotingSink();
    const stream = fixture.session.open(sink);
    await fixture.exchange(windowUpdate(2, 0, ACK));
    stream.destroy(new Error('late'), ResetReason.TIMEOUT);
    expect(await fixture.answers()).toEqual(['WINDOW 2 RST 4']);
    expect(sink.reasons).toEqual([ResetReason.TIMEOUT]);
  });

  it('reads the reason of a reset from a Starlane peer', async () => {
    const fixture = await make({ starlanePeer: true });
    const sink = new NotingSink();
    fixture.onIncoming = (stream) => {
      stream.sink = sink;
      stream.accept();
    };
    await fixture.exchange(windowUpdate(1, 0, SYN), windowUpdate(3, 0, SYN), windowUpdate(5, 0, SYN));
    await fixture.exchange(windowUpdate(1, 0x201, RST), windowUpdate(3, 0, RST), data(5, 'last words', RST));
    expect(sink.reasons).toEqual([0x201, 0, 0]);
    expect(sink.events).toEqual([
      'reset ERR_STARLANE_LINK_LOST',
      'reset ERR_STARLANE_STREAM_RESET',
      'reset ERR_STARLANE_STREAM_RESET',
    ]);
  });

  it('ignores the length field of a reset from another peer', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN), windowUpdate(1, 0x201, RST));
    expect(fixture.sinks[0].events).toEqual(['reset ERR_STARLANE_STREAM_RESET']);
  });

  it('that is lost notifies every stream with LINK_LOST', async () => {
    const fixture = await make();
    const sink = new NotingSink();
    fixture.session.open(sink);
    fixture.session.destroy();
    expect(sink.reasons).toEqual([ResetReason.LINK_LOST]);
  });
});
