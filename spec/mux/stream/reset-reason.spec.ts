import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { passedOn, ResetReason, readResetReason, resetError } from '../../../lib/mux/stream/reset-reason.js';
import { ACK, data, RST, SYN, windowUpdate } from '../../support/frames.js';
import { NotingSink, sessionFixtures } from '../../support/session-fixture.js';

const make = sessionFixtures();

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

describe('The reason of a reset', () => {
  it('comes one hop further with each relay, and not beyond what a byte can count', () => {
    expect(passedOn(ResetReason.LINK_LOST)).toBe(0x101);
    expect(passedOn(0x101)).toBe(0x201);
    expect(passedOn(0xff01)).toBe(0xff01);
  });

  it('stays none where there is none, however far', () => {
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
  it('is one for all streams, and keeps nothing of the first one alive', async () => {
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
    // What a WeakRef was asked for in this turn stays for the turn.
    await new Promise(setImmediate);
    collectGarbage();
    expect(gone.deref()).toBeUndefined();
  });
});

describe('A session', () => {
  it('tells a Starlane peer why a stream is reset, and other peers nothing', async () => {
    for (const starlanePeer of [true, false]) {
      const fixture = await make({ starlanePeer });
      const { stream } = fixture.open();
      await fixture.exchange(windowUpdate(2, 0, ACK));
      stream.reset(passedOn(ResetReason.RELAY_LIMIT));
      expect(await fixture.answers()).toEqual([`WINDOW 2 RST ${starlanePeer ? 0x102 : 0}`]);
    }
  });

  it('tells the sink of a stream that it gives up the same reason as the peer', async () => {
    const fixture = await make({ starlanePeer: true });
    const sink = new NotingSink();
    const stream = fixture.session.open(sink);
    await fixture.exchange(windowUpdate(2, 0, ACK));
    stream.kill(new Error('late'), ResetReason.TIMEOUT);
    expect(await fixture.answers()).toEqual(['WINDOW 2 RST 4']);
    expect(sink.reasons).toEqual([ResetReason.TIMEOUT]);
  });

  it('hears from a Starlane peer why a stream was reset', async () => {
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

  it('takes the length of another peer’s reset for nothing', async () => {
    const fixture = await make();
    await fixture.exchange(windowUpdate(1, 0, SYN), windowUpdate(1, 0x201, RST));
    expect(fixture.sinks[0].events).toEqual(['reset ERR_STARLANE_STREAM_RESET']);
  });

  it('that is lost tells every stream that a link was lost', async () => {
    const fixture = await make();
    const sink = new NotingSink();
    fixture.session.open(sink);
    fixture.session.destroy();
    expect(sink.reasons).toEqual([ResetReason.LINK_LOST]);
  });
});
