// A session against a scripted peer, with a clock that does not move, and sinks that note their callbacks.

import { afterEach, expect } from '@jest/globals';
import { codeOf } from '../../lib/errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../lib/mux/hidden.js';
import { MuxSession, type SessionOwner } from '../../lib/mux/session.js';
import type { SessionOptions } from '../../lib/mux/session-options.js';
import type { MuxStream, StreamSink } from '../../lib/mux/stream/stream.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from './fake-clock.js';
import { ScriptedPeer } from './scripted-peer.js';
import { turn } from './turns.js';

/** Longer than a session waits for its last bytes to leave. */
const LINGER_MS = 2_000;

/** Notes everything; consumes what arrives unless it is paused. */
export class NotingSink implements StreamSink {
  /** 'data 5', 'end', 'sent 100', 'reset ERR_...' in the order of the callbacks. */
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  paused = false;
  sentBytes = 0;
  error: Error | undefined;
  /** What relays would pass on of each reset. */
  readonly reasons: number[] = [];

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.events.push(`data ${chunk.length}`);
    this.chunks.push(chunk);
    if (!this.paused) stream.consumed(chunk.length);
  }

  [kOnEnd](): void {
    this.events.push('end');
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.events.push(`sent ${bytes}`);
    this.sentBytes += bytes;
  }

  [kOnReset](_stream: MuxStream, error: Error, reason = 0): void {
    this.events.push(`reset ${codeOf(error)}`);
    this.error = error;
    this.reasons.push(reason);
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

export class SessionFixture implements SessionOwner {
  readonly peer = new ScriptedPeer();
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly session: MuxSession;
  /** Streams that the peer opened, with a sink each. */
  readonly incoming: MuxStream[] = [];
  readonly sinks: NotingSink[] = [];
  /** The errors with which the session reported its end: there must be one. */
  readonly closes: Array<Error | undefined> = [];
  goAways = 0;
  /** Called with each stream of the peer. */
  onIncoming: (stream: MuxStream) => void = (stream) => stream.accept();

  constructor(options: Partial<SessionOptions> = {}) {
    this.session = new MuxSession(this.peer, { client: false, timers: this.timers, ...options }, this);
  }

  onStream(stream: MuxStream): void {
    const sink = new NotingSink();
    stream.sink = sink;
    this.incoming.push(stream);
    this.sinks.push(sink);
    this.onIncoming(stream);
  }

  onGoAway(): void {
    this.goAways++;
  }

  onClose(error: Error | undefined): void {
    this.closes.push(error);
  }

  open(first?: Buffer): { stream: MuxStream; sink: NotingSink } {
    const sink = new NotingSink();
    return { stream: this.session.open(sink, first), sink };
  }

  /** Feeds the frames as one chunk, and returns what the session answered by the end of the turn. */
  async exchange(...frames: Buffer[]): Promise<string[]> {
    this.peer.feed(...frames);
    await turn();
    return this.peer.takeText();
  }

  /** What the session has written since the last call. */
  async answers(): Promise<string[]> {
    await turn();
    return this.peer.takeText();
  }

  /** The codes with which the session ended; a graceful end is undefined. */
  get closeCodes(): Array<string | undefined> {
    return this.closes.map((error) => codeOf(error));
  }
}

/** Makes sessions against scripted peers for the specs of a file; after each spec nothing of them may be left. */
export function sessionFixtures(): (options?: Partial<SessionOptions>) => Promise<SessionFixture> {
  let made: SessionFixture[] = [];
  afterEach(async () => {
    const fixtures = made;
    made = [];
    for (const { session } of fixtures) session.destroy();
    await turn();
    // A failed session waits a while for its last bytes to leave.
    for (const { clock } of fixtures) clock.advance(LINGER_MS);
    await turn();
    for (const { peer, timers, session, closes } of fixtures) {
      expect(peer.destroyed).toBe(true);
      expect(closes).toHaveLength(1);
      expect(session.streamCount).toBe(0);
      expect(timers.size).toBe(0);
    }
  });
  return async (options) => {
    const fixture = new SessionFixture(options);
    made.push(fixture);
    await turn();
    // A session begins with a ping, to measure the round trip.
    expect(fixture.peer.takeText()).toEqual(['PING SYN 0']);
    return fixture;
  };
}
