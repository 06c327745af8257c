// A circuit that is being opened over a direct link, or the loopback: OPEN is sent, and the reply is awaited. What the user writes
// leaves together with OPEN, so a failure also has to say whether the server may have read it.

import type { NodeId } from '../../address.js';
import { codeOf } from '../../errors.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { kAttachStream, kOnReset } from '../../mux/hidden.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { Socket } from '../../socket/socket.js';
import type { ReadReply } from '../../wire/open-reply.js';
import { PendingReply } from '../open/opener.js';
import type { DirectPath } from '../paths.js';
import type { DialHandshake } from '../secure/handshake.js';
import type { Attempt } from './attempt.js';
import type { DialTarget } from './dial-target.js';

export class DirectOpen extends PendingReply {
  /** When the attempt began to time it, by the clock of the timers; 0: not yet. */
  openedMs = 0;
  /** When the attempt looks next whether the answer is overdue. */
  lookAtMs = 0;
  /** When it began, and when the policy of the dial asks another instance; only set with a policy. */
  beganMs = 0;
  hedgeAtMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly attempt: Attempt,
    readonly path: DirectPath,
    /** The service that was picked. */
    readonly chosen: DialTarget,
    /** Null when the dial names a node. */
    readonly instance: ServiceInstance | null,
    readonly nodeId: NodeId,
    readonly port: number,
    secure: DialHandshake | null,
  ) {
    super(secure);
  }

  /** Sends OPEN. Returns how many bytes of it wait in the stream's queue. @throws as DirectPath.open */
  start(open: Buffer): number {
    const stream = this.path.open(this, open);
    this.stream = stream;
    this.queuedOpen = stream.queuedBytes;
    return this.queuedOpen;
  }

  /** Sends what the user writes behind OPEN. */
  attachTo(socket: Socket): void {
    socket[kAttachStream](this.stream as MuxStream);
  }

  /** Whether the peer has acknowledged the stream. */
  get isAcknowledged(): boolean {
    return this.stream?.isAcknowledged === true;
  }

  /** Gives it up. The attempt is not called any more. */
  cancel(reason: number = ResetReason.NONE): void {
    const { stream } = this;
    this.stream = null;
    stream?.reset(reason);
  }

  protected onAccepted(stream: MuxStream, reply: ReadReply, rest: Buffer, replyBytes: number): void {
    this.attempt.onAccepted(this, stream, reply, rest, replyBytes);
  }

  protected onRefused(_stream: MuxStream, reply: ReadReply): void {
    this.attempt.onRefused(this, reply);
  }

  protected onForged(_stream: MuxStream, error: Error): void {
    this.attempt.onForged(this, error);
  }

  protected onInvalid(_stream: MuxStream, error: Error): void {
    this.attempt.onLost(this, 'ECONNRESET', error);
  }

  protected override onDataSent(stream: MuxStream, bytes: number): void {
    this.attempt.onDataSent(stream, bytes);
  }

  [kOnReset](stream: MuxStream, error: Error): void {
    this.stream = null;
    if (!stream.isAcknowledged && !this.path.canOpen) {
      // OPEN has crossed the end of the link, so no server has read what was written.
      this.attempt.onLinkEnded(this, error);
      return;
    }
    // A peer that resets without a reason has no room for more streams.
    const isRefused = codeOf(error) === 'ERR_STARLANE_STREAM_RESET';
    this.attempt.onLost(this, isRefused ? 'ECONNREFUSED' : 'ECONNRESET', error);
  }
}
