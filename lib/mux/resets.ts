// Streams that the peer resets. A relay that loses a link resets what goes through it at once, a hundred thousand frames in
// one poll of the socket, and what each costs the user of a stream is a hundred times what it costs to read: a turn of the
// event loop tells so many, the others are told in the turns that follow.

import type { MuxStream } from './mux-stream.js';
import { resetError } from './reset-reason.js';
import { StreamState } from './stream-state.js';

/** Streams that are told in one turn. */
const STREAMS_PER_TURN = 1000;

/** Streams that are told when the peer opens one. */
const TOLD_PER_OPEN = 2;

export class Resets {
  private told = 0;
  private isTurnDue = false;
  /** With the reason of each. A peer that resets a stream again and again has it here once. */
  private readonly waiting = new Map<MuxStream, number>();

  /** The peer has reset an open stream. Until it is told it is as if the frame were still on its way. */
  take(stream: MuxStream, reason: number): void {
    // One that was opened in this turn: nothing has been said of it, and nothing is to be.
    const isFresh = (stream.state & StreamState.ACK_OWED) !== 0;
    if (isFresh || (this.told < STREAMS_PER_TURN && this.waiting.size === 0)) this.tell(stream, reason);
    else this.waiting.set(stream, reason);
    this.nextTurn();
  }

  /** The peer opens a stream. Who opens and resets them without end shall not have more and more of them waiting here. */
  onOpen(): void {
    if (this.waiting.size > 0) this.tellWaiting(TOLD_PER_OPEN);
  }

  /** The session is over, and all its streams are told that. */
  stop(): void {
    this.waiting.clear();
  }

  private tell(stream: MuxStream, reason: number): void {
    this.told++;
    stream.fail(resetError(stream.id, reason), reason, false);
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    setImmediate(() => {
      this.isTurnDue = false;
      this.told = 0;
      this.tellWaiting(STREAMS_PER_TURN);
      if (this.waiting.size > 0) this.nextTurn();
    });
  }

  private tellWaiting(most: number): void {
    let count = 0;
    for (const [stream, reason] of this.waiting) {
      if (count === most) return;
      this.waiting.delete(stream);
      // This side may have given it up meanwhile.
      if (stream.isClosed) continue;
      count++;
      this.tell(stream, reason);
    }
  }
}
