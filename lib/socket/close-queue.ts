// 'close' comes a turn after the end of a socket, as for a handle of the system: whoever awaits 'end' can still listen. All
// that have ended in one turn are told in one go, so that what their listeners send leaves together, with time for promises in
// between: whoever awaits the 'close' of one may listen to that of the next then.

import { kTellClose } from '../mux/hidden.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { setImmediate } from '../util/runtime/real-timers.js';
import { throwLater } from '../util/runtime/throw-later.js';

export interface Closing {
  /** Emits 'close'. */
  [kTellClose](hadError: boolean): void;
}

/** Promises that may follow from each other between two sockets: an await of events.once in a Promise.race has about five. */
const HOPS = 8;

let sockets: Closing[] = [];
let errors: boolean[] = [];

export function closeLater(socket: Closing, hadError: boolean): void {
  if (sockets.length === 0) withoutContext(setImmediate, closeAll);
  sockets.push(socket);
  errors.push(hadError);
}

async function closeAll(): Promise<void> {
  const ended = sockets;
  const hadErrors = errors;
  sockets = [];
  errors = [];
  for (let index = 0; index < ended.length; index++) {
    try {
      ended[index][kTellClose](hadErrors[index]);
    } catch (error) {
      throwLater(error);
    }
    if (index + 1 < ended.length) for (let hop = 0; hop < HOPS; hop++) await undefined;
  }
}
