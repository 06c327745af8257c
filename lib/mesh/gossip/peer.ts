// The state that the gossip keeps for one link: records that wait to be sent, records that wait to be processed, and the
// progress of the comparison of both stores. Plain state; each field names the file that changes it.

import { hashText } from '../../util/choice.js';
import type { Buckets, Digest } from '../../wire/gossip-messages.js';
import type { MeshRecord } from '../../wire/records.js';
import { CopyQueue } from '../admission/intake.js';
import type { MeshLink } from '../ports.js';
import type { BucketSet } from '../sync/digest-tree.js';
import { Outbox } from './flooding.js';
import { SuppressedRecords } from './suppression.js';

/** No record is marked as the last one of an exchange: it has ended when none has come for this long. */
const ASKED_MS = 10_000;

/** The entries of a peer, until their last message has arrived. */
export interface Gathering {
  readonly covered: BucketSet;
  /** Keys of this node that the peer has as well, in any version. */
  readonly mentioned: Set<string>;
  /** Keys that the peer has and this node does not. */
  readonly lacking: string[];
  /** When the latest of these messages arrived. */
  sinceMs: number;
}

/** The comparison of two stores, as one side sees it. Belongs to the files in sync. */
export class SyncState {
  /** The last digest of the peer, and the last one sent to it. */
  theirs: Digest | undefined;
  ours: Digest | undefined;
  /** The initial sync of this link is not finished. */
  isInitial = true;
  hasSentSynced = false;
  hasReceivedSynced = false;
  /** The peer has records of this node, which are on their way. */
  awaitsOwn = false;
  /** Keys that this node wants, until the peer accepts messages again. */
  wants: readonly string[] | undefined;
  /** Both have sent everything, and all of it is processed. */
  isSynced = false;
  /** This node must begin an exchange, and has not yet. */
  mustBegin = false;
  /** A request of the peer that waits for its turn. */
  request: Buckets | undefined;
  /** Since when entries are awaited, or the answer to those that were sent; 0 when they are not. */
  awaitsEntriesMs = 0;
  awaitsWantMs = 0;
  gathering: Gathering | undefined;
  /** Since when the stores are known to differ; 0 when they are not. */
  differsMs = 0;
  /** The peer has sent another root since, and they still differ. */
  isConfirmed = false;
  /** Exchanges in a row that did not make the stores equal, and when the next one may begin. */
  vain = 0;
  notBeforeMs = 0;
  upMs = 0;
  /** When an exchange with the peer last began or ended, or when its link came up. */
  servedMs = 0;

  get isExchanging(): boolean {
    return this.awaitsEntriesMs !== 0 || this.awaitsWantMs !== 0;
  }
}

export class GossipPeer {
  /** False once the link is closed or about to be: everything from it is ignored. */
  isActive = true;
  /** A client: it receives records and sends none. */
  readonly isListener: boolean;

  readonly sync = new SyncState();

  /** Belongs to flooding.ts. */
  readonly outbox = new Outbox();
  /** Belongs to suppression.ts. */
  readonly suppressed = new SuppressedRecords();
  readonly idHash: number;
  /** Nothing is sent before the stores are compared. */
  isHeld = false;

  /** Belongs to intake.ts. */
  readonly inbox = new CopyQueue();
  /** How many requested records may still come, and until when the next one must. */
  private askedFor = 0;
  private askedUntilMs = 0;
  /** Invalid signatures. */
  violations = 0;
  /** States of its rate limits, see intake.ts. */
  recordsFullAtMs = 0;
  bytesFullAtMs = 0;
  uselessFullAtMs = 0;

  constructor(readonly link: MeshLink) {
    this.isListener = link.role === 'client';
    this.idHash = hashText(link.peerId);
  }

  /** Expects up to `count` records from an exchange. What an earlier exchange left open is not added. */
  ask(count: number, now: number): void {
    this.askedFor = Math.max(this.wasAsked(now) ? this.askedFor : 0, count);
    this.askedUntilMs = now + ASKED_MS;
  }

  /** Counts an incoming record; true when it was requested. */
  takeAsked(now: number): boolean {
    if (!this.wasAsked(now)) return false;
    this.askedFor--;
    this.askedUntilMs = now + ASKED_MS;
    return true;
  }

  /** Called when the exchange is given up. */
  forgetAsked(): void {
    this.askedFor = 0;
  }

  /** Whether records wait to be sent to the peer. */
  get hasPending(): boolean {
    return this.outbox.size > 0 || this.suppressed.size > 0;
  }

  /** Called when the peer is known to have this version of a record, or a newer one. */
  knows(record: MeshRecord): void {
    this.outbox.cancel(record);
    this.suppressed.cancel(record);
  }

  private wasAsked(now: number): boolean {
    return this.askedFor > 0 && now <= this.askedUntilMs;
  }
}
