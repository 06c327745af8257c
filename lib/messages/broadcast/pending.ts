// The messages that wait for the handler or the iterator of this participant. A slow reader loses messages and learns how many; it never slows
// other participants down.

import { Fifo } from '../../util/fifo.js';
import type { ResolvedBroadcastOptions } from './options.js';

type Limits = Pick<ResolvedBroadcastOptions, 'maxPending' | 'maxPendingBytes' | 'whenFull'>;

interface Waiting<Message> {
  readonly message: Message;
  readonly bytes: number;
}

export class PendingMessages<Message> {
  private readonly queue = new Fifo<Waiting<Message>>();
  private bytes = 0;
  private waiter: (() => void) | undefined;
  private isClosed = false;

  /** @param onDropped called with the number of messages that were dropped for a new one */
  constructor(
    private readonly limits: Limits,
    private readonly onDropped: (count: number) => void,
  ) {}

  get size(): number {
    return this.queue.size;
  }

  push(message: Message, bytes: number): void {
    if (this.isClosed) return;
    let dropped = 0;
    const isFull = (): boolean =>
      this.size >= this.limits.maxPending || (this.size > 0 && this.bytes + bytes > this.limits.maxPendingBytes);
    if (isFull()) {
      if (this.limits.whenFull === 'drop-newest') {
        this.onDropped(1);
        return;
      }
      for (; isFull() && this.size > 0; dropped++) this.shift();
    }
    this.queue.push({ message, bytes });
    this.bytes += bytes;
    this.wake();
    if (dropped > 0) this.onDropped(dropped);
  }

  /** Returns the next message; undefined without one. */
  shift(): Message | undefined {
    const waiting = this.queue.shift();
    if (waiting === undefined) return undefined;
    this.bytes -= waiting.bytes;
    return waiting.message;
  }

  /** Resolves with the next message, or with undefined when there will be none. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      const message = this.shift();
      if (message !== undefined) return message;
      if (this.isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.waiter = resolve;
      });
    }
  }

  /** Takes no more messages. Those that wait can still be read. */
  close(): void {
    this.isClosed = true;
    this.wake();
  }

  private wake(): void {
    this.waiter?.();
    this.waiter = undefined;
  }
}
