// What a node with the key of the authority does: decides on requests, and certifies. A request comes from a joiner itself or from a member
// that passes it on; it proves the same in both cases.

import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import type { Authority } from '../../identity/authority.js';
import type { MemberBook } from '../../identity/member-book.js';
import { type Member, nameFault, networkIdOf, readCertificate } from '../../identity/member-certificate.js';
import {
  EnrolmentType,
  type EnrolRequest,
  encodeCertified,
  encodeRefused,
  RefusalCode,
  type RenewRequest,
} from '../../wire/enrolment.js';
import { decodeStatement, encodeCertificateStatement, StatementKind } from '../../wire/statements.js';
import { TotalGuessLimit } from './guess-limit.js';
import type { Grant, Invitations } from './invitations.js';
import { lifetimeMsOf, renewedBy } from './member-info.js';
import { hasCode, isSignedBy } from './proof.js';
import { clockFault, EnrolmentRefusal, spanOf } from './refusals.js';

/**
 * Until this part of its life has passed, a certificate is not replaced: a member that has lost the answer gets the same one again, and
 * nobody fills the network with new ones.
 */
const FRESH_SHARE = 0.5;

export interface IssuerSetup {
  readonly nodeId: NodeId;
  readonly book: MemberBook;
  readonly invitations: Invitations;
  /** Wall-clock time in ms. */
  now(): number;
  /** The time in ms, monotonic. */
  monotonicNow(): number;
  /** The certificates of the authorities that hold, in DER, the newest last. */
  authorities(): readonly Uint8Array[];
  /** Where a new member finds the network. */
  seeds(): readonly string[];
  /** Called when a certificate was issued or refused: the statement to spread, or the reason. */
  onIssued(statement: Buffer): void;
  onRefused(error: Error): void;
}

/** The answer to a request. */
export interface Answer {
  readonly bytes: Buffer;
  /** Why the request is refused. */
  readonly refusal: number | undefined;
}

export class Issuer {
  private readonly guesses: TotalGuessLimit;

  constructor(
    private readonly setup: IssuerSetup,
    /** Replaced when another one takes over. */
    public authority: Authority,
  ) {
    this.guesses = new TotalGuessLimit(() => setup.monotonicNow());
  }

  /**
   * Answers a request. Does not throw.
   * @param from where it comes from: an address, or the node that passes it on
   */
  async answer(request: EnrolRequest | RenewRequest, from: string): Promise<Answer> {
    const { nodeId, book } = this.setup;
    try {
      if (request.issuer !== nodeId) {
        throw new EnrolmentRefusal(RefusalCode.MALFORMED, `the request is for the issuer ${request.issuer}`);
      }
      if (!book.authorities().some((authority) => Buffer.compare(authority, this.authority.publicKey) === 0)) {
        throw new EnrolmentRefusal(RefusalCode.AUTHORITY, `that of the issuer ${nodeId} was replaced by another one`);
      }
      const certificate = request.type === EnrolmentType.ENROL ? await this.enrol(request) : this.renew(request);
      this.setup.onIssued(encodeCertificateStatement(certificate));
      const bytes = encodeCertified({
        certificate,
        authorities: this.setup.authorities(),
        seeds: this.setup.seeds(),
        statements: [...book.statements()].map((statement) => statement.bytes).filter(isForAll),
      });
      return { bytes, refusal: undefined };
    } catch (error) {
      return this.refuse(error as Error, from);
    }
  }

  private refuse(error: Error, from: string): Answer {
    const { nodeId, now } = this.setup;
    const isDecision = error instanceof EnrolmentRefusal;
    this.setup.onRefused(isDecision ? withSource(error, from).error : error);
    const code = isDecision ? error.code : RefusalCode.AUTHORITY;
    // What is wrong with files of the issuer is for its own people.
    const reason = isDecision ? error.reason : `the issuer ${nodeId} has a fault, which its log shows`;
    return { bytes: encodeRefused({ code, at: nodeId, timeMs: Math.round(now()), reason }), refusal: code };
  }

  private async enrol(request: EnrolRequest): Promise<Uint8Array> {
    const { book, invitations } = this.setup;
    const { publicKey, codeId, networkId } = request;
    if (!book.authorities().some((authority) => networkIdOf(authority) === networkId)) {
      const own = this.authority.networkId;
      throw new EnrolmentRefusal(
        RefusalCode.WRONG_NETWORK,
        `the token is for the network ${networkId}, and this is ${own}`,
      );
    }
    this.checkClock(request.timeMs);
    const nowMs = this.setup.now();
    if (book.isRevoked(publicKey)) throw revoked(nodeIdFromPublicKey(publicKey));
    const nodeId = nodeIdFromPublicKey(publicKey);
    // Before a use is taken, or the token would be lost by a request that gets nothing.
    const redemption = await invitations.redeem(codeId, publicKey, nowMs, ({ key, name }) => {
      if (!hasCode(request, key)) return false;
      if (!isSignedBy(request, publicKey)) {
        throw new EnrolmentRefusal(RefusalCode.MALFORMED, 'the request is not signed by its key');
      }
      nameFor(name, request.name, nodeId);
      return true;
    });
    switch (redemption.kind) {
      case 'granted':
        return this.certify(publicKey, nodeId, request.name, redemption.grant, redemption.isRepeat);
      case 'used':
        throw new EnrolmentRefusal(RefusalCode.USED, 'another machine has joined with it; ask for a new one');
      case 'expired':
        throw expired(nowMs - request.expiresAtMs);
      case 'unknown':
        // Invitations are removed some time after they have expired.
        if (nowMs > request.expiresAtMs) throw expired(nowMs - request.expiresAtMs);
        if (this.guesses.onWrongCode()) {
          throw new EnrolmentRefusal(RefusalCode.LIMIT, 'too many wrong tokens everywhere; try again in a minute');
        }
        throw new EnrolmentRefusal(RefusalCode.TOKEN, `the issuer ${this.setup.nodeId} does not know it`);
    }
  }

  private certify(publicKey: Uint8Array, nodeId: NodeId, wanted: string, grant: Grant, isRepeat: boolean): Uint8Array {
    // A node that passes a request on could send it again later, when the member has other rights.
    const known = isRepeat ? this.setup.book.member(nodeId) : undefined;
    if (known !== undefined) return known.der;
    const { tags, rights, lifetimeMs } = grant;
    return this.authority.issue(
      { publicKey, name: nameFor(grant.name, wanted, nodeId), tags, rights, lifetimeMs },
      Math.floor(this.setup.now() / 1_000) * 1_000,
    );
  }

  private renew(request: RenewRequest): Uint8Array {
    const { book } = this.setup;
    let shown: Member;
    try {
      shown = readCertificate(request.certificate, book.authorities());
    } catch (error) {
      throw new EnrolmentRefusal(RefusalCode.CERTIFICATE, (error as Error).message);
    }
    const { publicKey, nodeId } = shown;
    if (!isSignedBy(request, publicKey)) {
      throw new EnrolmentRefusal(RefusalCode.MALFORMED, 'the request is not signed by the key of the certificate');
    }
    this.checkClock(request.timeMs);
    if (book.isRevoked(publicKey)) throw revoked(nodeId);
    const nowMs = this.setup.now();
    const known = book.member(nodeId);
    const newest = known !== undefined && known.notBeforeMs > shown.notBeforeMs ? known : shown;
    if (newest.notAfterMs <= nowMs) {
      const reason = `that of ${nodeId} (${newest.name}) expired ${spanOf(nowMs - newest.notAfterMs)} ago; it needs a new token`;
      throw new EnrolmentRefusal(RefusalCode.CERTIFICATE_EXPIRED, reason);
    }
    const isCurrent = Buffer.compare(newest.authority, this.authority.publicKey) === 0;
    if (isCurrent && newest.notAfterMs - nowMs > lifetimeMsOf(newest) * (1 - FRESH_SHARE)) return newest.der;
    return renewedBy(this.authority, newest, nowMs);
  }

  private checkClock(timeMs: number): void {
    const fault = clockFault('the asking machine', timeMs, `the issuer ${this.setup.nodeId}`, this.setup.now());
    if (fault !== undefined) throw new EnrolmentRefusal(RefusalCode.CLOCK, fault);
  }
}

/** Revocations and successions: what a member needs before it can trust a certificate that it is shown. */
function isForAll(statement: Uint8Array): boolean {
  return decodeStatement(statement)?.kind !== StatementKind.CERTIFICATE;
}

/** Returns the name of a member: as invited, or as wanted where the asterisk of an invitation leaves it open. */
function nameFor(invited: string, wanted: string, nodeId: NodeId): string {
  const star = invited.indexOf('*');
  if (star < 0) {
    if (wanted === '' || wanted === invited) return invited;
    throw new EnrolmentRefusal(RefusalCode.NAME, `the token is for the name ${JSON.stringify(invited)} only`);
  }
  const [head, tail] = [invited.slice(0, star), invited.slice(star + 1)];
  const name = wanted === '' ? head + nodeId + tail : wanted;
  const fits = name.length > head.length + tail.length && name.startsWith(head) && name.endsWith(tail);
  if (nameFault(name) === undefined && fits) return name;
  throw new EnrolmentRefusal(RefusalCode.NAME, `the token is for names like ${JSON.stringify(invited)} only`);
}

function withSource(refusal: EnrolmentRefusal, from: string): EnrolmentRefusal {
  return new EnrolmentRefusal(refusal.code, refusal.reason, `${refusal.localReason} (asked by ${from})`);
}

function revoked(nodeId: NodeId): EnrolmentRefusal {
  return new EnrolmentRefusal(RefusalCode.REVOKED, nodeId);
}

function expired(sinceMs: number): EnrolmentRefusal {
  return new EnrolmentRefusal(RefusalCode.EXPIRED, `${spanOf(Math.max(sinceMs, 0))} ago; ask for a new one`);
}
