// Who waits for a link: for one of their own to be up and synced, or for any link to a peer.

import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import type { Timers } from '../util/timers.js';
import type { Link } from './link.js';

export interface Waiter {
  resolve(link: Link): void;
  reject(error: Error): void;
}

export class LinkWaits {
  private readonly own = new Map<Link, Waiter>();
  private readonly any = new Map<NodeId, Set<Waiter>>();

  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
  ) {}

  add(link: Link, waiter: Waiter): void {
    this.own.set(link, waiter);
  }

  /** Who waits for this link, and from now on no more. */
  take(link: Link): Waiter | undefined {
    const waiter = this.own.get(link);
    this.own.delete(link);
    return waiter;
  }

  /** Waits for whatever link to the peer comes up next. Rejected with ERR_STARLANE_DUPLICATE_LINK when none does in time. */
  addAny(peerId: NodeId, waiter: Waiter): void {
    const waiters = this.any.get(peerId) ?? new Set();
    this.any.set(peerId, waiters);
    const timer = this.timers.schedule(this.timeoutMs, {
      onDeadline: () => {
        waiters.delete(entry);
        if (waiters.size === 0 && this.any.get(peerId) === waiters) this.any.delete(peerId);
        waiter.reject(starlaneError('ERR_STARLANE_DUPLICATE_LINK', peerId));
      },
    });
    const resolve = (link: Link): void => {
      this.timers.cancel(timer);
      waiter.resolve(link);
    };
    const entry: Waiter = { resolve, reject: waiter.reject };
    waiters.add(entry);
  }

  onUp(link: Link): void {
    const waiters = this.any.get(link.peerId);
    this.any.delete(link.peerId);
    for (const waiter of waiters ?? []) waiter.resolve(link);
  }
}
