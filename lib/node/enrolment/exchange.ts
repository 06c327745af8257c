// Frames of enrolment over any Duplex: one is awaited at a time, each with a deadline, and what does not fit ends the exchange.

import type { Duplex } from 'node:stream';
import { netError, starlaneError } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { type EnrolmentMessage, tryReadEnrolment } from '../../wire/enrolment.js';

const NOTHING = Buffer.alloc(0);

/** A message, and its bytes for passing it on. */
export interface ReceivedFrame {
  readonly message: EnrolmentMessage;
  readonly bytes: Buffer;
}

interface Waiter {
  resolve(frame: ReceivedFrame): void;
  reject(error: Error): void;
}

export class Exchange {
  private received: Buffer = NOTHING;
  private waiter: Waiter | undefined;
  private failure: Error | undefined;
  private readonly deadline: Deadline;

  constructor(
    private readonly duplex: Duplex,
    timers: Timers,
  ) {
    this.deadline = new Deadline(timers, () => this.fail(netError('ETIMEDOUT', 'read')));
    duplex.on('data', (chunk: Buffer) => this.onData(chunk));
    // 'close' follows, also where the other end has just ended.
    duplex.on('error', (error) => this.fail(error));
    duplex.on('end', () => this.fail(ended()));
    duplex.on('close', () => this.fail(ended()));
  }

  /**
   * Resolves with the next message, and skips those of later versions.
   * @throws ERR_STARLANE_MESSAGE when it is malformed, ETIMEDOUT, or the error of the Duplex
   */
  read(timeoutMs: number): Promise<ReceivedFrame> {
    return new Promise((resolve, reject) => {
      this.waiter = { resolve, reject };
      this.deadline.set(timeoutMs);
      this.advance();
    });
  }

  write(frame: Uint8Array): void {
    if (this.failure === undefined && this.duplex.writable) this.duplex.write(frame);
  }

  /** Sends a last frame, and closes when it is on its way. */
  end(frame?: Uint8Array): void {
    if (!this.duplex.writable) this.destroy();
    else if (frame === undefined) this.duplex.end();
    else this.duplex.end(frame);
  }

  destroy(): void {
    this.duplex.destroy();
  }

  /** Ends a wait with this error; there is no other message afterwards. */
  fail(error: Error): void {
    this.failure ??= error;
    this.advance();
  }

  private onData(chunk: Buffer): void {
    // What comes before it is awaited is bounded by the first message that does not fit.
    if (this.failure !== undefined) return;
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
    if (this.waiter === undefined) this.duplex.pause();
    else this.advance();
  }

  private advance(): void {
    const { waiter } = this;
    if (waiter === undefined) return;
    try {
      for (;;) {
        const read = tryReadEnrolment(this.received);
        if (read === undefined) break;
        const { message, bytesRead } = read;
        const bytes = this.received.subarray(0, bytesRead);
        this.received = this.received.subarray(bytesRead);
        if (message === undefined) continue;
        this.settle();
        waiter.resolve({ message, bytes });
        return;
      }
    } catch (error) {
      this.failure ??= error as Error;
    }
    if (this.failure !== undefined) {
      this.settle();
      waiter.reject(this.failure);
      return;
    }
    this.duplex.resume();
  }

  private settle(): void {
    this.waiter = undefined;
    this.deadline.clear();
  }
}

function ended(): Error {
  return starlaneError('ERR_STARLANE_ENROLMENT', 'the other end closed the connection');
}
