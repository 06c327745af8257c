// The live stream of the page: one snapshot a second for all readers together, as long as there are any, and to each of them what has
// changed. Readers are limited in number. One that does not read gets nothing more until it has, and then a whole snapshot, so that at
// most about one snapshot waits for it; after half a minute it is cut off.

import type { ServerResponse } from 'node:http';
import { Deadline } from '../../util/deadline.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { sharedTimers, type Timers } from '../../util/timers.js';
import { SnapshotComparison } from './changes.js';
import { EventLog } from './event-log.js';
import type { FullUpdate, Snapshot, Update } from './snapshot.js';
import type { MonitorSource } from './source.js';

/** Between two updates that the clock causes, and at least between any two. */
const UPDATE_MS = 1_000;
const MIN_UPDATE_MS = 250;
/** Bytes that may wait for a reader when the next update is due. */
const MAX_WAITING_BYTES = 256 * 1024;
const MAX_BEHIND_MS = 30_000;
/** Events in one update; the page shows that some are missing. */
const MAX_EVENTS = 200;
/** The age of a snapshot that may still answer a request. */
const FRESH_MS = 250;

interface Reader {
  readonly response: ServerResponse;
  /** Since when it has been too slow. */
  behindSinceMs: number | undefined;
  needsAll: boolean;
}

export class Feed {
  readonly log = new EventLog();
  private readonly readers = new Set<Reader>();
  private comparison = new SnapshotComparison();
  private sentEvent = 0;
  private readonly next: Deadline;
  private updatedAtMs = Number.NEGATIVE_INFINITY;
  private readAtMs = Number.NEGATIVE_INFINITY;
  private readonly unwatch: () => void;
  private latest: Snapshot | undefined;
  /** Whether the next update comes before its usual time. */
  private isSoon = false;
  private isClosed = false;

  constructor(
    readonly source: MonitorSource,
    private readonly maxReaders: number,
    onEnd: () => void,
    private readonly timers: Timers = sharedTimers,
  ) {
    this.next = new Deadline(timers, () => this.update());
    this.unwatch = source.watch({
      onChange: () => this.updateSoon(),
      onEvent: (kind, level, text) => {
        this.log.add(dateNow(), kind, level, text);
        this.updateSoon();
      },
      onEnd,
    });
  }

  get size(): number {
    return this.readers.size;
  }

  get isFull(): boolean {
    return this.readers.size >= this.maxReaders;
  }

  /** Returns a snapshot that is a quarter of a second old at most. */
  read(): Snapshot {
    const now = this.timers.now();
    if (this.latest === undefined || now - this.readAtMs > FRESH_MS) {
      this.latest = this.source.read();
      this.readAtMs = now;
    }
    return this.latest;
  }

  /** Adds a reader, whose headers have been written. */
  add(response: ServerResponse): void {
    const reader: Reader = { response, behindSinceMs: undefined, needsAll: true };
    this.readers.add(reader);
    response.once('close', () => this.remove(reader));
    if (this.readers.size === 1) {
      // Nobody has seen the changes meanwhile.
      this.comparison = new SnapshotComparison();
      this.update();
    } else {
      this.updateSoon();
    }
  }

  close(): void {
    this.isClosed = true;
    this.unwatch();
    this.next.clear();
    for (const { response } of [...this.readers]) response.end();
  }

  private remove(reader: Reader): void {
    this.readers.delete(reader);
    if (this.readers.size > 0) return;
    this.next.clear();
    this.isSoon = false;
    this.latest = undefined;
  }

  private updateSoon(): void {
    if (this.readers.size === 0 || this.isSoon || this.isClosed) return;
    this.isSoon = true;
    this.next.set(Math.max(0, this.updatedAtMs + MIN_UPDATE_MS - this.timers.now()));
  }

  private update(): void {
    const now = this.timers.now();
    this.updatedAtMs = now;
    this.isSoon = false;
    if (this.isClosed) return;
    this.next.set(UPDATE_MS);
    this.latest = this.source.read();
    this.readAtMs = now;
    const snapshot = this.latest;
    const events = this.log.since(this.sentEvent, MAX_EVENTS);
    this.sentEvent = this.log.newest;
    const { at, self, totals } = snapshot;
    const change: Update = { at, self, totals, tables: this.comparison.advance(snapshot), events };
    let changeText: string | undefined;
    let allText: string | undefined;
    for (const reader of [...this.readers]) {
      if (this.isBehind(reader, now)) continue;
      if (reader.needsAll) {
        const all: FullUpdate = { snapshot, events: this.log.since(0) };
        allText ??= message('snapshot', all);
        reader.needsAll = false;
        reader.response.write(allText);
      } else {
        changeText ??= message('update', change);
        reader.response.write(changeText);
      }
    }
  }

  private isBehind(reader: Reader, now: number): boolean {
    if (reader.response.writableLength <= MAX_WAITING_BYTES) {
      reader.behindSinceMs = undefined;
      return false;
    }
    reader.needsAll = true;
    reader.behindSinceMs ??= now;
    if (now - reader.behindSinceMs > MAX_BEHIND_MS) reader.response.destroy();
    return true;
  }
}

/** JSON has no line breaks outside of strings, and none within. */
function message(event: string, value: FullUpdate | Update): string {
  return `event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
}
