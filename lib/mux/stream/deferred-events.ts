// Each event in a tick of its own. Node calls back once for each read of a TCP socket, and all ticks and promises run before the
// next call; users rely on that: after `await once(socket, 'data')` nothing may have happened to the socket. One read of a link
// brings many events, also several of one stream: its first is told at once, each further one when the ticks and promises of the
// one before it have run.

import { withoutContext } from '../../util/runtime/no-context.js';
import { nextTick, queueMicrotask } from '../../util/runtime/real-timers.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { kEmitNext } from '../hidden.js';

/** Has further events of one stream to tell. */
export interface DeferredEmitter {
  /** Tells the next one. True while more wait. */
  [kEmitNext](): boolean;
}

/** Counts the callbacks of all links, reads and ends: two events with the same count may come from one. */
export const inputReads = { count: 0 };

let emitters: DeferredEmitter[] = [];

/** `emitNext` is called when all ticks and promises have run, and so on as long as it returns true. */
export function emitLater(emitter: DeferredEmitter): void {
  if (emitters.push(emitter) === 1) withoutContext(queueMicrotask, afterPromises);
}

/** Runs among promises: the tick runs behind all of them, those that they lead to included. */
function afterPromises(): void {
  nextTick(emitAll);
}

function emitAll(): void {
  const turn = emitters;
  emitters = [];
  for (const emitter of turn) {
    try {
      if (emitter[kEmitNext]()) emitters.push(emitter);
    } catch (error) {
      // Thrown by a listener. Later events still arrive.
      throwLater(error);
      emitters.push(emitter);
    }
  }
  if (emitters.length > 0) queueMicrotask(afterPromises);
}
