// The membership of one node: its certificate, which is kept valid, what it knows of other members, and, if it has the key of the authority,
// what an issuer does. It composes the parts of this folder, and keeps the folder of credentials up to date.

import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { NodeId } from '../../address.js';
import { parseLinkAddress } from '../../address.js';
import { optionError, type StarlaneError, starlaneError } from '../../errors.js';
import { type Authority, MAX_LIFETIME_MS, openAuthority } from '../../identity/authority.js';
import {
  authorityKeyOf,
  type Credentials,
  syncFolder,
  updateAuthorities,
  updateCertificate,
  updateStatements,
  writeSynced,
} from '../../identity/credentials.js';
import { type Identity, readPrivateFile } from '../../identity/identity.js';
import type { MemberBook, MemberChange } from '../../identity/member-book.js';
import { type Member, networkIdOf, readCertificate } from '../../identity/member-certificate.js';
import type { Socket } from '../../socket/socket.js';
import type { Timers } from '../../util/timers.js';
import { EnrolmentType } from '../../wire/enrolment.js';
import { decodeStatement, encodeCertificateStatement, StatementKind } from '../../wire/statements.js';
import { CODE_BYTES, encodeToken, hidden, MAX_TOKEN_ADDRESSES } from '../../wire/token.js';
import { askIssuer, type Reply } from './asking.js';
import { Invitations } from './invitations.js';
import { checkInvite, type InviteOptions } from './invite-options.js';
import { Issuer } from './issuer.js';
import { type MemberInfo, memberInfo, renewedBy } from './member-info.js';
import { codeKeysOf, signedRenew } from './proof.js';
import { Reception } from './reception.js';
import { errorOf } from './refusals.js';
import { inOrder, Renewal } from './renewal.js';

/** For a renewal: the way to the issuer and back. */
const RENEW_MS = 15_000;
/** Other members that a token and a new member are told of. */
const MAX_NEIGHBOURS = 3;
const DEFAULT_OVERLAP_MS = 30 * 86_400_000;
const MIN_OVERLAP_MS = 60_000;
const MAX_OVERLAP_MS = 397 * 86_400_000;
/** A swept folder of invitations stays small. */
const SWEEP_MS = 60 * 60_000;

export interface MembershipSetup {
  readonly identity: Identity;
  readonly credentials: Credentials;
  /** The file of the key of the authority, if this node has it. */
  readonly authorityFile: string | undefined;
  readonly book: MemberBook;
  readonly timers: Timers;
  /** Wall-clock time in ms. */
  now(): number;
  random(): number;
  dial(address: string, timeoutMs: number): Socket;
  isReachable(nodeId: NodeId): boolean;
  /** Where other nodes reach this one. */
  ownAddresses(): readonly string[];
  /** Where other nodes reach those that this one has links to. */
  neighbourAddresses(): Iterable<readonly string[]>;
  /** Called with the certificates of authorities that have become known, in DER. */
  onAuthorities(certificates: readonly Uint8Array[]): void;
  onWarning(error: Error): void;
}

/** A member of the network. */
export interface ListedMember extends MemberInfo {
  /** Whether there is a way to it now. */
  readonly reachable: boolean;
}

export interface ReplaceOptions {
  /** How long certificates of the old authority still hold, in ms, one minute to 397 days. Default 30 days. */
  overlapMs?: number | undefined;
}

export class Membership {
  readonly reception: Reception;
  private readonly renewal: Renewal;
  private readonly folder: string;
  private issuer: Issuer | undefined;
  private invitations: Invitations | undefined;
  /** The certificates of authorities that are known, in DER, the newest last. */
  private authorities: readonly Uint8Array[];
  /** The newest certificate of this node. */
  private own: Member;
  private sweepTimer: ReturnType<Timers['schedule']> | undefined;
  private forget: (() => void) | undefined;
  private isClosed = false;

  /** @throws ERR_STARLANE_AUTHORITY when the file of the authority cannot be used, or is that of another network */
  constructor(private readonly setup: MembershipSetup) {
    const { credentials, authorityFile, identity, timers, book } = setup;
    this.folder = credentials.folder;
    this.authorities = credentials.authorities;
    this.own = book.member(identity.nodeId) ?? credentials.member;
    if (authorityFile !== undefined) this.issuer = this.makeIssuer(authorityFile);
    this.reception = new Reception({
      nodeId: identity.nodeId,
      timers,
      now: setup.now,
      issuer: () => this.issuer,
      successions: () => this.statementsOf(StatementKind.SUCCESSION),
      ask: (issuer, frame, timeoutMs) => this.ask(issuer, frame, timeoutMs),
      onWarning: setup.onWarning,
    });
    this.renewal = new Renewal({
      timers,
      now: setup.now,
      random: setup.random,
      own: () => this.own,
      authorityEndsMs: () => this.successionOf(this.own.authority),
      renew: () => this.renew(),
      onWarning: setup.onWarning,
    });
  }

  start(): void {
    this.forget = this.setup.book.onChange((change) => this.onChange(change));
    // One may have ended while the node was off.
    const current = this.currentAuthorities();
    if (current.length < this.authorities.length) this.saveAuthorities(current);
    this.renewal.update();
    if (this.issuer !== undefined) this.sweepLater(0);
  }

  close(): void {
    this.isClosed = true;
    this.forget?.();
    this.renewal.close();
    this.reception.close();
    if (this.sweepTimer !== undefined) this.setup.timers.cancel(this.sweepTimer);
  }

  /** Whether requests to this node can succeed. */
  get isIssuer(): boolean {
    return this.issuer !== undefined;
  }

  // --- what users do ---

  list(): ListedMember[] {
    const { book, identity, isReachable } = this.setup;
    return [...book.all()].map((member) => ({
      ...memberInfo(member),
      reachable: member.nodeId === identity.nodeId || isReachable(member.nodeId),
    }));
  }

  /** @throws ERR_STARLANE_OPTION, ERR_STARLANE_AUTHORITY, ERR_STARLANE_ENROLMENT when there are too many invitations */
  async invite(options: InviteOptions): Promise<string> {
    const { identity, now } = this.setup;
    const { authority } = this.needIssuer();
    const { expiresInMs, addresses = this.tokenAddresses(), ...grant } = checkInvite(options);
    if (addresses.length === 0) {
      throw optionError(
        'addresses',
        'a joiner needs a member that listens at an address of tls: let this node listen, or name the address of another one',
      );
    }
    // Tags and rights may be too much for a certificate, which the joiner should not be the first to notice.
    authority.issue({ publicKey: identity.publicKey, ...grant }, now());
    const code = hidden(randomBytes(CODE_BYTES));
    const { id, key } = codeKeysOf(code);
    const nowMs = now();
    // A token counts in whole seconds.
    const expiresAtMs = Math.ceil((nowMs + expiresInMs) / 1_000) * 1_000;
    await (this.invitations as Invitations).add(id, { ...grant, key, expiresAtMs }, nowMs);
    const networkId = this.networkIdUntil(expiresAtMs);
    return encodeToken({ expiresAtMs, networkId, issuer: identity.nodeId, code, addresses });
  }

  /** @throws ERR_STARLANE_AUTHORITY; ERR_STARLANE_ARGUMENT when there is no such member, or more than one of that name */
  revoke(idOrName: string): MemberInfo {
    const { book, identity, now } = this.setup;
    const { authority } = this.needIssuer();
    const member = this.find(idOrName);
    if (member.nodeId === identity.nodeId) {
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'a node cannot revoke itself; let another issuer do it');
    }
    const nowMs = now();
    // Another issuer may not hear of it for a while, and renew the certificate, or redeem a token for the key. The revocation must not
    // be forgotten before what that issues has expired.
    const untilMs = Math.max(member.notAfterMs, nowMs + MAX_LIFETIME_MS);
    book.add(authority.revoke(member.publicKey, untilMs, nowMs));
    this.saveStatements();
    return memberInfo(member);
  }

  /**
   * Lets another authority take over. Returns when this is durable; members follow on their own.
   * @throws ERR_STARLANE_AUTHORITY, ERR_STARLANE_OPTION, ERR_STARLANE_CREDENTIALS
   */
  replaceAuthority(file: string, options: ReplaceOptions = {}): void {
    const { overlapMs = DEFAULT_OVERLAP_MS } = options;
    if (!(Number.isInteger(overlapMs) && overlapMs >= MIN_OVERLAP_MS && overlapMs <= MAX_OVERLAP_MS)) {
      throw optionError('overlapMs', `must be an integer from ${MIN_OVERLAP_MS} to ${MAX_OVERLAP_MS}`);
    }
    const { book, now } = this.setup;
    const issuer = this.needIssuer();
    const old = issuer.authority;
    const next = openAuthority(file);
    if (next.networkId === old.networkId) {
      throw starlaneError('ERR_STARLANE_AUTHORITY', `${file}: it is the authority of this network already`);
    }
    const nowMs = now();
    const succession = old.succeed(next, nowMs + overlapMs, nowMs);
    const revocations = this.revocationsBy(next, nowMs);
    const certificate = renewedBy(next, this.own, nowMs);
    // Each step leaves a folder that can be used, and the call can be repeated.
    this.authorities = [...this.authorities, next.certificate];
    updateAuthorities(this.folder, this.authorities);
    this.setup.onAuthorities([next.certificate]);
    updateStatements(this.folder, [...this.lasting(), succession, ...revocations]);
    installKey(file, this.setup.authorityFile as string);
    updateCertificate(this.folder, certificate);
    issuer.authority = next;
    for (const statement of [succession, ...revocations, encodeCertificateStatement(certificate)]) book.add(statement);
  }

  // --- the parts ---

  private makeIssuer(file: string): Issuer {
    const { identity, book, timers, now, onWarning } = this.setup;
    const authority = openAuthority(file);
    if (!book.authorities().some((known) => Buffer.compare(known, authority.publicKey) === 0)) {
      const own = this.authorities
        .map((certificate) => networkIdOf(authorityKeyOf(certificate, this.folder)))
        .join(', ');
      const reason = `it is of the network ${authority.networkId}, and this node is a member of ${own}`;
      throw starlaneError('ERR_STARLANE_AUTHORITY', `${file}: ${reason}`);
    }
    this.invitations = new Invitations(join(this.folder, 'invitations'));
    return new Issuer(
      {
        nodeId: identity.nodeId,
        book,
        invitations: this.invitations,
        now,
        monotonicNow: () => timers.now(),
        authorities: () => this.currentAuthorities(),
        seeds: () => this.tokenAddresses(),
        onIssued: (statement) => {
          book.add(statement);
        },
        onRefused: onWarning,
      },
      authority,
    );
  }

  private needIssuer(): Issuer {
    if (this.issuer !== undefined) return this.issuer;
    const reason = `this node does not have it: it needs ${join(this.folder, 'authority.key')}, or the option authority`;
    throw starlaneError('ERR_STARLANE_AUTHORITY', reason);
  }

  private find(idOrName: string): Member {
    const { book } = this.setup;
    const byId = book.member(idOrName);
    if (byId !== undefined) return byId;
    const named = [...book.all()].filter(({ name }) => name === idOrName);
    if (named.length === 1) return named[0];
    const shown = JSON.stringify(String(idOrName).slice(0, 80));
    if (named.length === 0) throw starlaneError('ERR_STARLANE_ARGUMENT', `no member has the id or name ${shown}`);
    const ids = named.map(({ nodeId }) => nodeId).join(', ');
    throw starlaneError(
      'ERR_STARLANE_ARGUMENT',
      `${named.length} members are called ${shown}, so name one by its id: ${ids}`,
    );
  }

  private tokenAddresses(): string[] {
    const { ownAddresses, neighbourAddresses } = this.setup;
    const own = ownAddresses().filter(isTls);
    const others: string[] = [];
    for (const addresses of neighbourAddresses()) {
      if (others.length === MAX_NEIGHBOURS) break;
      const address = addresses.find((one) => isTls(one) && !isLoopback(one));
      if (address !== undefined) others.push(address);
    }
    const all = [...new Set([...own.filter((one) => !isLoopback(one)), ...others])];
    // On one machine, or where nothing else is known.
    if (all.length === 0) {
      all.push(...own);
      for (const addresses of neighbourAddresses()) all.push(...addresses.filter(isTls));
    }
    return [...new Set(all)].slice(0, MAX_TOKEN_ADDRESSES);
  }

  /** Returns the network that a token names: the oldest authority that holds until it expires, as all members know that one. */
  private networkIdUntil(expiresAtMs: number): string {
    const authority = this.setup.book
      .authorities()
      .find((publicKey) => (this.successionOf(publicKey) ?? Number.POSITIVE_INFINITY) > expiresAtMs);
    return networkIdOf(authority ?? this.needIssuer().authority.publicKey);
  }

  // --- renewal ---

  /** @throws when there is no newer certificate */
  private async renew(): Promise<void> {
    const { book, identity, random, now } = this.setup;
    const { issuer } = this;
    if (issuer !== undefined) {
      if (book.isRevoked(identity.publicKey)) throw starlaneError('ERR_STARLANE_REVOKED', identity.nodeId);
      this.adopt(renewedBy(issuer.authority, this.own, now()));
      return;
    }
    const issuers = [...book.all()].filter(({ nodeId, rights }) => rights.issue && nodeId !== identity.nodeId);
    const reachable = issuers.filter(({ nodeId }) => this.setup.isReachable(nodeId));
    const newest = book.authorities().at(-1) ?? this.own.authority;
    let failure: Error | undefined;
    for (const nodeId of inOrder(reachable, newest, random)) {
      try {
        await this.renewAt(nodeId);
        return;
      } catch (error) {
        if (this.isClosed) return;
        failure = starlaneError('ERR_STARLANE_ENROLMENT', `the issuer ${nodeId}: ${(error as Error).message}`, error);
      }
    }
    const what = issuers.length === 0 ? 'no member that may issue is known' : 'no issuer can be reached';
    throw failure ?? starlaneError('ERR_STARLANE_ENROLMENT', what);
  }

  private async renewAt(issuer: NodeId): Promise<void> {
    const { identity, now, book } = this.setup;
    const content = { issuer, timeMs: Math.round(now()), certificate: this.own.der };
    const { message } = await this.ask(issuer, signedRenew(content, identity), RENEW_MS);
    if (message.type === EnrolmentType.REFUSED) throw errorOf(message.code, message.reason);
    // They say who is an authority, before the certificate needs it.
    for (const statement of message.statements) book.add(statement);
    this.learnAuthorities(message.authorities);
    if (Buffer.compare(message.certificate, this.own.der) === 0) {
      throw starlaneError('ERR_STARLANE_ENROLMENT', 'it has no newer certificate for this node');
    }
    this.adopt(message.certificate);
  }

  private ask(issuer: NodeId, frame: Uint8Array, timeoutMs: number): Promise<Reply> {
    const { dial, timers } = this.setup;
    return askIssuer(dial, timers, issuer, frame, timeoutMs);
  }

  /** Makes a certificate that of this node. @throws ERR_STARLANE_CERTIFICATE, ERR_STARLANE_CREDENTIALS */
  private adopt(certificate: Uint8Array): void {
    const { book, identity } = this.setup;
    const member = readCertificate(certificate, book.authorities());
    if (Buffer.compare(member.publicKey, identity.publicKey) !== 0) {
      throw starlaneError('ERR_STARLANE_CERTIFICATE', 'the certificate is for another key');
    }
    book.add(encodeCertificateStatement(certificate));
    // Unless a listener has done so already.
    this.takeOwn(book.member(identity.nodeId) ?? member);
  }

  private takeOwn(member: Member): void {
    if (member.notBeforeMs < this.own.notBeforeMs || Buffer.compare(member.der, this.own.der) === 0) return;
    // The folder must have the authority first, or it would not be one that can be read.
    const isKnown = this.authorities.some(
      (certificate) => Buffer.compare(authorityKeyOf(certificate, this.folder), member.authority) === 0,
    );
    if (!isKnown) return;
    this.own = member;
    this.save(() => updateCertificate(this.folder, member.der));
    this.renewal.update();
  }

  // --- the folder ---

  private onChange(change: MemberChange): void {
    switch (change.type) {
      case 'member':
        // Another issuer may have changed its name or rights.
        if (change.member.nodeId === this.setup.identity.nodeId) this.takeOwn(change.member);
        return;
      case 'revoked':
        this.saveStatements();
        return;
      case 'authority':
        // In this order: without the succession that ends it, an authority in the folder would hold for good.
        this.saveAuthorities(this.currentAuthorities());
        this.saveStatements();
        this.renewal.update();
        return;
      default:
    }
  }

  /** Takes over what an issuer says, as far as statements have shown these authorities to hold: the folder is trusted after a restart. */
  private learnAuthorities(certificates: readonly Uint8Array[]): void {
    const known = new Set(this.authorities.map((certificate) => Buffer.from(certificate).toString('base64')));
    const keys = this.setup.book.authorities();
    const holds = (certificate: Uint8Array): boolean => {
      const shown = authorityKeyOf(certificate, 'the issuer');
      return keys.some((key) => Buffer.compare(key, shown) === 0);
    };
    const fresh = certificates.filter(
      (certificate) => !known.has(Buffer.from(certificate).toString('base64')) && holds(certificate),
    );
    if (fresh.length === 0) return;
    this.saveAuthorities([...this.authorities, ...fresh]);
    this.setup.onAuthorities(fresh);
  }

  /** Keeps those that hold, in the order in which they took over. */
  private saveAuthorities(certificates: readonly Uint8Array[]): void {
    this.authorities = certificates;
    this.save(() => updateAuthorities(this.folder, certificates));
  }

  private currentAuthorities(): readonly Uint8Array[] {
    const keys = this.setup.book.authorities();
    const current = this.authorities.filter((certificate) => {
      const own = authorityKeyOf(certificate, this.folder);
      return keys.some((key) => Buffer.compare(key, own) === 0);
    });
    return current.length > 0 ? current : this.authorities;
  }

  private saveStatements(): void {
    this.save(() => updateStatements(this.folder, this.lasting()));
  }

  /** A folder that cannot be written, as a mounted secret, costs only time after a restart. */
  private save(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.setup.onWarning(error as StarlaneError);
    }
  }

  /** What a member has to know after a restart, before its first link. */
  private lasting(): Buffer[] {
    return [...this.statementsOf(StatementKind.SUCCESSION), ...this.statementsOf(StatementKind.REVOCATION)];
  }

  private statementsOf(kind: number): Buffer[] {
    const all: Buffer[] = [];
    for (const { bytes } of this.setup.book.statements()) if (bytes[0] === kind) all.push(bytes);
    return all;
  }

  /** Returns when an authority ends, if another one takes over. */
  private successionOf(authority: Uint8Array): number | undefined {
    for (const bytes of this.statementsOf(StatementKind.SUCCESSION)) {
      const statement = decodeStatement(bytes);
      if (statement?.kind !== StatementKind.SUCCESSION) continue;
      if (Buffer.compare(statement.authority, authority) === 0) return statement.untilS * 1_000;
    }
    return undefined;
  }

  /** Returns the revocations that are known, signed by another authority. They last a second longer, so that they replace the old ones. */
  private revocationsBy(authority: Authority, nowMs: number): Buffer[] {
    return this.statementsOf(StatementKind.REVOCATION).flatMap((bytes) => {
      const statement = decodeStatement(bytes);
      if (statement?.kind !== StatementKind.REVOCATION) return [];
      return [authority.revoke(statement.publicKey, (statement.untilS + 1) * 1_000, nowMs)];
    });
  }

  private sweepLater(delayMs: number): void {
    this.sweepTimer = this.setup.timers.schedule(delayMs, {
      onDeadline: () => {
        this.sweep().finally(() => {
          if (!this.isClosed) this.sweepLater(SWEEP_MS);
        });
      },
    });
  }

  private async sweep(): Promise<void> {
    try {
      await this.invitations?.sweep(this.setup.now());
    } catch (error) {
      this.setup.onWarning(error as Error);
    }
  }
}

/** Puts a new key in the place of the old one, which stays beside it as `.old`. */
function installKey(from: string, to: string): void {
  const fresh = `${to}.new`;
  writeSynced(fresh, readPrivateFile(from));
  writeSynced(`${to}.old`, readPrivateFile(to));
  renameSync(fresh, to);
  syncFolder(dirname(to));
}

function isTls(address: string): boolean {
  const { scheme, host } = parseLinkAddress(address, 'tls');
  return scheme === 'tls' && host !== undefined;
}

function isLoopback(address: string): boolean {
  const { host = '' } = parseLinkAddress(address, 'tls');
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
