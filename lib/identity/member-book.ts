// Who is a member of the network, as one node knows it: the authorities it trusts, the newest certificate of each key, and the keys that
// were revoked. It decides nothing about links, records or circuits; those ask it, and follow its changes. Pure: the time is an argument.
//
// Statements come from anywhere and are checked by their signatures alone. The newest certificate of a key decides its rights, so
// that nothing is gained by showing an older one. A revocation counts for the key, whatever certificates it has.

import { createHash } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';
import { Pattern } from '../util/pattern.js';
import { RecentMap } from '../util/recent-map.js';
import { guard } from '../util/runtime/throw-later.js';
import { decodeStatement, encodeCertificateStatement, StatementKind } from '../wire/statements.js';
import { CLOCK_TOLERANCE_MS } from './authority.js';
import {
  ALL_RIGHTS,
  type Member,
  type MemberRights,
  readCertificate,
  UnknownAuthorityError,
} from './member-certificate.js';
import { verifySignature } from './signatures.js';

/** A statement as it is passed on. */
export interface SpreadStatement {
  readonly bytes: Buffer;
  /** The first 8 bytes of its SHA-256, as 16 hex digits. */
  readonly hash: string;
}

/** What became of a statement. */
export type StatementFate =
  /** It changed what the book holds: pass it on. */
  | 'new'
  | 'known'
  /** It holds no longer, or there is no room: nothing to blame the sender for. */
  | 'ignored';

export type MemberChange =
  /** A new member, or a newer certificate of one. */
  | { readonly type: 'member'; readonly member: Member; readonly previous: Member | undefined }
  | { readonly type: 'revoked'; readonly nodeId: NodeId; readonly publicKey: Uint8Array }
  /** The certificate of a member has expired, or its authority holds no more. */
  | { readonly type: 'expired'; readonly nodeId: NodeId; readonly publicKey: Uint8Array }
  /** There is a new authority, or an old one holds no more. */
  | { readonly type: 'authority' };

interface BookSetup {
  /** Raw keys of the authorities that hold. */
  readonly authorities: readonly Uint8Array[];
  /** Statements that are known from earlier: the certificate of this node, revocations, and successions. */
  readonly statements: readonly Uint8Array[];
  /** Whether nodes without a certificate are members if they prove the secret. */
  readonly acceptsSecret: boolean;
  /** Wall-clock time in ms. */
  now(): number;
  readonly maxMembers: number;
}

interface KnownMember {
  readonly member: Member;
  readonly statement: SpreadStatement;
  readonly offers: readonly Pattern[];
}

interface KnownRevocation {
  readonly statement: SpreadStatement;
  readonly publicKey: Uint8Array;
  /** As the statement says. */
  readonly statedMs: number;
  /** Later, if a certificate of the key lasts longer. */
  untilMs: number;
}

interface KnownAuthority {
  readonly publicKey: Uint8Array;
  /** Infinity, unless another one has succeeded it. */
  untilMs: number;
  /** The statement that ends it. */
  succession: SpreadStatement | undefined;
}

/** More than a network can need: only an authority can add to them. */
const MAX_REVOCATIONS = 65_536;
/** Those that overlap. One more would have to wait. */
const MAX_AUTHORITIES = 4;
/** Statements whose signatures did not hold, so that the same bytes are not checked again and again. */
const MAX_FORGED = 1_024;
/** After this a revocation is forgotten: certificates hold for clocks that are a little behind. */
const KEPT_LONGER_MS = CLOCK_TOLERANCE_MS;

/** Nodes of one process share what they know of a certificate, as they share the certificate. */
const shared = new WeakMap<Member, KnownMember>();

export class MemberBook {
  readonly acceptsSecret: boolean;
  private readonly trusted: KnownAuthority[];
  private readonly members = new Map<NodeId, KnownMember>();
  /** By key in base64. */
  private readonly revocations = new Map<string, KnownRevocation>();
  private readonly revokedIds = new Map<NodeId, string>();
  /** Where an older certificate lasts longer than the newest one: what began before `notBeforeMs` does not count, until it has expired. */
  private readonly floors = new Map<NodeId, { readonly notBeforeMs: number; readonly untilMs: number }>();
  private readonly hashes = new Set<string>();
  private readonly forged = new RecentMap<string, true>(MAX_FORGED);
  private readonly listeners = new Set<(change: MemberChange) => void>();
  private readonly spreaders = new Set<(statement: SpreadStatement) => void>();
  /** Wall-clock time in ms. */
  readonly now: () => number;
  private readonly maxMembers: number;
  /** The XOR of all hashes: equal books have equal roots. */
  private root: [high: number, low: number] = [0, 0];

  constructor({ authorities, statements, acceptsSecret, now, maxMembers }: BookSetup) {
    this.acceptsSecret = acceptsSecret;
    this.now = now;
    this.maxMembers = maxMembers;
    this.trusted = authorities.map((publicKey) => ({
      publicKey,
      untilMs: Number.POSITIVE_INFINITY,
      succession: undefined,
    }));
    for (const statement of statements) {
      try {
        this.add(statement);
      } catch {
        // What was kept from an earlier time may hold no longer.
      }
    }
  }

  // --- members ---

  /** Returns a member whose certificate is valid now. */
  member(nodeId: NodeId): Member | undefined {
    const known = this.members.get(nodeId);
    return known !== undefined && this.isValid(known.member) ? known.member : undefined;
  }

  /** Returns the hash of the statement with the newest certificate of a node. */
  certificateHash(nodeId: NodeId): string | undefined {
    return this.members.get(nodeId)?.statement.hash;
  }

  *all(): IterableIterator<Member> {
    for (const { member } of this.members.values()) if (this.isValid(member)) yield member;
  }

  get size(): number {
    return this.members.size;
  }

  get revokedCount(): number {
    return this.revocations.size;
  }

  /** Returns the rights of a node; undefined when it is no member. */
  rightsOf(nodeId: NodeId): MemberRights | undefined {
    const known = this.members.get(nodeId);
    if (known !== undefined && this.isValid(known.member)) return known.member.rights;
    return known === undefined && this.acceptsSecret && !this.revokedIds.has(nodeId) ? ALL_RIGHTS : undefined;
  }

  isMember(nodeId: NodeId): boolean {
    return this.rightsOf(nodeId) !== undefined;
  }

  mayRelay(nodeId: NodeId): boolean {
    return this.rightsOf(nodeId)?.relay === true;
  }

  mayOffer(nodeId: NodeId, service: string): boolean {
    const known = this.members.get(nodeId);
    if (known !== undefined && this.isValid(known.member)) return known.offers.some((pattern) => pattern.fits(service));
    return this.isMember(nodeId);
  }

  isRevoked(publicKey: Uint8Array): boolean {
    return this.revocations.has(keyOf(publicKey));
  }

  /** Returns why the node with this key is no member now; undefined when it is one. */
  fault(publicKey: Uint8Array): StarlaneError | undefined {
    const nodeId = nodeIdFromPublicKey(publicKey);
    if (this.isRevoked(publicKey)) return starlaneError('ERR_STARLANE_REVOKED', nodeId);
    const known = this.members.get(nodeId)?.member;
    if (known === undefined || Buffer.compare(known.publicKey, publicKey) !== 0) {
      return this.acceptsSecret && known === undefined ? undefined : starlaneError('ERR_STARLANE_CERTIFICATE', nodeId);
    }
    if (this.isValid(known)) return undefined;
    const now = this.now();
    if (known.notAfterMs <= now) return expired(known);
    if (known.notBeforeMs > now) return notYet(known);
    const reason = `that of ${nodeId} (${known.name}) is of an authority that holds no more`;
    return starlaneError('ERR_STARLANE_CERTIFICATE', reason);
  }

  /** As {@link fault}, for a node of which only the id is known. */
  faultOf(nodeId: NodeId): StarlaneError | undefined {
    if (this.isMember(nodeId)) return undefined;
    const known = this.members.get(nodeId)?.member;
    if (known !== undefined) return this.fault(known.publicKey);
    return starlaneError(this.revokedIds.has(nodeId) ? 'ERR_STARLANE_REVOKED' : 'ERR_STARLANE_CERTIFICATE', nodeId);
  }

  /** Reads a certificate that a peer shows, and adds it. @throws ERR_STARLANE_CERTIFICATE, _CERTIFICATE_EXPIRED, _CLOCK, _REVOKED when it makes no member */
  admit(certificate: Uint8Array): Member {
    const shown = readCertificate(certificate, this.authorities());
    this.add(encodeCertificateStatement(certificate));
    const now = this.now();
    if (shown.notAfterMs <= now && this.member(shown.nodeId) === undefined) throw expired(shown);
    if (shown.notBeforeMs > now && this.member(shown.nodeId) === undefined) throw notYet(shown);
    const member = this.member(shown.nodeId);
    if (member !== undefined && Buffer.compare(member.publicKey, shown.publicKey) === 0) return member;
    if (this.isRevoked(shown.publicKey)) throw starlaneError('ERR_STARLANE_REVOKED', shown.nodeId);
    const isFull = member === undefined && this.members.size >= this.maxMembers;
    const reason = isFull
      ? `there are ${this.maxMembers} members (maxNodes)`
      : `another key has the id ${shown.nodeId}`;
    throw starlaneError('ERR_STARLANE_CERTIFICATE', reason);
  }

  // --- authorities ---

  /** Returns the raw keys of the authorities that hold now, the newest last. */
  authorities(): Uint8Array[] {
    const now = this.now();
    return this.trusted.filter(({ untilMs }) => untilMs > now).map(({ publicKey }) => publicKey);
  }

  // --- statements ---

  /** Returns what other members need to know. */
  *statements(): IterableIterator<SpreadStatement> {
    for (const { succession } of this.trusted) if (succession !== undefined) yield succession;
    for (const { statement } of this.revocations.values()) yield statement;
    for (const { statement } of this.members.values()) yield statement;
  }

  /** Returns a summary of all statements. */
  digest(): { rootHigh: number; rootLow: number; count: number } {
    return { rootHigh: this.root[0] >>> 0, rootLow: this.root[1] >>> 0, count: this.hashes.size };
  }

  has(hash: string): boolean {
    return this.hashes.has(hash);
  }

  /**
   * Takes a statement in.
   * @throws ERR_STARLANE_CERTIFICATE when it is malformed, or a signature does not hold
   */
  add(bytes: Uint8Array): StatementFate {
    const hash = hashOf(bytes);
    if (this.hashes.has(hash)) return 'known';
    if (this.forged.has(hash)) throw forged();
    const spread = { bytes: Buffer.from(bytes), hash };
    try {
      return this.take(spread);
    } catch (error) {
      this.forged.set(hash, true);
      throw error;
    }
  }

  /** Forgets what has expired, and reports it. */
  sweep(): void {
    const now = this.now();
    for (const [nodeId, { member, statement }] of this.members) {
      if (!this.hasEnded(member, now)) continue;
      this.members.delete(nodeId);
      this.toggle(statement.hash, false);
      if (!this.isRevoked(member.publicKey)) this.report({ type: 'expired', nodeId, publicKey: member.publicKey });
    }
    for (const [nodeId, { untilMs }] of this.floors) if (untilMs <= now) this.floors.delete(nodeId);
    for (const [key, { untilMs, statement, publicKey }] of this.revocations) {
      if (untilMs > now) continue;
      this.revocations.delete(key);
      this.revokedIds.delete(nodeIdFromPublicKey(publicKey));
      this.toggle(statement.hash, false);
    }
    const ended = this.trusted.filter(({ untilMs }) => untilMs <= now);
    for (const authority of ended) {
      this.trusted.splice(this.trusted.indexOf(authority), 1);
      if (authority.succession !== undefined) this.toggle(authority.succession.hash, false);
    }
    if (ended.length > 0) this.report({ type: 'authority' });
  }

  /** When {@link sweep} next has something to do, in ms of wall-clock time; Infinity: never. */
  get nextChangeMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { member } of this.members.values()) next = Math.min(next, member.notAfterMs);
    for (const { untilMs } of this.revocations.values()) next = Math.min(next, untilMs);
    for (const { untilMs } of this.trusted) next = Math.min(next, untilMs);
    return next;
  }

  /** Calls back with every change, in the order in which listeners were added. Returns a function that ends it. */
  onChange(listener: (change: MemberChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Calls back with every statement that the book begins to hold, ahead of the change that it makes: a link that ends for it can still pass
   * it on. Returns a function that ends it.
   */
  onStatement(listener: (statement: SpreadStatement) => void): () => void {
    this.spreaders.add(listener);
    return () => this.spreaders.delete(listener);
  }

  private take(spread: SpreadStatement): StatementFate {
    let statement: ReturnType<typeof decodeStatement>;
    try {
      statement = decodeStatement(spread.bytes);
    } catch (error) {
      throw starlaneError('ERR_STARLANE_CERTIFICATE', (error as Error).message, error);
    }
    switch (statement?.kind) {
      case StatementKind.CERTIFICATE:
        return this.takeCertificate(statement.certificate, spread);
      case StatementKind.REVOCATION: {
        const { authority, publicKey, signed, signature, untilS } = statement;
        return this.takeRevocation(authority, publicKey, signed, signature, untilS * 1000, spread);
      }
      case StatementKind.SUCCESSION: {
        const { authority, next, signed, signature, nextSignature, untilS } = statement;
        if (!verifySignature(authority, signed, signature) || !verifySignature(next, signed, nextSignature))
          throw forged();
        return this.takeSuccession(authority, next, untilS * 1000, spread);
      }
      default:
        // Of a later version.
        return 'ignored';
    }
  }

  private takeCertificate(der: Buffer, spread: SpreadStatement): StatementFate {
    const now = this.now();
    let member: Member;
    try {
      member = readCertificate(der, this.authorities());
    } catch (error) {
      // The sender may know of a successor that this node has not heard of yet.
      if (error instanceof UnknownAuthorityError) return 'ignored';
      throw error;
    }
    const { nodeId, publicKey } = member;
    if (member.notAfterMs <= now || member.notBeforeMs > now) return 'ignored';
    const current = this.members.get(nodeId);
    if (member.notBeforeMs < (this.floors.get(nodeId)?.notBeforeMs ?? 0)) return 'ignored';
    if (current !== undefined && !isNewer(member, current.member)) {
      this.raiseFloor(current.member, member);
      return 'ignored';
    }
    if (current !== undefined && Buffer.compare(current.member.publicKey, publicKey) !== 0) return 'ignored';
    const revocation = this.revocations.get(keyOf(publicKey));
    if (revocation !== undefined) {
      // It was issued by somebody who did not know: the revocation must outlive it.
      revocation.untilMs = Math.max(revocation.untilMs, member.notAfterMs + KEPT_LONGER_MS);
      return 'ignored';
    }
    if (current === undefined && this.members.size >= this.maxMembers) return 'ignored';
    if (current !== undefined) {
      this.toggle(current.statement.hash, false);
      this.raiseFloor(member, current.member);
    }
    const known = knownOf(member, spread);
    this.members.set(nodeId, known);
    this.hold(known.statement);
    this.report({ type: 'member', member, previous: current?.member });
    return 'new';
  }

  /** Keeps an older certificate that lasts longer than the newer one from counting again when that has expired. */
  private raiseFloor(newer: Member, older: Member): void {
    if (older.notAfterMs <= newer.notAfterMs || Buffer.compare(older.publicKey, newer.publicKey) !== 0) return;
    const untilMs = Math.max(older.notAfterMs, this.floors.get(newer.nodeId)?.untilMs ?? 0);
    this.floors.set(newer.nodeId, { notBeforeMs: newer.notBeforeMs, untilMs });
  }

  private takeRevocation(
    authority: Uint8Array,
    publicKey: Uint8Array,
    signed: Uint8Array,
    signature: Uint8Array,
    untilMs: number,
    spread: SpreadStatement,
  ): StatementFate {
    const now = this.now();
    if (!verifySignature(authority, signed, signature)) throw forged();
    if (!this.isTrusted(authority)) return 'ignored';
    // When it was made does not matter: a node whose clock is behind must not let a revoked member in.
    if (untilMs + KEPT_LONGER_MS <= now) return 'ignored';
    const key = keyOf(publicKey);
    const current = this.revocations.get(key);
    if (current !== undefined) {
      // Two issuers may revoke the same key. All nodes keep the one that lasts longer, or that with the greater hash.
      const order = untilMs - current.statedMs;
      if (order < 0 || (order === 0 && spread.hash <= current.statement.hash)) return 'ignored';
      this.toggle(current.statement.hash, false);
    } else if (this.revocations.size >= MAX_REVOCATIONS) return 'ignored';
    const nodeId = nodeIdFromPublicKey(publicKey);
    const member = this.members.get(nodeId);
    const isOf = member !== undefined && Buffer.compare(member.member.publicKey, publicKey) === 0;
    if (isOf) {
      this.members.delete(nodeId);
      this.toggle(member.statement.hash, false);
    }
    const end = Math.max(untilMs, isOf ? member.member.notAfterMs : 0) + KEPT_LONGER_MS;
    this.revocations.set(key, {
      statement: spread,
      publicKey,
      statedMs: untilMs,
      untilMs: Math.max(end, current?.untilMs ?? 0),
    });
    this.revokedIds.set(nodeId, key);
    this.hold(spread);
    if (current === undefined) this.report({ type: 'revoked', nodeId, publicKey });
    return 'new';
  }

  private takeSuccession(
    authority: Uint8Array,
    next: Uint8Array,
    untilMs: number,
    spread: SpreadStatement,
  ): StatementFate {
    const now = this.now();
    const old = this.trusted.find(({ publicKey }) => Buffer.compare(publicKey, authority) === 0);
    if (old === undefined) return 'ignored';
    if (old.untilMs <= now) return 'ignored';
    if (untilMs <= now) {
      // This node was off when the old one ended.
      if (old.succession === undefined && this.isTrusted(next)) {
        old.untilMs = untilMs;
        this.report({ type: 'authority' });
      }
      return 'ignored';
    }
    if (old.succession !== undefined && spread.hash <= old.succession.hash) return 'ignored';
    if (Buffer.compare(authority, next) === 0) return 'ignored';
    if (!this.isTrusted(next) && this.trusted.length >= MAX_AUTHORITIES) return 'ignored';
    if (old.succession !== undefined) this.toggle(old.succession.hash, false);
    old.succession = spread;
    old.untilMs = untilMs;
    this.hold(spread);
    if (!this.isTrusted(next)) {
      this.trusted.push({ publicKey: next, untilMs: Number.POSITIVE_INFINITY, succession: undefined });
    }
    this.forged.clear();
    this.report({ type: 'authority' });
    return 'new';
  }

  private isTrusted(authority: Uint8Array): boolean {
    return this.trusted.some(({ publicKey }) => Buffer.compare(publicKey, authority) === 0);
  }

  private isValid(member: Member): boolean {
    return this.isCurrent(member, this.now());
  }

  /** Unlike {@link isCurrent}, not for a certificate that a clock which was set back shows as one of the future. */
  private hasEnded(member: Member, now: number): boolean {
    return !this.isCurrent(member, Math.max(now, member.notBeforeMs));
  }

  private isCurrent({ notBeforeMs, notAfterMs, authority }: Member, now: number): boolean {
    if (notAfterMs <= now || notBeforeMs > now) return false;
    return this.trusted.some(({ publicKey, untilMs }) => untilMs > now && Buffer.compare(publicKey, authority) === 0);
  }

  private hold(statement: SpreadStatement): void {
    this.toggle(statement.hash, true);
    for (const listener of [...this.spreaders]) listener(statement);
  }

  private toggle(hash: string, isKept: boolean): void {
    if (isKept) this.hashes.add(hash);
    else this.hashes.delete(hash);
    this.root[0] ^= Number.parseInt(hash.slice(0, 8), 16);
    this.root[1] ^= Number.parseInt(hash.slice(8), 16);
  }

  private report(change: MemberChange): void {
    // A fault of this node must not look like one of the sender.
    for (const listener of [...this.listeners]) guard(() => listener(change));
  }
}

function knownOf(member: Member, statement: SpreadStatement): KnownMember {
  let known = shared.get(member);
  if (known === undefined) {
    known = { member, statement, offers: member.rights.offer.map((pattern) => new Pattern(pattern)) };
    shared.set(member, known);
  }
  return known;
}

/** Returns whether a certificate replaces another of the same node: in one second, chance decides, in the same way everywhere. */
function isNewer(one: Member, other: Member): boolean {
  if (one.notBeforeMs !== other.notBeforeMs) return one.notBeforeMs > other.notBeforeMs;
  if (one.notAfterMs !== other.notAfterMs) return one.notAfterMs > other.notAfterMs;
  return Buffer.compare(one.der, other.der) > 0;
}

function keyOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('base64');
}

export function hashOf(statement: Uint8Array): string {
  return createHash('sha256').update(statement).digest('hex').slice(0, 16);
}

function forged(): StarlaneError {
  return starlaneError('ERR_STARLANE_CERTIFICATE', 'a statement whose signature does not hold');
}

function expired({ nodeId, name, notAfterMs }: Member): StarlaneError {
  const end = new Date(notAfterMs).toISOString();
  return starlaneError('ERR_STARLANE_CERTIFICATE_EXPIRED', `that of ${nodeId} (${name}) ended at ${end}`);
}

function notYet({ nodeId, name, notBeforeMs }: Member): StarlaneError {
  const start = new Date(notBeforeMs).toISOString();
  const what = `the certificate of ${nodeId} (${name}) begins at ${start}, which is in the future here`;
  return starlaneError('ERR_STARLANE_CLOCK', what);
}
