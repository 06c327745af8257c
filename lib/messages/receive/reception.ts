// What the inboxes of a node share: how many sessions there may be, of all senders and of one, and the memory for what they may send.

import { BodyBudget } from './body-budget.js';
import type { Credit } from './session.js';

/** Sessions at a time. */
const MAX_SESSIONS = 4_096;
/** Of one sender. A sender has one for each of its processes and each inbox. */
const MAX_SESSIONS_PER_SENDER = 64;
/** For what senders may have on their way, of all sessions together. */
const BUDGET_BYTES = 256 * 1024 * 1024;
/** What one session gets at most, and at least. */
const MAX_CREDIT_BYTES = 4 * 1024 * 1024;
const MIN_CREDIT_BYTES = 64 * 1024;
/** Messages of one session on their way. */
const CREDIT_MESSAGES = 1_024;
/** The share of what is left that a session gets: so there is always something for the next one. */
const SHARE = 32;

export class Reception {
  readonly bodies = new BodyBudget();
  private readonly perSender = new Map<string, number>();
  private sessions = 0;
  private leftBytes = BUDGET_BYTES;

  get size(): number {
    return this.sessions;
  }

  /** Returns what a new session may have on its way; undefined when there is no room for it. */
  admit(senderKey: string): Credit | undefined {
    const ofSender = this.perSender.get(senderKey) ?? 0;
    if (this.sessions >= MAX_SESSIONS || ofSender >= MAX_SESSIONS_PER_SENDER) return undefined;
    const share = Math.max(MIN_CREDIT_BYTES, Math.min(MAX_CREDIT_BYTES, Math.floor(this.leftBytes / SHARE)));
    if (share > this.leftBytes) return undefined;
    this.leftBytes -= share;
    this.sessions++;
    this.perSender.set(senderKey, ofSender + 1);
    return { count: CREDIT_MESSAGES, bytes: share };
  }

  release(senderKey: string, credit: Credit): void {
    this.leftBytes += credit.bytes;
    this.sessions--;
    const left = (this.perSender.get(senderKey) ?? 1) - 1;
    if (left === 0) this.perSender.delete(senderKey);
    else this.perSender.set(senderKey, left);
  }
}
