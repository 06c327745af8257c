// Messages that neighbours have announced and that have not arrived: which neighbours have them, and when to ask for them.

import type { OriginKey } from '../frames.js';
import { keyOf } from './cache.js';

/** Neighbours that are remembered for one message. */
const MAX_ANNOUNCERS = 8;
/** How many more questions follow after each neighbour was asked once. The pauses double, up to 16 times the first. */
const MAX_AGAIN = 4;

export interface Missing {
  readonly origin: OriginKey;
  readonly counter: number;
  own: boolean;
  /** Whether the one that is asked becomes a neighbour in the tree, as it had the message sooner. */
  eager: boolean;
  /** Those that have it, the one to ask next first. */
  readonly announcers: string[];
  /** How often somebody was asked. */
  tries: number;
  dueMs: number;
  /** Who would have brought it first, and when. */
  readonly first: { readonly peer: string; readonly atMs: number } | undefined;
  /** On whose account it is. */
  readonly charged: string;
}

export class MissingMessages {
  private readonly all = new Map<string, Missing>();
  private readonly charges = new Map<string, number>();

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.all.size;
  }

  get(origin: OriginKey, counter: number): Missing | undefined {
    return this.all.get(keyOf(origin, counter));
  }

  /** Notes that `peer` has the message. False when there is no room for one more. */
  note(
    origin: OriginKey,
    counter: number,
    peer: string,
    about: { own: boolean; eager: boolean; dueMs: number; hadAtMs: number | undefined },
  ): boolean {
    const key = keyOf(origin, counter);
    const known = this.all.get(key);
    if (known !== undefined) {
      if (!known.announcers.includes(peer) && known.announcers.length < MAX_ANNOUNCERS) known.announcers.push(peer);
      if (about.eager && !known.eager) {
        known.eager = true;
        known.own = about.own;
      }
      return true;
    }
    const charge = this.charges.get(peer) ?? 0;
    if (this.all.size >= this.limit || charge >= this.limit / 4) return false;
    this.charges.set(peer, charge + 1);
    const { own, eager, dueMs, hadAtMs } = about;
    const first = hadAtMs === undefined ? undefined : { peer, atMs: hadAtMs };
    this.all.set(key, { origin, counter, own, eager, announcers: [peer], tries: 0, dueMs, first, charged: peer });
    return true;
  }

  /** Forgets a message, and returns what was known of it. */
  take(origin: OriginKey, counter: number): Missing | undefined {
    const key = keyOf(origin, counter);
    const missing = this.all.get(key);
    if (missing === undefined) return undefined;
    this.all.delete(key);
    const charge = (this.charges.get(missing.charged) ?? 1) - 1;
    if (charge === 0) this.charges.delete(missing.charged);
    else this.charges.set(missing.charged, charge);
    return missing;
  }

  /**
   * Returns whom to ask for a message now, and sets when to ask again: each one once, and then all again with longer and longer pauses, as an
   * answer may take its time. Returns undefined when that was no use, or nobody is left.
   */
  ask(missing: Missing, nowMs: number, graftMs: number): string | undefined {
    const { announcers } = missing;
    const again = Math.max(0, ++missing.tries - announcers.length);
    const peer = announcers.shift();
    if (peer === undefined || again > MAX_AGAIN) return undefined;
    announcers.push(peer);
    missing.dueMs = nowMs + graftMs * 2 ** again;
    return peer;
  }

  /** The messages for which it is time to ask. Those may be taken meanwhile. */
  *due(nowMs: number): IterableIterator<Missing> {
    for (const missing of this.all.values()) if (missing.dueMs <= nowMs) yield missing;
  }

  values(): IterableIterator<Missing> {
    return this.all.values();
  }

  /** When the first of them is due, in ms; infinite without any. */
  get dueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.all.values()) due = Math.min(due, dueMs);
    return due;
  }

  /** Forgets what a neighbour has, which is gone. */
  drop(peer: string): void {
    for (const { announcers } of this.all.values()) {
      const index = announcers.indexOf(peer);
      if (index >= 0) announcers.splice(index, 1);
    }
  }
}
