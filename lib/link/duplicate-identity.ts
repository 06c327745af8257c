// Two processes with one identity: the file of its key was copied, or a new process starts before the old one has ended. Each of them
// would replace the links of the other without end. So the newer one keeps the identity, the older one is refused, and every node
// concerned gets a warning. Only a process that answers counts; one that is gone does not.

import type { NodeId } from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';

/**
 * Returns whether the run with the boot id `a` began after the one with `b`; undefined when their ids do not show it. Boot ids are UUIDs
 * of version 7 (RFC 9562), which begin with the time; those of older builds are random.
 */
export function isLaterRun(a: string, b: string): boolean | undefined {
  return hasTime(a) && hasTime(b) ? a.toLowerCase() > b.toLowerCase() : undefined;
}

function hasTime(bootId: string): boolean {
  return bootId[14] === '7';
}

/** Returns the error for a node that is linked to both processes. */
export function duplicateAt(peerId: NodeId, older: string, newer: string): StarlaneError {
  return duplicate(`${peerId} is at ${older} and, newer, at ${newer}`);
}

/** Returns the text for the older process; `newer`: the address of the other one. */
export function olderText(newer: string): string {
  return `a newer process has your identity, at ${newer}`;
}

/** Returns the text for the newer process; `older`: the address of the other one. */
export function newerText(older: string): string {
  return `an older process has your identity, at ${older}`;
}

export function duplicate(detail: string): StarlaneError {
  return starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', detail);
}
