// The end of a session for its streams. A million of them are told over many turns of the event loop, so that the
// process goes on meanwhile.

import { setImmediate } from '../../util/runtime/real-timers.js';
import { ResetReason } from './reset-reason.js';
import type { MuxStream } from './stream.js';

/** Streams that are told in one turn. */
const STREAMS_PER_TURN = 1000;

/** The first ones are told before this returns. `isOwn`: of MuxStream.fail. */
export function failStreams(streams: IterableIterator<MuxStream>, reason: Error, isOwn: boolean): void {
  for (let told = 0; told < STREAMS_PER_TURN; told++) {
    const next = streams.next();
    if (next.done) return;
    next.value.fail(reason, ResetReason.LINK_LOST, isOwn);
  }
  setImmediate(failStreams, streams, reason, isOwn);
}
