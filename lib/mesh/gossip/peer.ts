// What the gossip keeps about one link: what its peer is still to be told, what the peer has told that was not looked at
// yet, and how far the comparison of the two databases is. Plain state; who changes what stands at each part.

import { hashText } from '../../util/choice.js';
import type { Buckets, Digest } from '../../wire/gossip-messages.js';
import type { MeshRecord } from '../../wire/records.js';
import { CopyQueue } from '../admission/copy-queue.js';
import type { MeshLink } from '../ports/mesh-link.js';
import type { BucketSet } from '../sync/digest-tree.js';
import { Outbox } from './outbox.js';
import { Yielded } from './yielded.js';

/** Nothing says which record is the last one of an exchange: it is over when none has come for that long. */
const ASKED_MS = 10_000;

/** The entries of a peer, until the last message of them has come. */
export interface Gathering {
  readonly covered: BucketSet;
  /** Keys of ours that the peer has as well, in whatever version. */
  readonly mentioned: Set<string>;
  /** Keys that the peer has and this node lacks. */
  readonly lacking: string[];
  /** When the last message of them came. */
  sinceMs: number;
}

/** The comparison of two databases, as far as one side sees it. Belongs to anti-entropy.ts. */
export class SyncState {
  /** What the peer said last, and what it was told last. */
  theirs: Digest | undefined;
  told: Digest | undefined;
  /** What there was to tell when the link came up is not told yet. */
  isFirst = true;
  hasSaidSynced = false;
  hasHeardSynced = false;
  /** The peer has records of this very node, which are on their way. */
  awaitsOwn = false;
  /** What this node wants of the peer, and cannot say before the peer takes messages again. */
  wants: readonly string[] | undefined;
  /** Both have told all, and all of it is looked at. */
  isSynced = false;
  /** It is for this node to begin, and it has not yet. */
  mustBegin = false;
  /** A request of the peer that waits for its turn. */
  request: Buckets | undefined;
  /** Since when entries are awaited, or what the peer wants of those it was sent; 0: not. */
  awaitsEntriesMs = 0;
  awaitsWantMs = 0;
  gathering: Gathering | undefined;
  /** Since when the databases differ; 0: they do not, as far as known. */
  differsMs = 0;
  /** The peer has told another root since, and they still do. */
  isConfirmed = false;
  /** Exchanges in a row that did not make the databases equal, and when the next one may begin. */
  vain = 0;
  notBeforeMs = 0;
  upMs = 0;
  /** When an exchange with the peer began or ended last, or else when its link came up. */
  servedMs = 0;

  get isExchanging(): boolean {
    return this.awaitsEntriesMs !== 0 || this.awaitsWantMs !== 0;
  }
}

export class GossipPeer {
  /** False once the link is gone, or is to be: nothing of it counts any more. */
  isHere = true;
  /** It is told, and tells nothing. */
  readonly isListener: boolean;

  readonly sync = new SyncState();

  /** Belongs to flooding.ts. */
  readonly outbox = new Outbox();
  /** Belongs to yielding.ts. */
  readonly yielded = new Yielded();
  readonly idHash: number;
  /** Nothing is told before the databases are compared. */
  isHeld = false;

  /** Belongs to intake.ts. */
  readonly inbox = new CopyQueue();
  /** How many records it may still bring because of an exchange, and until when it has to go on with that. */
  private askedFor = 0;
  private askedUntilMs = 0;
  /** Invalid signatures. */
  strikes = 0;
  /** States of its rate limits, see link-limits.ts. */
  recordsFullAtMs = 0;
  bytesFullAtMs = 0;
  uselessFullAtMs = 0;

  constructor(readonly link: MeshLink) {
    this.isListener = link.role === 'client';
    this.idHash = hashText(link.peerId);
  }

  /** An exchange may bring so many records. What an earlier one might have brought adds nothing to that. */
  ask(count: number, now: number): void {
    this.askedFor = Math.max(this.wasAsked(now) ? this.askedFor : 0, count);
    this.askedUntilMs = now + ASKED_MS;
  }

  /** Counts a record that has come. Says whether it was asked for. */
  takeAsked(now: number): boolean {
    if (!this.wasAsked(now)) return false;
    this.askedFor--;
    this.askedUntilMs = now + ASKED_MS;
    return true;
  }

  /** The exchange is given up. */
  forgetAsked(): void {
    this.askedFor = 0;
  }

  /** Something is to be told to the peer. */
  get hasNews(): boolean {
    return this.outbox.size > 0 || this.yielded.size > 0;
  }

  /** The peer has this version of a record, or a newer one. */
  knows(record: MeshRecord): void {
    this.outbox.cancel(record);
    this.yielded.cancel(record);
  }

  private wasAsked(now: number): boolean {
    return this.askedFor > 0 && now <= this.askedUntilMs;
  }
}
