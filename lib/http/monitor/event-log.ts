// The last events of a node, for the log of the page.

import type { EventLevel, EventRow } from './snapshot.js';

const KEPT = 1_000;
/** Texts come from peers. */
const TEXT_CHARACTERS = 300;

export class EventLog {
  private rows: EventRow[] = [];
  private lastId = 0;

  /** The id of the newest event; 0 without one. */
  get newest(): number {
    return this.lastId;
  }

  add(at: number, kind: string, level: EventLevel, text: string): void {
    this.rows.push({ id: ++this.lastId, at, kind, level, text: text.slice(0, TEXT_CHARACTERS) });
    // In large steps: a shift for each of ten thousand services would copy the list each time.
    if (this.rows.length >= 2 * KEPT) this.rows = this.rows.slice(-KEPT);
  }

  /** Returns the events after `id`, at most `limit` of the newest, oldest first. */
  since(id: number, limit = KEPT): EventRow[] {
    const count = Math.min(this.lastId - id, this.rows.length, limit, KEPT);
    return count <= 0 ? [] : this.rows.slice(-count);
  }
}
