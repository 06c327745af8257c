// Records of one neighbour that wait for their check, in the order they came.

import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';

export interface QueuedCopy extends RecordCopy {
  /** It came because this node asked for it. */
  readonly isAsked: boolean;
}

/** How many taken places may lie in front before the rest moves up. */
const MAX_SLACK = 1_024;

export class CopyQueue {
  private items: Array<QueuedCopy | undefined> = [];
  private first = 0;
  /** Of all of them, and of those that nobody asked for. */
  bytes = 0;
  unaskedBytes = 0;
  unasked = 0;

  get size(): number {
    return this.items.length - this.first;
  }

  push(copy: QueuedCopy): void {
    this.items.push(copy);
    this.count(copy, 1);
  }

  peek(): QueuedCopy | undefined {
    return this.items[this.first];
  }

  shift(): QueuedCopy | undefined {
    const copy = this.items[this.first];
    if (copy === undefined) return undefined;
    this.items[this.first++] = undefined;
    this.count(copy, -1);
    if (this.first === this.items.length || this.first > MAX_SLACK) {
      this.items = this.items.slice(this.first);
      this.first = 0;
    }
    return copy;
  }

  clear(): void {
    this.items = [];
    this.first = 0;
    this.bytes = 0;
    this.unaskedBytes = 0;
    this.unasked = 0;
  }

  private count(copy: QueuedCopy, sign: 1 | -1): void {
    const bytes = sign * recordCopyBytes(copy.record);
    this.bytes += bytes;
    if (copy.isAsked) return;
    this.unaskedBytes += bytes;
    this.unasked += sign;
  }
}
