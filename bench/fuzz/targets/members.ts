// What an authority says about members. A part of `certificates` is a certificate in DER, a part of `statements` is a statement for a book of
// members. Some of the mutated ones are signed again, or all would end at their signatures; not all, as that takes ten times as long.

import { StarlaneError } from '../../../lib/errors.js';
import { Authority } from '../../../lib/identity/authority.js';
import { hashOf, MemberBook } from '../../../lib/identity/member-book.js';
import { type Member, readCertificate } from '../../../lib/identity/member-certificate.js';
import {
  decodeStatement,
  encodeCertificateStatement,
  MAX_CERTIFICATE_BYTES,
  StatementKind,
} from '../../../lib/wire/statements.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';
import { fixedIdentity, fixedKey } from './fixed-identity.js';

const NOW_MS = Date.UTC(2030, 0, 1);
const DAY_MS = 86_400_000;
const SIGNATURE_BYTES = 64;
const SIGNED_OF = 10;
const COPIED_OF = 10;
const AUTHORITIES = [fixedKey(10), fixedKey(11), fixedKey(12)].map((key) => new Authority(key));
const [AUTHORITY, NEXT, FOREIGN] = AUTHORITIES;
const MEMBERS = [1, 2, 3].map(fixedIdentity);
const NAMES = ['db', 'größe', 'a name, with a comma', 'x'.repeat(64), '"quoted" \\ + = <>#;'];
const OFFERS = [[], ['*'], ['db*'], ['*a*b*', 'größe', 'a, b', '%']];

export const certificates: PureTarget = {
  name: 'certificates',
  share: 3,
  generate: (random) => [sample(random)],
  repair(parts, random) {
    parts.forEach((part, index) => {
      if (random.below(SIGNED_OF) === 0) parts[index] = signedAgain(part);
    });
  },
  run: (parts) => parts.map(wayOfCertificate),
};

export const statements: PureTarget = {
  name: 'statements',
  share: 3,
  generate: (random) => Array.from({ length: 1 + random.below(3) }, () => sampleStatement(random)),
  repair(parts, random) {
    parts.forEach((part, index) => {
      if (random.below(SIGNED_OF) === 0) parts[index] = statementAgain(part);
    });
  },
  run(parts) {
    const book = newBook();
    const outcomes = parts.map((part) => wayOfStatement(book, part));
    checkBook(book);
    // What others need to know makes another book the same.
    if (book.digest().rootLow % COPIED_OF !== 0) return outcomes;
    const copy = newBook();
    for (const { bytes } of book.statements()) must(copy.add(bytes) === 'new', 'a statement that is kept is refused');
    must(sameText(copy.digest(), book.digest()), 'the statements of a book do not make the same book');
    for (const { nodeId } of MEMBERS) {
      must(sameText(copy.rightsOf(nodeId), book.rightsOf(nodeId)), 'the same statements give other rights');
    }
    return outcomes;
  },
};

function wayOfCertificate(bytes: Buffer): Outcome {
  let member: Member;
  try {
    member = readCertificate(bytes, [AUTHORITY.publicKey]);
  } catch (error) {
    return refusal(error);
  }
  const { nodeId, name, tags, rights, der, notBeforeMs, notAfterMs } = member;
  must(bytes.length <= MAX_CERTIFICATE_BYTES, 'it is too long');
  must(der.equals(bytes), 'it keeps other bytes');
  must(/^[\w-]{11}$/.test(nodeId), `its node id is ${nodeId}`);
  must(notBeforeMs < notAfterMs, 'it ends before it begins');
  must(Buffer.byteLength(name) <= 64 && tags.length <= 16 && rights.offer.length <= 16, 'it says too much');
  for (const text of [name, ...tags, ...rights.offer]) must(!/\p{Cc}/u.test(text), 'it has control characters');
  return `${rights.relay} ${rights.issue} ${rights.offer.length} ${tags.length}`;
}

function wayOfStatement(book: MemberBook, bytes: Buffer): Outcome {
  const before = JSON.stringify(book.digest());
  try {
    const fate = book.add(bytes);
    const isChanged = JSON.stringify(book.digest()) !== before;
    must(isChanged === (fate === 'new'), `it is ${fate}, and the book ${isChanged ? 'has changed' : 'is the same'}`);
    must(fate === 'ignored' || book.has(hashOf(bytes)), `it is ${fate}, and is not kept`);
    return `${bytes[0]} ${fate}`;
  } catch (error) {
    must(JSON.stringify(book.digest()) === before, 'it is refused, and changes the book');
    return `${bytes[0]} ${refusal(error)}`;
  }
}

function checkBook(book: MemberBook): void {
  const kept = [...book.statements()];
  const { count, rootHigh, rootLow } = book.digest();
  must(kept.length === count, `${kept.length} statements of ${count} are kept`);
  let [high, low] = [0, 0];
  for (const { bytes, hash } of kept) {
    must(hash === hashOf(bytes), 'a statement has another hash');
    high ^= Number.parseInt(hash.slice(0, 8), 16);
    low ^= Number.parseInt(hash.slice(8), 16);
  }
  must(high >>> 0 === rootHigh && low >>> 0 === rootLow, 'the digest is not that of the statements');
  for (const { nodeId, publicKey } of book.all()) {
    must(!book.isRevoked(publicKey), 'a revoked key is a member');
    must(book.fault(publicKey) === undefined, `a member has a fault: ${nodeId}`);
  }
}

function refusal(error: unknown): Outcome {
  if (!(error instanceof StarlaneError)) throw error;
  must(error.code === 'ERR_STARLANE_CERTIFICATE', `it is refused with ${error.code}`);
  return wayOf(error);
}

function newBook(): MemberBook {
  const { publicKey } = AUTHORITY;
  return new MemberBook({
    authorities: [publicKey],
    statements: [],
    acceptsSecret: false,
    now: () => NOW_MS,
    maxMembers: 2,
  });
}

const SAMPLES = 200;
let samples: Buffer[] | undefined;

/** One of many certificates: each takes a signature. */
function sample(random: Random): Buffer {
  samples ??= Array.from({ length: SAMPLES }, () => randomCertificate(random));
  return random.pick(samples);
}

let statementSamples: Buffer[] | undefined;

function sampleStatement(random: Random): Buffer {
  statementSamples ??= Array.from({ length: SAMPLES }, () => randomStatement(random));
  return random.pick(statementSamples);
}

function randomCertificate(random: Random): Buffer {
  const rights = { relay: random.below(2) === 0, issue: random.below(2) === 0, offer: random.pick(OFFERS) };
  const tags = random.sample(['prod', 'eu-west', 'a b', 'größe'], random.below(4));
  const nowMs = NOW_MS + random.pick([-40 * DAY_MS, -DAY_MS, 0, 0, 0, DAY_MS]);
  const request = { publicKey: random.pick(MEMBERS).publicKey, name: random.pick(NAMES), tags, rights };
  return random.pick([AUTHORITY, AUTHORITY, AUTHORITY, NEXT, FOREIGN]).issue(request, nowMs);
}

function randomStatement(random: Random): Buffer {
  const authority = random.pick([AUTHORITY, AUTHORITY, NEXT, FOREIGN]);
  const [nowMs, untilMs] = [NOW_MS + random.pick([-DAY_MS, 0]), NOW_MS + random.pick([-1, 0, 1, 40]) * DAY_MS];
  switch (random.below(4)) {
    case 0:
      return authority.revoke(random.pick(MEMBERS).publicKey, Math.max(nowMs, untilMs), nowMs);
    case 1:
      // Each authority names one successor: more than one is a fault of its own.
      return authority === AUTHORITY ? succession(AUTHORITY, NEXT) : succession(NEXT, FOREIGN);
    default:
      return encodeCertificateStatement(sample(random));
  }
}

function succession(one: Authority, next: Authority): Buffer {
  return one.succeed(next, NOW_MS + 10 * DAY_MS, NOW_MS);
}

/** The same with the signatures of the keys that it names, if they are known. */
function statementAgain(statement: Buffer): Buffer {
  if (statement[0] === StatementKind.CERTIFICATE) {
    return Buffer.concat([statement.subarray(0, 1), signedAgain(statement.subarray(1))]);
  }
  let read: ReturnType<typeof decodeStatement>;
  try {
    read = decodeStatement(statement);
  } catch {
    return statement;
  }
  if (read === undefined || read.kind === StatementKind.CERTIFICATE) return statement;
  const { authority, signed } = read;
  const signer = AUTHORITIES.find(({ publicKey }) => Buffer.compare(publicKey, authority) === 0);
  if (signer === undefined) return statement;
  const body = statement.subarray(0, 1 + 2 * 32 + 8);
  if (read.kind === StatementKind.REVOCATION) return Buffer.concat([body, signer.sign(signed)]);
  const { next } = read;
  const other = AUTHORITIES.find(({ publicKey }) => Buffer.compare(publicKey, next) === 0) ?? signer;
  return Buffer.concat([body, signer.sign(signed), other.sign(signed)]);
}

/** The same certificate with a signature of the authority: SEQUENCE { what is signed, algorithm, BIT STRING }. */
function signedAgain(certificate: Buffer): Buffer {
  const outer = contentOf(certificate, 0);
  const inner = outer === undefined ? undefined : contentOf(certificate, outer.start);
  if (outer === undefined || inner === undefined || certificate.length < inner.end + SIGNATURE_BYTES)
    return certificate;
  const signed = certificate.subarray(outer.start, inner.end);
  return Buffer.concat([certificate.subarray(0, -SIGNATURE_BYTES), AUTHORITY.sign(signed)]);
}

/** Returns where the content of a value in DER begins and ends. */
function contentOf(der: Buffer, at: number): { start: number; end: number } | undefined {
  if (at + 2 > der.length) return undefined;
  const first = der[at + 1];
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 2 || at + 2 + lengthBytes > der.length) return undefined;
  const start = at + 2 + lengthBytes;
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  return start + length > der.length ? undefined : { start, end: start + length };
}

function sameText(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
