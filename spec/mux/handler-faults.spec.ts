import { describe, expect, it } from '@jest/globals';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../lib/mux/hidden.js';
import { Session } from '../../lib/mux/index.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { catchErrorsOfTicks } from '../support/caught-errors.js';
import { ACK, data, FIN, goAway, ping, RST, SYN, windowUpdate } from '../support/frames.js';
import { ScriptedPeer } from '../support/scripted-peer.js';
import { NotingSink, sessionFixtures } from '../support/session-fixture.js';
import { turn } from '../support/turns.js';

const make = sessionFixtures();

/** Throws when `event` happens; notes everything as its parent does. */
class FaultySink extends NotingSink {
  constructor(private readonly event: 'data' | 'end' | 'sent' | 'reset') {
    super();
  }

  override [kOnData](stream: MuxStream, chunk: Buffer): void {
    super[kOnData](stream, chunk);
    this.fault('data');
  }

  override [kOnEnd](): void {
    super[kOnEnd]();
    this.fault('end');
  }

  override [kOnSent](stream: MuxStream, bytes: number): void {
    super[kOnSent](stream, bytes);
    this.fault('sent');
  }

  override [kOnReset](stream: MuxStream, error: Error): void {
    super[kOnReset](stream, error);
    this.fault('reset');
  }

  private fault(event: string): void {
    if (event === this.event) throw new Error(`fault in ${event}`);
  }
}

describe('A handler that throws', () => {
  const raised = catchErrorsOfTicks();

  it('raises its error, and the rest of the chunk is read', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      if (stream.id === 1) stream.sink = new FaultySink('data');
      stream.accept();
    };
    const answers = await fixture.exchange(
      data(1, 'abc', SYN),
      data(3, 'defg', SYN),
      data(1, 'hi'),
      data(3, 'j'),
      ping(7),
    );
    expect(raised.map(({ message }) => message)).toEqual(['fault in data', 'fault in data']);
    expect(fixture.sinks[1].received.toString()).toBe('defgj');
    expect(answers).toContain('PING ACK 7');
    expect(fixture.closes).toEqual([]);
  });

  it('for data still gets the end that came with the data, and no other stream does', async () => {
    const fixture = await make();
    const faulty = new FaultySink('data');
    fixture.onIncoming = (stream) => {
      if (stream.id === 1) stream.sink = faulty;
      stream.accept();
    };
    await fixture.exchange(data(1, 'last', SYN | FIN), data(3, 'more', SYN), data(3, ' and more'));
    expect(raised).toHaveLength(1);
    expect(faulty.events).toEqual(['data 4', 'end']);
    expect(fixture.sinks[1].events).toEqual(['data 4', 'data 9']);
  });

  it('for a new stream loses nothing that came with the open', async () => {
    const fixture = await make();
    fixture.onIncoming = (stream) => {
      stream.accept();
      throw new Error('fault in stream');
    };
    const answers = await fixture.exchange(data(1, 'first', SYN), data(1, ', second', FIN));
    expect(raised.map(({ message }) => message)).toEqual(['fault in stream']);
    expect(answers).toContain('WINDOW 1 ACK 0');
    expect(fixture.sinks[0].received.toString()).toBe('first, second');
    expect(fixture.sinks[0].events).toEqual(['data 5', 'data 8', 'end']);
  });

  it('for an end or a reset does not affect other streams', async () => {
    const fixture = await make();
    const faults = [new FaultySink('end'), new FaultySink('reset')];
    fixture.onIncoming = (stream) => {
      stream.sink = faults.shift() ?? stream.sink;
      stream.accept();
    };
    await fixture.exchange(
      windowUpdate(1, 0, SYN),
      windowUpdate(3, 0, SYN),
      windowUpdate(5, 0, SYN),
      windowUpdate(1, 0, FIN),
      windowUpdate(3, 0, RST),
      data(5, 'ok'),
    );
    expect(raised.map(({ message }) => message)).toEqual(['fault in end', 'fault in reset']);
    expect(fixture.sinks[2].received.toString()).toBe('ok');
    expect(fixture.session.streamCount).toBe(2);
  });

  it('for a go away does not affect streams', async () => {
    const fixture = await make();
    fixture.onGoAway = () => {
      throw new Error('fault in go away');
    };
    await fixture.exchange(goAway(0), data(1, 'goes on', SYN));
    expect(raised.map(({ message }) => message)).toEqual(['fault in go away']);
    expect(fixture.sinks[0].received.toString()).toBe('goes on');
    expect(() => fixture.session.open(new NotingSink())).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_GO_AWAY' }),
    );
  });

  it('for sent bytes does not keep other handlers from being called, nor waiting data from being sent', async () => {
    const fixture = await make();
    const { peer, session } = fixture;
    const faulty = new FaultySink('sent');
    const large = Buffer.alloc(200 * 1024, 1);
    peer.block();
    session.open(faulty).write(large);
    const second = fixture.open(large);
    const third = fixture.open(large);
    await fixture.answers();
    try {
      peer.unblock();
    } catch (error) {
      raised.push(error as Error);
    }
    await fixture.answers();
    await fixture.answers();
    expect(new Set(raised.map(({ message }) => message))).toEqual(new Set(['fault in sent']));
    expect(faulty.sentBytes).toBe(large.length);
    expect(second.sink.sentBytes).toBe(large.length);
    expect(third.sink.sentBytes).toBe(large.length);
  });

  it('at the end of the session does not keep other streams from being notified', async () => {
    const fixture = await make();
    const { session } = fixture;
    session.open(new FaultySink('reset'));
    const { sink } = fixture.open();
    await fixture.exchange(windowUpdate(2, 0, ACK), windowUpdate(4, 0, ACK));
    try {
      session.destroy();
    } catch (error) {
      raised.push(error as Error);
    }
    await fixture.answers();
    expect(raised.map(({ message }) => message)).toEqual(['fault in reset']);
    expect(sink.events).toEqual(['reset ERR_STARLANE_CLOSED']);
    expect(fixture.peer.destroyed).toBe(true);
  });

  it('for a stream that waited does not keep other streams waiting', async () => {
    const peer = new ScriptedPeer();
    const session = new Session(peer, { client: false });
    await turn();
    peer.feed(windowUpdate(1, 0, SYN), windowUpdate(3, 0, SYN), windowUpdate(5, 0, SYN));
    const ids: number[] = [];
    session.on('stream', (stream) => {
      ids.push(stream.on('error', () => {}).id);
      throw new Error('fault in listener');
    });
    await turn();
    expect(ids).toEqual([1, 3, 5]);
    expect(raised).toHaveLength(3);
    session.destroy();
    await turn();
  });

  it('for data of a Stream does not cost the stream its credit', async () => {
    for (const paused of [false, true]) {
      const peer = new ScriptedPeer();
      const session = new Session(peer, { client: false });
      const stream = session.open();
      stream.on('error', () => {});
      await turn();
      peer.feed(windowUpdate(2, 0, ACK));
      await turn();
      peer.takeFrames();
      stream.on('data', () => {
        throw new Error('fault in listener');
      });
      let credit = 256 * 1024;
      for (let round = 0; round < 20; round++) {
        if (paused) stream.pause();
        expect(credit).toBeGreaterThanOrEqual(32 * 1024);
        peer.feed(data(2, Buffer.alloc(32 * 1024)));
        await turn();
        if (paused) {
          try {
            stream.read();
          } catch (error) {
            raised.push(error as Error);
          }
          await turn();
        }
        credit += peer.takeFrames().reduce((sum, { length }) => sum + length, -32 * 1024);
      }
      expect(raised.splice(0).length).toBeGreaterThanOrEqual(20);
      session.destroy();
      await turn();
    }
  });
});
