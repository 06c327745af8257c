// The circuit to one neighbour: frames in and out, what waits to be sent, and whether the other end is still there.

import { starlaneError } from '../../errors.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { nextTick } from '../../util/runtime/real-timers.js';
import type { Timers } from '../../util/timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import { decodeFrame, encodeFrame, type Frame, frameLength, type Hello, LENGTH_BYTES } from './frames.js';

/** Something is sent at least this often. */
const BEAT_MS = 1_000;
/** A neighbour that sends nothing for so long is given up. */
const SILENCE_MS = 5_000;
/** Frames, and entries in them, that are read from one neighbour. Beyond that it waits. */
const RATE = { perS: 50_000, burst: 50_000 } as const;
/** What may wait for a neighbour at most, in parts of the outbox: answers and announcements come on top of messages. */
const OVERFLOW = 4;
/** Small frames are joined up to so many bytes. */
const JOINED_BYTES = 16 * 1024;
const BEAT: Frame = { kind: 'ihave', entries: [] };

export interface NeighbourOwner {
  /** The first frame has come, which is checked. */
  onHello(hello: Hello): void;
  onFrame(frame: Frame): void;
  /** The neighbour is no longer slow. */
  onReady(): void;
  /** The circuit has ended. `fault`: why, unless the other end has hung up. */
  onEnd(fault: Error | undefined): void;
}

export class Neighbour {
  /** Whether the HELLO of the other end has come. */
  isUp = false;
  private hasEnded = false;
  /** Whether so much waits that it gets announcements only. */
  private isFull = false;
  private out: Uint8Array[] = [];
  private outBytes = 0;
  private isFlushing = false;
  /** What has come of a frame. */
  private parts: Buffer[] = [];
  private partBytes = 0;
  private needed = LENGTH_BYTES;
  private length: number | undefined;
  private readonly budget = new TokenBucket(RATE);
  private lastSentMs: number;
  private lastHeardMs: number;
  private readonly beat: Deadline;
  private readonly pause: Deadline;

  constructor(
    private readonly socket: Socket,
    private readonly timers: Timers,
    private readonly outboxBytes: number,
    private readonly owner: NeighbourOwner,
    hello: Hello,
  ) {
    this.lastSentMs = this.lastHeardMs = timers.now();
    this.beat = new Deadline(timers, (now) => this.onBeat(now));
    this.pause = new Deadline(timers, () => this.read());
    socket.on('data', (chunk: Buffer) => this.onData(chunk));
    socket.on('end', () => this.finish(undefined));
    socket.on('error', (error) => this.finish(error));
    socket.on('close', () => this.finish(starlaneError('ERR_STARLANE_CLOSED')));
    this.beat.set(BEAT_MS);
    this.send(hello);
  }

  /** Whether the neighbour takes messages more slowly than they come. */
  get isSlow(): boolean {
    this.isFull = this.isFull || this.waiting > this.outboxBytes;
    return this.isFull;
  }

  private get waiting(): number {
    return this.outBytes + this.socket.writableLength;
  }

  send(frame: Frame): void {
    if (this.hasEnded) return;
    for (const chunk of encodeFrame(frame)) {
      this.out.push(chunk);
      this.outBytes += chunk.length;
    }
    if (this.waiting > OVERFLOW * this.outboxBytes) {
      this.end(starlaneError('ERR_STARLANE_QUEUE_FULL', 'a neighbour takes no answers'));
      return;
    }
    if (this.isFlushing) return;
    this.isFlushing = true;
    nextTick(() => this.flush());
  }

  /** Ends the circuit: everything that was sent still arrives. */
  hangUp(): void {
    if (this.hasEnded) return;
    this.flush();
    this.stop();
    this.endCircuit();
  }

  /** Ends the circuit because of a fault. */
  end(fault: Error): void {
    this.socket.destroy();
    this.finish(fault);
  }

  private finish(fault: Error | undefined): void {
    if (this.hasEnded) return;
    this.stop();
    if (fault === undefined) this.endCircuit();
    this.owner.onEnd(fault);
  }

  /** Ends this direction of the circuit. A neighbour that does not end its own, or reads nothing, costs a circuit for a limited time. */
  private endCircuit(): void {
    this.socket.end();
    const late = new Deadline(this.timers, () => this.socket.destroy());
    late.set(SILENCE_MS);
    this.socket.once('close', () => late.clear());
    this.socket.resume();
  }

  private stop(): void {
    this.hasEnded = true;
    this.beat.clear();
    this.pause.clear();
    this.out = [];
    this.outBytes = 0;
    this.parts = [];
  }

  private flush(): void {
    this.isFlushing = false;
    if (this.hasEnded) return;
    const { out } = this;
    this.out = [];
    this.outBytes = 0;
    this.lastSentMs = this.timers.now();
    let joined: Uint8Array[] = [];
    let bytes = 0;
    const write = (): void => {
      if (joined.length > 0) {
        this.socket.write(joined.length === 1 ? joined[0] : Buffer.concat(joined, bytes), this.onWritten);
      }
      joined = [];
      bytes = 0;
    };
    for (const chunk of out) {
      if (bytes + chunk.length > JOINED_BYTES) write();
      joined.push(chunk);
      bytes += chunk.length;
    }
    write();
  }

  /** The event 'drain' would not do: it comes only when more waits than the mark of the socket, which is not that of the outbox. */
  private readonly onWritten = (): void => {
    if (!this.isFull || this.hasEnded || 2 * this.waiting > this.outboxBytes) return;
    this.isFull = false;
    this.owner.onReady();
  };

  private onBeat(now: number): void {
    if (now - this.lastHeardMs >= SILENCE_MS) {
      // After a pause of this process, what has come meanwhile is read first.
      const heardMs = this.lastHeardMs;
      this.timers.afterInput(() => {
        if (this.hasEnded || this.lastHeardMs !== heardMs) return;
        this.end(starlaneError('ERR_STARLANE_KEEPALIVE', 'a neighbour of a broadcast'));
      });
    }
    if (now - this.lastSentMs >= BEAT_MS && !this.isSlow) this.send(BEAT);
    this.beat.set(BEAT_MS);
  }

  private onData(chunk: Buffer): void {
    this.lastHeardMs = this.timers.now();
    if (this.hasEnded) return;
    this.parts.push(chunk);
    this.partBytes += chunk.length;
    if (!this.pause.isSet) this.read();
  }

  /** Reads whole frames as far as the budget goes. */
  private read(): void {
    const now = this.timers.now();
    let joined: Buffer | undefined;
    let at = 0;
    while (!this.hasEnded && this.partBytes - at >= this.needed) {
      const waitMs = this.budget.waitMs(now);
      if (waitMs > 0) {
        this.socket.pause();
        this.pause.set(waitMs);
        break;
      }
      joined ??= this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts, this.partBytes);
      try {
        if (this.length === undefined) {
          this.length = frameLength(joined.subarray(at, at + LENGTH_BYTES));
          this.needed = LENGTH_BYTES + this.length;
          continue;
        }
        const frame = decodeFrame(joined.subarray(at + LENGTH_BYTES, at + this.needed));
        at += this.needed;
        this.needed = LENGTH_BYTES;
        this.length = undefined;
        this.budget.take(now, costOf(frame));
        this.onFrame(frame);
      } catch (error) {
        this.end(error as Error);
        return;
      }
    }
    if (this.hasEnded) return;
    if (joined !== undefined) {
      this.parts = at < joined.length ? [joined.subarray(at)] : [];
      this.partBytes -= at;
    }
    if (!this.pause.isSet) this.socket.resume();
  }

  private onFrame(frame: Frame): void {
    if (this.isUp) {
      this.owner.onFrame(frame);
      return;
    }
    if (frame.kind !== 'hello') throw starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', 'the first frame is no HELLO');
    this.isUp = true;
    this.owner.onHello(frame);
  }
}

function costOf(frame: Frame): number {
  switch (frame.kind) {
    case 'ihave':
      return 1 + frame.entries.length;
    case 'summary':
      return 1 + frame.origins.length;
    case 'graft':
      return 1 + frame.ranges.reduce((sum, { count }) => sum + count, 0);
    default:
      return 1;
  }
}
