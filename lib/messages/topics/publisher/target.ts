// Where a publisher sends messages of a pattern: to a node, or to subscriptions of its own node.

import type { NodeId } from '../../../address.js';
import type { Interest } from '../codec/interest.js';
import type { Reply } from '../message.js';
import type { Leftover } from '../outlet.js';

export interface Target {
  readonly pattern: string;
  readonly nodeId: NodeId;
  readonly interest: Interest;
  /** Whether new messages go there. */
  readonly isRouted: boolean;
  /** Whether messages arrive at once, as far as is known. */
  readonly isReady: boolean;
  /** Whether it is in this process: requests that it has taken are answered even after its end. */
  readonly isLocal: boolean;
  /** @internal The mask of the message that is being published. */
  mask: number;
  /** @internal Requests that wait for its answers. */
  requests: number;
  /** Unconfirmed messages of a mask. */
  load(mask: number): number;
  /** Adds a message. Returns its number; 0 when it was dropped. */
  append(topic: string, buffer: Buffer, start: number, end: number, mask: number): number;
  /** Sends what was added. */
  flush(): void;
  /** Resolves when everything so far is confirmed, or the target is gone. */
  confirmed(): Promise<void>;
  /** Whether the message of that number may have left this process, or was taken by a subscription of it. */
  wasSent(sequence: number): boolean;
  /** Cancels a request. */
  cancel(request: number): void;
}

/** What owns targets. */
export interface TargetOwner {
  /** Called with a target that has something to flush in this turn. */
  onDirty(target: Target): void;
  /** Called when a target has more unconfirmed bytes than the mark, and when that is over. */
  onOver(target: Target, isOver: boolean): void;
  /** Called when isRouted or the interest has changed. */
  onRoutesChanged(): void;
  onReply(target: Target, reply: Reply): void;
  /** Called with the number of messages that were dropped. */
  onDropped(target: Target, count: number): void;
  /** Called with messages whose subscriber is gone. `groups`: its queue groups. */
  onLeftovers(target: Target, leftovers: readonly Leftover[], interest: Interest): void;
  /** Called when a target is gone. */
  onEnded(target: Target): void;
  onWarning(error: Error): void;
}
