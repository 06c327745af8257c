// The first of two instances that a dial has asked: it was silent for so long that a second one was asked as well, and may
// answer first all the same. Nothing but OPEN has been sent to it.

import type { NodeId } from '../../address.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { ReplyCode, tryReadReply } from '../../wire/open-reply.js';
import type { Path } from '../path.js';
import type { SecureDial } from '../secure/secure-dial.js';

export interface RivalOwner {
  /** It has accepted, with these bytes, of which none is consumed. */
  onRivalAccepted(rival: Rival, bytes: Buffer): void;
  /** It will not. */
  onRivalLost(rival: Rival): void;
}

/** What is known of the instance that was asked. */
export interface Asked {
  readonly instance: ServiceInstance;
  readonly nodeId: NodeId;
  readonly port: number;
  readonly path: Path;
  readonly secure: SecureDial | null;
  /** The part of a reply that has arrived. */
  readonly partial: Buffer | null;
}

export class Rival implements StreamSink {
  partial: Buffer | null;

  constructor(
    private readonly owner: RivalOwner,
    readonly stream: MuxStream,
    readonly asked: Asked,
    /** Bytes of OPEN that wait in the stream's queue. */
    public queuedOpen: number,
  ) {
    this.partial = asked.partial;
    stream.sink = this;
  }

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    const bytes = this.partial === null ? chunk : Buffer.concat([this.partial, chunk]);
    try {
      const reply = tryReadReply(bytes)?.reply;
      if (reply === undefined) this.partial = Buffer.from(bytes);
      else if (reply.code !== ReplyCode.ACCEPTED || this.asked.secure?.objection(reply) !== undefined) this.lose();
      else this.owner.onRivalAccepted(this, bytes);
    } catch {
      this.lose();
    }
  }

  [kOnEnd](): void {
    this.lose();
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.queuedOpen -= Math.min(bytes, this.queuedOpen);
  }

  [kOnReset](): void {
    this.owner.onRivalLost(this);
  }

  private lose(): void {
    this.stream.reset();
    this.owner.onRivalLost(this);
  }
}
