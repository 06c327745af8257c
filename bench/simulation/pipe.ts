// One direction of a TCP connection: ordered, with latency and bandwidth, a bounded amount on its way, and a kernel that
// sends again what a broken path has swallowed.

import type { Actor, EventLoop } from './event-loop.js';
import type { Paths, PathWaiter, Place } from './paths.js';

/** 100 Mbit/s. */
const BYTES_PER_MS = 12_500;

/** More than that the reader has to have read before the writer may go on without queueing: the window of a stream. */
const WINDOW_BYTES = 256 * 1024;

/** The first wait of a kernel before it sends again, doubled each time, in ms. */
const FIRST_RETRY_MS = 300;
const MAX_RETRY_MS = 60_000;

const Event = { RETRY: 0, CREDIT: 1 } as const;

interface Segment {
  readonly kind: number;
  readonly payload: unknown;
  readonly bytes: number;
}

export interface PipeEnds {
  readonly from: Place;
  readonly to: Place;
  /** Takes what arrives, and calls {@link Pipe.consumed} when it has been read. */
  readonly reader: Actor;
  /** There is room again after {@link Pipe.isBlocked}. */
  onUnblocked(): void;
}

export class Pipe implements Actor, PathWaiter {
  private freeAt = 0;
  private lastArrival = 0;
  private unread = 0;
  private wasBlocked = false;
  private isClosed = false;
  private readonly held: Segment[] = [];
  private heldSince = 0;

  constructor(
    private readonly loop: EventLoop,
    private readonly paths: Paths,
    private readonly ends: PipeEnds,
  ) {}

  get isBlocked(): boolean {
    return this.unread > WINDOW_BYTES;
  }

  send(kind: number, payload: unknown, bytes: number): void {
    if (this.isClosed) return;
    this.unread += bytes;
    if (this.isBlocked) this.wasBlocked = true;
    if (this.held.length === 0 && this.paths.isOpen(this.ends.from, this.ends.to)) {
      this.transmit(kind, payload, bytes);
      return;
    }
    if (this.held.length === 0) {
      this.heldSince = this.loop.now;
      this.paths.waiting.add(this);
    }
    this.held.push({ kind, payload, bytes });
  }

  /** The end: a process has ended, and its kernel sends FIN. Nothing that was held is sent. */
  close(kind: number): void {
    if (this.isClosed) return;
    this.drop();
    this.isClosed = true;
    if (this.paths.isOpen(this.ends.from, this.ends.to)) this.transmit(kind, undefined, 0);
  }

  /** Sends RST: the answer of a kernel to what no process accepts. */
  reset(kind: number): void {
    const { from, to, reader } = this.ends;
    if (this.paths.isOpen(from, to)) this.loop.after(this.paths.latencyMs(from, to), reader, kind);
  }

  /** The machine is gone. */
  drop(): void {
    this.held.length = 0;
    this.paths.waiting.delete(this);
  }

  /** The reader has read that much. */
  consumed(bytes: number): void {
    this.unread -= bytes;
    if (!this.wasBlocked || this.isBlocked) return;
    this.wasBlocked = false;
    const { from, to } = this.ends;
    this.loop.after(this.paths.latencyMs(to, from) + this.paths.lateMs(to, from, 0), this, Event.CREDIT);
  }

  /** @internal */
  onHeal(): void {
    const { from, to } = this.ends;
    if (this.held.length === 0 || !this.paths.isOpen(from, to)) return;
    // The kernel tries again in its own time: it does not know that the path is there again.
    let retryAt = this.heldSince;
    for (let waitMs = FIRST_RETRY_MS; retryAt <= this.loop.now; waitMs = Math.min(2 * waitMs, MAX_RETRY_MS)) {
      retryAt += waitMs;
    }
    this.loop.at(retryAt, this, Event.RETRY);
  }

  /** @internal */
  onEvent(kind: number): void {
    if (kind === Event.CREDIT) {
      if (!this.isBlocked && !this.isClosed) this.ends.onUnblocked();
      return;
    }
    if (!this.paths.isOpen(this.ends.from, this.ends.to)) return;
    this.paths.waiting.delete(this);
    for (const { kind: held, payload, bytes } of this.held.splice(0)) this.transmit(held, payload, bytes);
  }

  private transmit(kind: number, payload: unknown, bytes: number): void {
    const { from, to, reader } = this.ends;
    this.freeAt = Math.max(this.freeAt, this.loop.now) + bytes / BYTES_PER_MS;
    const lateMs = this.paths.lateMs(from, to, bytes);
    this.lastArrival = Math.max(this.lastArrival, this.freeAt + this.paths.latencyMs(from, to) + lateMs);
    this.loop.at(this.lastArrival, reader, kind, payload);
  }
}
