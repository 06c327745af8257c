// A network with an authority, and members of it, for specs.

import { generateKeyPairSync } from 'node:crypto';
import { Authority, type IssueRequest } from '../../lib/identity/authority.js';
import { createIdentity, type OwnIdentity } from '../../lib/identity/identity.js';
import { MemberBook } from '../../lib/identity/member-book.js';
import { encodeCertificateStatement } from '../../lib/wire/statements.js';

/** Returns an authority without a file. */
export function newAuthority(): Authority {
  return new Authority(generateKeyPairSync('ed25519').privateKey);
}

export interface TestMember {
  readonly identity: OwnIdentity;
  /** In DER. */
  readonly certificate: Buffer;
  readonly statement: Buffer;
}

/** Returns a member with a key of its own, or the given one. */
export function newMember(
  authority: Authority,
  request: Partial<IssueRequest> = {},
  nowMs = Date.now(),
  identity = createIdentity(),
): TestMember {
  const certificate = authority.issue({ name: 'member', publicKey: identity.publicKey, ...request }, nowMs);
  return { identity, certificate, statement: encodeCertificateStatement(certificate) };
}

/** Returns the book of a node that trusts this authority. */
export function newBook(
  authority: Authority,
  { now = Date.now, acceptsSecret = false, statements = [] as Buffer[], maxMembers = 1_000 } = {},
): MemberBook {
  return new MemberBook({ authorities: [authority.publicKey], statements, acceptsSecret, now, maxMembers });
}
