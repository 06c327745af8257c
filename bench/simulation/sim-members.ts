// The authority of a simulated network, and the certificates of its nodes. Keys and certificates are real; nodes share what they have read.

import { Authority } from '../../lib/identity/authority.js';
import { MemberBook } from '../../lib/identity/member-book.js';
import { DEFAULT_LIMITS } from '../../lib/options/options.js';
import { encodeCertificateStatement, StatementKind } from '../../lib/wire/statements.js';
import type { EventLoop } from './event-loop.js';
import type { Random } from './random.js';
import { type KeyPair, privateKeyOf } from './signatures.js';

const START_MS = Date.UTC(2030, 0, 1);
const DAY_MS = 86_400_000;
/** One node in so many may not relay, and one in so many may issue certificates. */
const LEAF_EVERY = 10;
const ISSUER_EVERY = 20;

export class SimMembers {
  private readonly authority: Authority;
  private readonly statements = new Map<KeyPair, Buffer>();

  constructor(
    private readonly loop: EventLoop,
    random: Random,
  ) {
    this.authority = new Authority(privateKeyOf(random.bytes(32)));
  }

  /** By the wall clock. */
  readonly now = (): number => START_MS + this.loop.now;

  /** Certifies a node. */
  add(keys: KeyPair, index: number): void {
    const rights = { relay: !this.isLeaf(index), offer: ['*'], issue: this.isIssuer(index) };
    const { publicKey } = keys;
    const certificate = this.authority.issue({ publicKey, name: `node ${index}`, rights }, this.now());
    this.statements.set(keys, encodeCertificateStatement(certificate));
  }

  isLeaf(index: number): boolean {
    return index % LEAF_EVERY === LEAF_EVERY - 1;
  }

  isIssuer(index: number): boolean {
    return index % ISSUER_EVERY === ISSUER_EVERY / 2;
  }

  /** The certificates of all nodes. */
  get all(): Iterable<Buffer> {
    return this.statements.values();
  }

  statementOf(keys: KeyPair): Buffer {
    return this.statements.get(keys) as Buffer;
  }

  /** The book of a node that starts. It has kept the revocations of its last life. */
  bookOf(keys: KeyPair, last: MemberBook | undefined): MemberBook {
    const kept = [...(last?.statements() ?? [])].map(({ bytes }) => bytes);
    return new MemberBook({
      authorities: [this.authority.publicKey],
      statements: [...kept.filter(([kind]) => kind !== StatementKind.CERTIFICATE), this.statementOf(keys)],
      acceptsSecret: false,
      now: this.now,
      maxMembers: DEFAULT_LIMITS.maxNodes,
    });
  }

  revoke({ publicKey }: KeyPair): Buffer {
    return this.authority.revoke(publicKey, this.now() + 40 * DAY_MS, this.now());
  }
}
