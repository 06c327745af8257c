// The open connections of a task: how many, how many bytes, idle ones, and their end.

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Break, Passage } from '../../socket/passage.js';

export interface PassageCounts {
  readonly open: number;
  readonly accepted: number;
  /** Those that did not end with the end of both directions. */
  readonly failed: number;
  /** From this machine to services. */
  readonly bytesOut: number;
  readonly bytesIn: number;
}

interface Activity {
  bytes: number;
  sinceMs: number;
}

/** How often it looks for idle connections, as a part of the time after which they are. */
const LOOKS = 4;
const LONGEST_LOOK_MS = 60_000;

export class Passages {
  private readonly open = new Map<Passage, Activity>();
  private readonly counts = { accepted: 0, failed: 0, bytesOut: 0, bytesIn: 0 };
  private idleMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private onEmpty: (() => void) | undefined;

  constructor(private readonly onBreak: (broken: Break) => void) {}

  /** How long a connection may be silent; undefined: without limit. It holds for those that are open as well. */
  set idleTimeoutMs(timeoutMs: number | undefined) {
    this.idleMs = timeoutMs ?? 0;
    clearInterval(this.timer);
    this.timer = undefined;
    if (this.open.size > 0) this.watch();
  }

  get size(): number {
    return this.open.size;
  }

  /** Joins a socket of this machine with a circuit. */
  join(local: Duplex, circuit: Duplex): void {
    this.counts.accepted++;
    const passage = new Passage(local, circuit, (of, broken) => this.onOver(of, broken));
    this.open.set(passage, { bytes: 0, sinceMs: this.idleMs === 0 ? 0 : Date.now() });
    this.watch();
  }

  status(): PassageCounts {
    const { accepted, failed } = this.counts;
    let { bytesOut, bytesIn } = this.counts;
    for (const { local } of this.open.keys()) {
      bytesOut += (local as Partial<Socket>).bytesRead ?? 0;
      bytesIn += (local as Partial<Socket>).bytesWritten ?? 0;
    }
    return { open: this.open.size, accepted, failed, bytesOut, bytesIn };
  }

  /** Resolves when all have ended, or were ended because the signal is aborted. Call it when no more can come. */
  async ended(signal: AbortSignal): Promise<void> {
    if (this.open.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    const end = () => this.reset();
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    await empty;
    signal.removeEventListener('abort', end);
  }

  reset(): void {
    for (const passage of [...this.open.keys()]) passage.reset();
  }

  private onOver(passage: Passage, broken: Break | undefined): void {
    const { counts } = this;
    const { local } = passage;
    this.open.delete(passage);
    counts.bytesOut += (local as Partial<Socket>).bytesRead ?? 0;
    counts.bytesIn += (local as Partial<Socket>).bytesWritten ?? 0;
    if (broken !== undefined) {
      counts.failed++;
      this.onBreak(broken);
    }
    if (this.open.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.onEmpty?.();
  }

  /** One timer for all of them, and nothing to do for a chunk. */
  private watch(): void {
    if (this.timer !== undefined || this.idleMs === 0) return;
    const everyMs = Math.min(LONGEST_LOOK_MS, Math.max(1, this.idleMs / LOOKS));
    this.timer = setInterval(() => this.endIdle(Date.now()), everyMs);
    this.timer.unref();
  }

  private endIdle(nowMs: number): void {
    for (const [passage, activity] of [...this.open]) {
      const { bytesRead = 0, bytesWritten = 0 } = passage.local as Partial<Socket>;
      const bytes = bytesRead + bytesWritten;
      if (bytes !== activity.bytes || activity.sinceMs === 0) {
        activity.bytes = bytes;
        activity.sinceMs = nowMs;
      } else if (nowMs - activity.sinceMs >= this.idleMs) passage.reset();
    }
  }
}
