// A circuit that is being opened through relays for a dial: to which instance, since when, and by which opener.

import type { NodeId } from '../../address.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { ReadReply } from '../../wire/open-reply.js';
import type { HopFailure } from '../open/hop-search.js';
import type { CircuitOpener, OpenerOwner } from '../open/opener.js';
import type { Attempt } from './attempt.js';
import type { DialTarget } from './dial-target.js';

export class RelayedOpen implements OpenerOwner {
  private opener: CircuitOpener | null = null;
  /** When a second instance is asked as well, by the clock of the timers; Infinity: never. */
  hedgeAtMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly attempt: Attempt,
    /** The service that was picked. */
    readonly chosen: DialTarget,
    /** Null when the dial names a node. */
    readonly instance: ServiceInstance | null,
    readonly nodeId: NodeId,
    readonly port: number,
    /** By the clock of the timers. */
    readonly beganMs: number,
  ) {}

  /** May call the attempt before it returns. */
  start(opener: CircuitOpener): void {
    this.opener = opener;
    opener.start();
  }

  get secure(): CircuitOpener['secure'] {
    return this.opener?.secure ?? null;
  }

  /** The time since the last OPEN was sent, in ms. */
  get tookMs(): number {
    return this.opener?.tookMs ?? 0;
  }

  /** Gives it up. The attempt is not called any more. `reason`: of the reset that the nodes on the way see. */
  cancel(reason: number = ResetReason.NONE): void {
    this.opener?.cancel(reason);
  }

  onCircuit(stream: MuxStream, reply: ReadReply): void {
    this.attempt.onCircuit(this, stream, reply);
  }

  onNoCircuit(failure: HopFailure): void {
    this.attempt.onNoCircuit(this, failure);
  }
}
