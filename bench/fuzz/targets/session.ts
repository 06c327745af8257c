// A session, in either role, whose peer sends anything. The first part says how the session is set up and what its streams
// do with what arrives, the others are chunks of what the peer sends.

import { StarlaneError } from '../../../lib/errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import { MuxSession, type SessionOwner } from '../../../lib/mux/session.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../../spec/support/fake-clock.js';
import type { Random } from '../../simulation/random.js';
import { type LivingTarget, must, type Outcome, type Parts, type Trial, wayOf } from '../target.js';
import { FedDuplex } from './fed-duplex.js';
import { randomFrame, repairFrames } from './frames.js';

/** Longer than any deadline of a session. */
const LONG_MS = 130_000;
const TURNS_AFTER = 6;
const MAX_STREAMS = 32;
const NO_BYTES = Buffer.alloc(0);

const Setting = { FOREIGN_PEER: 1, STUCK: 2, SMALL_BACKLOG: 4, SMALL_BUDGET: 8, KEEPALIVE: 16, RELAYED: 32 } as const;
/** How the session ends, unless the peer ends it. */
const End = { PEER_ENDS: 0, CLOSE: 1, DESTROY: 2, SILENCE: 3 } as const;

export const sessionTargets: readonly LivingTarget[] = [true, false].map((client) => ({
  name: client ? 'session client' : 'session server',
  share: 9,

  generate(random) {
    const ids = client ? [2, 2, 4, 6, 1, 3] : [1, 1, 3, 5, 2, 4];
    const chunks = Array.from({ length: 1 + random.below(4) }, () =>
      Buffer.concat(Array.from({ length: 1 + random.below(6) }, () => randomFrame(random, ids))),
    );
    return [settings(random), ...chunks];
  },

  repair(parts, random) {
    for (let index = 1; index < parts.length; index++) parts[index] = repairFrames(parts[index], random);
  },

  start: (parts) => new SessionTrial(client, parts),
}));

export function settings(random: Random): Buffer {
  return Buffer.from([
    random.below(4) === 0 ? random.below(64) : 0,
    random.below(256),
    random.below(4),
    random.below(4),
  ]);
}

class SessionTrial implements Trial, SessionOwner {
  readonly duplex = new FedDuplex();
  private readonly clock = new FakeClock();
  private readonly timers = new Timers(this.clock);
  private readonly session: MuxSession;
  private readonly chunks: Buffer[];
  private readonly setup: Buffer;
  private readonly ends: Array<Error | undefined> = [];
  private readonly sinks: AnySink[] = [];
  private turnsLeft = TURNS_AFTER;
  private hasEnded = false;

  constructor(client: boolean, [setup = NO_BYTES, ...chunks]: Parts) {
    this.setup = setup;
    this.chunks = chunks;
    this.duplex.isStuck = this.is(Setting.STUCK);
    this.session = new MuxSession(
      this.duplex,
      {
        client,
        timers: this.timers,
        starlanePeer: !this.is(Setting.FOREIGN_PEER),
        maxStreams: MAX_STREAMS,
        acceptBacklog: this.is(Setting.SMALL_BACKLOG) ? 2 : 16,
        receiveBudgetBytes: this.is(Setting.SMALL_BUDGET) ? 256 * 1024 : 64 * 1024 * 1024,
        keepAliveMs: this.is(Setting.KEEPALIVE) ? 100 : 0,
        keepAliveTimeoutMs: 500,
      },
      this,
    );
    for (let count = (setup[2] ?? 0) & 3; count > 0; count--) this.session.open(this.sink(count), Buffer.from('hello'));
  }

  advance(): boolean {
    const { clock, duplex } = this;
    clock.runImmediates();
    const chunk = this.chunks.shift();
    if (chunk !== undefined) {
      duplex.feed(chunk);
      clock.advance(chunk.length % 7 === 0 ? 150 : 1);
      return false;
    }
    if (!this.hasEnded) {
      this.hasEnded = true;
      this.end();
      return false;
    }
    if (--this.turnsLeft > 0) clock.advance(LONG_MS);
    else if (this.turnsLeft === 0) this.session.destroy();
    return this.turnsLeft < -2;
  }

  finish(): Outcome[] {
    const { session, timers, duplex, ends, sinks } = this;
    duplex.check();
    must(ends.length === 1, `it ends ${ends.length} times`);
    must(session.streamCount === 0, `${session.streamCount} streams are left`);
    for (const sink of sinks) sink.readRest();
    must(session.unreadBytes === 0, `${session.unreadBytes} bytes count as unread`);
    must(session.budget.grownBytes === 0, `${session.budget.grownBytes} bytes of windows are left`);
    must(timers.size === 0, `${timers.size} deadlines are left`);
    must(duplex.destroyed, 'its Duplex is left');
    for (const sink of sinks) sink.check();
    const sent = sinks.reduce((sum, sink) => sum + sink.sentBytes, 0);
    // One frame in answer to each of the peer's, the smallest of which is a header, and the data of the streams.
    must(duplex.bytesOut <= 2 * duplex.bytesIn + 2 * sent + 1024, `${duplex.bytesOut} bytes for ${duplex.bytesIn}`);
    return [endOf(ends[0]), ...sinks.map(({ events }) => events.slice(0, 6).join(' '))];
  }

  onStream(stream: MuxStream): void {
    stream.sink = this.sink(stream.id);
    if (this.is(Setting.RELAYED)) stream.useRelayWindow();
    switch ((stream.id + (this.setup[1] ?? 0)) % 8) {
      case 0:
        stream.reset();
        break;
      case 1:
        break;
      case 2:
        stream.accept();
        stream.close();
        break;
      case 3:
        stream.accept();
        stream.write(Buffer.from('bye'));
        stream.end();
        break;
      default:
        stream.accept();
    }
  }

  onClose(error: Error | undefined): void {
    this.ends.push(error);
  }

  private sink(id: number): AnySink {
    const sink = new AnySink((id + (this.setup[1] ?? 0) / 8) & 3);
    this.sinks.push(sink);
    return sink;
  }

  private end(): void {
    switch ((this.setup[3] ?? 0) & 3) {
      case End.PEER_ENDS:
        this.duplex.feedEnd();
        break;
      case End.CLOSE:
        this.session.close();
        break;
      case End.DESTROY:
        this.session.destroy();
        break;
      default:
    }
  }

  private is(setting: number): boolean {
    return ((this.setup[0] ?? 0) & setting) !== 0;
  }
}

const Habit = { READ: 0, ECHO: 1, KEEP: 2, LEAVE: 3 } as const;

/** Does what a user may do with a stream, and notes callbacks in a wrong order. */
class AnySink implements StreamSink {
  /** The kinds of callbacks, in order. */
  readonly events: string[] = ['open'];
  sentBytes = 16;
  private readonly kept: Array<() => void> = [];
  private hasEnded = false;
  private isOver = false;
  private fault: string | undefined;

  constructor(private readonly habit: number) {}

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    this.note('data');
    if (this.hasEnded || this.isOver) this.fault = 'data after the end';
    if (chunk.length === 0) this.fault = 'no data';
    if (this.habit === Habit.KEEP) {
      this.kept.push(() => stream.consumed(chunk.length));
      return;
    }
    if (this.habit === Habit.ECHO) {
      this.sentBytes += 12 + chunk.length;
      stream.forward(chunk);
    }
    stream.consumed(chunk.length);
    if (this.habit === Habit.LEAVE) {
      this.isOver = true;
      stream.close();
    }
  }

  [kOnEnd](stream: MuxStream): void {
    this.note('end');
    if (this.hasEnded || this.isOver) this.fault = 'a second end';
    this.hasEnded = true;
    if (this.habit !== Habit.KEEP) stream.end();
  }

  [kOnSent](): void {}

  [kOnReset](_stream: MuxStream, error: Error): void {
    this.note(`reset ${(error as { code?: string }).code}`);
    if (this.isOver) this.fault = 'a reset after the end';
    this.isOver = true;
  }

  /** The user reads the rest, even after the end of the stream. */
  readRest(): void {
    for (const read of this.kept.splice(0)) read();
  }

  check(): void {
    must(this.fault === undefined, `a stream gets ${this.fault}`);
  }

  private note(event: string): void {
    if (this.events.at(-1) !== event) this.events.push(event);
  }
}

export function endOf(error: Error | undefined): Outcome {
  if (error === undefined) return 'in order';
  must(error instanceof StarlaneError, `it ends with ${error.name}: ${error.message}`);
  return wayOf(error as StarlaneError);
}
