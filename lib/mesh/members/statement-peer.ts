// The state that the spread of statements keeps for one link. Plain state; each field names the file that changes it.

import type { SpreadStatement } from '../../identity/member-book.js';
import type { MembersDigest } from '../../wire/member-messages.js';
import { statementBytes } from '../../wire/member-messages.js';
import { StatementKind } from '../../wire/statements.js';
import type { MeshLink } from '../ports.js';

export class StatementPeer {
  /** False once the link is closed or about to be: everything from it is ignored. */
  isActive = true;
  /** It has shown that it knows its own certificate, the newest one here. */
  isInformed = false;

  /** Belongs to spread.ts. */
  readonly outbox = new StatementOutbox();

  /** Belongs to statement-intake.ts. */
  readonly inbox: Uint8Array[] = [];
  inboxBytes = 0;
  /** How many statements may come that this node lacks by the hashes of the peer. */
  askedFor = 0;
  /** States of its rate limits, see util/token-bucket.ts. */
  fullAtMs = 0;
  uselessFullAtMs = 0;

  /** Belongs to comparison.ts, as everything below. The last digest of the peer, and the last one sent to it. */
  theirs: MembersDigest | undefined;
  ours: MembersDigest | undefined;
  /** What the peer holds, until its last hash has arrived. */
  gathered: Set<string> | undefined;
  /** All that the peer lacked at link up has been sent, or is in the outbox. */
  isCompared = false;
  /** Neither are the books known to have been equal, nor has this node sent its hashes. */
  isNew = true;
  /** This node must send its hashes, and has not yet. */
  mustShow = false;
  /** When its hashes were sent; 0 when those of the peer have come since. */
  shownMs = 0;
  readonly upMs: number;
  /** Since when the books are known to differ; 0 when they are not. */
  differsMs = 0;
  /** Comparisons in a row that did not make the books equal, and when the next one may begin. */
  vain = 0;
  notBeforeMs = 0;

  constructor(
    readonly link: MeshLink,
    now: number,
  ) {
    this.upMs = now;
  }
}

/** Statements that wait to be sent to one peer, those first that are no certificates: others may depend on them. */
export class StatementOutbox {
  private readonly urgent = new Map<string, SpreadStatement>();
  private readonly certificates = new Map<string, SpreadStatement>();

  get size(): number {
    return this.urgent.size + this.certificates.size;
  }

  put(statement: SpreadStatement): void {
    const isCertificate = statement.bytes[0] === StatementKind.CERTIFICATE;
    (isCertificate ? this.certificates : this.urgent).set(statement.hash, statement);
  }

  /** Removes and returns statements of up to `maxBytes` in MEMBERS; at least one, unless there is none. */
  take(maxBytes: number, isWanted: (statement: SpreadStatement) => boolean): SpreadStatement[] {
    const taken: SpreadStatement[] = [];
    let bytes = 0;
    for (const box of [this.urgent, this.certificates]) {
      for (const [hash, statement] of box) {
        if (isWanted(statement)) {
          bytes += statementBytes(statement.bytes);
          if (bytes > maxBytes && taken.length > 0) return taken;
          taken.push(statement);
        }
        box.delete(hash);
      }
    }
    return taken;
  }

  clear(): void {
    this.urgent.clear();
    this.certificates.clear();
  }
}
