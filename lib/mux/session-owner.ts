// Who is told of what concerns a session as a whole.

import type { MuxStream } from './stream/stream.js';

/** Who a session belongs to. */
export interface SessionOwner {
  /** The peer opened a stream: set its sink, then accept() or reset() it, now or later. */
  onStream(stream: MuxStream): void;
  /** The peer accepts no more opens. */
  onGoAway?(): void;
  /** The session is over, told once; `error` is undefined when both sides ended it in order. */
  onClose(error: Error | undefined): void;
}
