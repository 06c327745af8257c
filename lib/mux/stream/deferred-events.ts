// Emits each event of a stream in its own tick. Node calls back once for each read of a TCP socket, and all ticks and promises run before
// the next call. Users rely on that: after `await once(socket, 'data')` nothing may have happened to the socket. One read of a link
// can bring several events of one stream: the first is emitted at once, each further one after the ticks and promises of the one before.

import { withoutContext } from '../../util/runtime/no-context.js';
import { nextTick, queueMicrotask } from '../../util/runtime/real-timers.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { kEmitNext } from '../hidden.js';

/** Has further events of one stream to emit. */
interface DeferredEmitter {
  /** Emits the next event. Returns true while more wait. */
  [kEmitNext](): boolean;
}

/** Counts the callbacks of all links, for reads and for ends: two events with the same count may come from the same callback. */
export const inputReads = { count: 0 };

let emitters: DeferredEmitter[] = [];

/** Calls `kEmitNext` when all ticks and promises have run, and again as long as it returns true. */
export function emitLater(emitter: DeferredEmitter): void {
  if (emitters.push(emitter) === 1) withoutContext(queueMicrotask, afterPromises);
}

/** Runs as a promise job: the tick runs after all promise jobs, including those that they start. */
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
