// Sees to it that a spec leaves nothing open: sockets and listeners of the system, whether they hold the process or not,
// and deadlines.

import { createHook } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { sharedTimers } from '../../lib/util/timers.js';
import { DEADLINE_MS } from './deadline.js';

// Not TLSWRAP: it goes with the collector, and there is a TCPWRAP under each.
const WATCHED = /^(TCP|PIPE|PROCESS)\w*WRAP$/;

const open = new Map<number, string>();
const hook = createHook({
  init(id, type) {
    if (WATCHED.test(type)) open.set(id, type);
  },
  destroy(id) {
    open.delete(id);
  },
});

/** To be called ahead of what may open something. */
export function watchHandles(): void {
  hook.enable();
  open.clear();
}

/** Resolved when everything opened since {@link watchHandles} is closed and no deadline is pending. */
export async function nothingLeft(): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (open.size > 0 || sharedTimers.size > 0) {
    if (performance.now() > end) {
      throw new Error(`left open: ${[...open.values()].join(', ')} and ${sharedTimers.size} deadlines`);
    }
    await nextTurn();
  }
  hook.disable();
}
