// Keeps the certificate of this node valid: asks an issuer for the next one when two thirds of its life have passed, and goes on asking, more
// often as its end comes near. All times are of the wall clock, as machines sleep and clocks are set.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Member } from '../../identity/member-certificate.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { issuedAtMs, lifetimeMsOf } from './member-info.js';
import { spanOf } from './refusals.js';

/** The part of its life after which a certificate is renewed, and the part by which that is spread: nodes were often made together. */
const DUE_SHARE = 2 / 3;
const SPREAD_SHARE = 0.05;
/** The part of the overlap of two authorities in which members come for certificates of the new one; and at most so long. */
const OVERLAP_SHARE = 0.25;
const MAX_OVERLAP_WAIT_MS = 60 * 60_000;
/** Retries: at first soon, as a node may have just started, then in parts of what is left, within limits. */
const FIRST_RETRY_MS = 5_000;
const RETRY_SHARE = 0.05;
const MAX_RETRY_MS = 60 * 60_000;
/** Warns when no more than this part of the life is left, and again after so long. */
const WARN_SHARE = 0.25;
const WARN_AGAIN_MS = 24 * 60 * 60_000;
/** A look at the clock at least so often. */
const MAX_SLEEP_MS = 60 * 60_000;

export interface RenewalSetup {
  readonly timers: Timers;
  /** Wall-clock time in ms. */
  now(): number;
  random(): number;
  /** The newest certificate of this node, valid or not. */
  own(): Member;
  /** When the authority of that certificate ends because another one takes over; undefined: it does not. */
  authorityEndsMs(): number | undefined;
  /** Gets a new certificate. @throws when there is none */
  renew(): Promise<void>;
  onWarning(error: Error): void;
}

export class Renewal {
  private readonly deadline: Deadline;
  private certificate: Uint8Array | undefined;
  /** When the certificate is to be renewed. */
  private dueMs = 0;
  private failures = 0;
  private warnedMs = Number.NEGATIVE_INFINITY;
  private isAsking = false;
  private isClosed = false;

  constructor(private readonly setup: RenewalSetup) {
    this.deadline = new Deadline(setup.timers, () => this.onWake());
  }

  /** Called at the start, and when there is another certificate or another authority. */
  update(): void {
    if (this.isClosed) return;
    const { now, random } = this.setup;
    const own = this.setup.own();
    if (this.certificate !== own.der) {
      this.certificate = own.der;
      this.failures = 0;
      this.dueMs = issuedAtMs(own) + lifetimeMsOf(own) * (DUE_SHARE + SPREAD_SHARE * random());
    }
    const endsMs = this.setup.authorityEndsMs();
    if (endsMs !== undefined) {
      const waitMs = Math.min((endsMs - now()) * OVERLAP_SHARE, MAX_OVERLAP_WAIT_MS) * random();
      this.dueMs = Math.min(this.dueMs, now() + waitMs);
    }
    if (!this.isAsking) this.sleep(this.dueMs - now());
  }

  close(): void {
    this.isClosed = true;
    this.deadline.clear();
  }

  private sleep(delayMs: number): void {
    this.deadline.set(Math.min(delayMs, MAX_SLEEP_MS));
  }

  private onWake(): void {
    const waitMs = this.dueMs - this.setup.now();
    if (waitMs > 0) {
      this.sleep(waitMs);
      return;
    }
    this.isAsking = true;
    const { der } = this.setup.own();
    this.setup.renew().then(
      () => this.onAnswer(der, undefined),
      (error: Error) => this.onAnswer(der, error),
    );
  }

  /** @param before the certificate when this node asked: {@link update} may have been called with the next one since */
  private onAnswer(before: Uint8Array, error: Error | undefined): void {
    this.isAsking = false;
    if (this.isClosed) return;
    // Also when the answer was a certificate that this node has already.
    const isStillDue = before === this.setup.own().der;
    if (!isStillDue) this.update();
    else this.retry(error);
  }

  private retry(error: Error | undefined): void {
    const { now, random } = this.setup;
    const own = this.setup.own();
    const { notAfterMs, name } = own;
    const leftMs = notAfterMs - now();
    const longestMs = Math.min(Math.max(leftMs * RETRY_SHARE, FIRST_RETRY_MS), MAX_RETRY_MS);
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.failures++, 20), longestMs) * (1 - random() / 2);
    if (leftMs < lifetimeMsOf(own) * WARN_SHARE && now() - this.warnedMs >= WARN_AGAIN_MS) {
      this.warnedMs = now();
      this.setup.onWarning(this.warning(leftMs, name, error));
    }
    this.dueMs = now() + delayMs;
    this.sleep(delayMs);
  }

  private warning(leftMs: number, name: string, error: Error | undefined): Error {
    const reason = error?.message ?? 'the issuer has no newer one';
    if (leftMs <= 0) {
      const what = `${name}, this node: it needs a new token (${reason})`;
      return starlaneError('ERR_STARLANE_CERTIFICATE_EXPIRED', what, error);
    }
    const what = `that of this node, ${name}, expires in ${spanOf(leftMs)}, and was not renewed: ${reason}`;
    return starlaneError('ERR_STARLANE_ENROLMENT', what, error);
  }
}

/** Returns the ids in an order to ask them: those of the newest authority first, otherwise at random. */
export function inOrder(issuers: Iterable<Member>, newest: Uint8Array, random: () => number): NodeId[] {
  const ranked = [...issuers].map(({ nodeId, authority }) => ({
    nodeId,
    rank: (Buffer.compare(authority, newest) === 0 ? 0 : 1) + random(),
  }));
  return ranked.sort((one, other) => one.rank - other.rank).map(({ nodeId }) => nodeId);
}
