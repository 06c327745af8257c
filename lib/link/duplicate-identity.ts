// Two processes with one identity, as one file of keys copied, or a new process that starts before the old one has ended.
// Each would take the place of the other for ever. So the newer one keeps the identity, the older one is refused, and all who
// are concerned are told. A process that is gone is no rival: only one that answers is.

import type { NodeId } from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';

/** Runs that are remembered as older ones. */
const MAX_OLDER = 1_024;

/**
 * Whether the run with the boot id `a` began after that with `b`; undefined when they do not say. They are UUIDs of version 7
 * (RFC 9562), which begin with the time, since 0.2; those of older builds are random.
 */
export function isLaterRun(a: string, b: string): boolean | undefined {
  return hasTime(a) && hasTime(b) ? a.toLowerCase() > b.toLowerCase() : undefined;
}

function hasTime(bootId: string): boolean {
  return bootId[14] === '7';
}

/** The runs that a newer one has been seen beside, and where that was. Bounded, the oldest entries go first. */
export class OlderRuns {
  private readonly newer = new Map<string, string>();

  has(bootId: string): boolean {
    return this.newer.has(bootId);
  }

  newerOf(bootId: string): string | undefined {
    return this.newer.get(bootId);
  }

  add(bootId: string, newer: string): void {
    this.newer.delete(bootId);
    this.newer.set(bootId, newer);
    if (this.newer.size <= MAX_OLDER) return;
    for (const oldest of this.newer.keys()) {
      this.newer.delete(oldest);
      return;
    }
  }
}

/** Worded for whoever is linked to both. */
export function duplicateAt(peerId: NodeId, older: string, newer: string): StarlaneError {
  return duplicate(`${peerId} is at ${older} and, newer, at ${newer}`);
}

/** Worded for the older of the two; `newer`: the address of the other one. */
export function olderText(newer: string): string {
  return `a newer process has your identity, at ${newer}`;
}

/** Worded for the newer of the two; `older`: the address of the other one. */
export function newerText(older: string): string {
  return `an older process has your identity, at ${older}`;
}

export function duplicate(detail: string): StarlaneError {
  return starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', detail);
}
