// Each event in a tick of its own. Node calls back once for each read of a TCP socket, and all ticks and promises run before the
// next call; users rely on that: after `await once(socket, 'data')` nothing may have happened to the socket. One read of a link
// brings many events, also several of one stream: its first is emitted at once, each further one when the ticks and promises of the
// one before it have run.

import { withoutContext } from '../../util/runtime/no-context.js';
import { nextTick, queueMicrotask } from '../../util/runtime/real-timers.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { kTellNext } from '../hidden.js';

/** Has further events of one stream to tell. */
export interface Teller {
  /** Tells the next one. True while more wait. */
  [kTellNext](): boolean;
}

/** Counts the callbacks of all links, reads and ends: two events with the same count may come from one. */
export const inputReads = { count: 0 };

let tellers: Teller[] = [];

/** `tellNext` is called when all ticks and promises have run, and so on as long as it returns true. */
export function tellLater(teller: Teller): void {
  if (tellers.push(teller) === 1) withoutContext(queueMicrotask, afterPromises);
}

/** Runs among promises: the tick runs behind all of them, those that they lead to included. */
function afterPromises(): void {
  nextTick(tellAll);
}

function tellAll(): void {
  const turn = tellers;
  tellers = [];
  for (const teller of turn) {
    try {
      if (teller[kTellNext]()) tellers.push(teller);
    } catch (error) {
      // Thrown by a listener. Later events still arrive.
      throwLater(error);
      tellers.push(teller);
    }
  }
  if (tellers.length > 0) queueMicrotask(afterPromises);
}
