// Memory for messages that are encoded side by side. A piece is used again when nobody refers to it any more; who cannot say when that is
// withdraws it, and the garbage collector takes it.

import { Deadline } from '../../../util/deadline.js';
import { sharedTimers } from '../../../util/timers.js';

export const PIECE_BYTES = 64 * 1024;
/** Pieces that are kept for later: about what may be on its way to one subscriber. */
const MAX_KEPT = 64;
/** Those that are kept are let go when none was needed for so long. */
const KEEP_MS = 5_000;

export class PiecePool {
  /** How many refer to a piece. Those that were withdrawn, and memory of others, are not in it. */
  private readonly users = new WeakMap<Buffer, number>();
  private readonly kept: Buffer[] = [];
  private isUsed = false;
  private readonly idleDue = new Deadline(sharedTimers, () => this.trim());

  /** How many wait to be used again. */
  get size(): number {
    return this.kept.length;
  }

  /** Returns a piece with one user, of {@link PIECE_BYTES} or more. */
  take(bytes: number): Buffer {
    // Long messages are rare.
    if (bytes > PIECE_BYTES) return Buffer.allocUnsafeSlow(bytes);
    this.isUsed = true;
    const piece = this.kept.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.users.set(piece, 1);
    return piece;
  }

  /** Adds a user. */
  hold(piece: Buffer): void {
    const count = this.users.get(piece);
    if (count !== undefined) this.users.set(piece, count + 1);
  }

  /** Removes a user. */
  release(piece: Buffer): void {
    const count = this.users.get(piece);
    if (count === undefined) return;
    if (count > 1) this.users.set(piece, count - 1);
    else {
      this.users.delete(piece);
      if (this.kept.length < MAX_KEPT) this.kept.push(piece);
      if (!this.idleDue.isSet) this.idleDue.set(KEEP_MS);
    }
  }

  /** Leaves a piece to the garbage collector: views of it are in the hands of users. */
  withdraw(piece: Buffer): void {
    this.users.delete(piece);
  }

  private trim(): void {
    if (!this.isUsed) {
      this.kept.length = 0;
      return;
    }
    this.isUsed = false;
    this.idleDue.set(KEEP_MS);
  }
}

/** The pieces of this process. */
export const sharedPieces = new PiecePool();
