// Secure circuits that were accepted, and whose dialler has not confirmed: what it has signed may be a copy, and nobody may
// be there who has the keys. The server hears of none of them before.

import { starlaneError } from '../../errors.js';
import { kAdmit, kAnnounce } from '../../mux/hidden.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { FarEnd } from '../../socket/far-end.js';
import type { AnyServer } from '../../socket/server.js';
import type { Socket } from '../../socket/socket.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import { QueuedPrefix } from '../open/queued-prefix.js';
import type { CircuitSecurity } from './circuit-security.js';
import type { DialClaim, SecureAnswer } from './dial-claim.js';
import { SecureStream } from './secure-stream.js';

export interface UnconfirmedHost {
  readonly nodeId: string;
  readonly timers: Timers;
  readonly security: CircuitSecurity;
  /** Time that a dialler has from the reply to its first record, in ms. */
  readonly openTimeoutMs: number;
  /** Circuits of one link that are not confirmed, at most. */
  readonly maxUnconfirmed: number;
  readonly counters: { accepted: number };
}

/** Why a circuit is not accepted. */
export interface Refusal {
  readonly code: number;
  readonly reason: string;
}

/** Those of one link. */
export class Unconfirmed {
  private count = 0;

  constructor(private readonly host: UnconfirmedHost) {}

  /** Answers an OPEN whose claim holds; its server gets the circuit once it is confirmed. */
  accept(
    stream: MuxStream,
    server: AnyServer,
    claim: DialClaim,
    far: FarEnd,
    { service, port, srcPort }: { readonly service: string; readonly port: number; readonly srcPort: number },
  ): Refusal | undefined {
    const { host } = this;
    if (this.count >= host.maxUnconfirmed) {
      return { code: ReplyCode.LIMIT, reason: `${this.count} circuits have not been confirmed (acceptBacklog)` };
    }
    let answer: SecureAnswer;
    try {
      answer = claim.accept(port);
    } catch (error) {
      host.security.refused(far.peerId, far.via, error as Error);
      return { code: ReplyCode.INSECURE, reason: (error as Error).message };
    }
    stream.accept();
    const wait = new Wait(host, server, far);
    const secure = SecureStream.accepted(stream, answer.keys, (error) => {
      this.count--;
      wait.onConfirm(error);
    });
    const socket = server[kAdmit](secure, far, service, port, srcPort);
    if (socket === null) {
      secure.forgo();
      return { code: ReplyCode.LIMIT, reason: 'the server has as many connections as it may (maxConnections)' };
    }
    this.count++;
    wait.start(secure, socket);
    const reply = encodeReply({ code: ReplyCode.ACCEPTED, port, at: host.nodeId, proof: answer.proof });
    if (!stream.write(reply)) stream.sink = new QueuedPrefix(secure, reply.length);
    return undefined;
  }
}

/** One of them. */
class Wait implements Timed {
  private timer: Timer | null = null;
  private stream: SecureStream | null = null;
  private socket: Socket | null = null;

  constructor(
    private readonly host: UnconfirmedHost,
    private readonly server: AnyServer,
    private readonly far: FarEnd,
  ) {}

  start(stream: SecureStream, socket: Socket): void {
    this.stream = stream;
    this.socket = socket;
    this.timer = this.host.timers.schedule(this.host.openTimeoutMs, this);
  }

  /** `failure`: why it never will be. */
  onConfirm(failure: Error | undefined): void {
    const { host, socket, timer } = this;
    if (timer !== null) host.timers.cancel(timer);
    this.timer = null;
    this.stream = null;
    this.socket = null;
    if (socket === null) return;
    if (failure === undefined) {
      host.counters.accepted++;
      this.server[kAnnounce](socket);
    } else if ((failure as { code?: string }).code === 'ERR_STARLANE_SECURE') {
      // Not that the dialler has gone, or a link.
      host.security.refused(this.far.peerId, this.far.via, failure);
    }
  }

  onDeadline(): void {
    this.timer = null;
    // A process that was busy looks first at what has arrived meanwhile.
    this.host.timers.clock.setImmediate(() => {
      const error = starlaneError('ERR_STARLANE_SECURE', 'it was not confirmed in time');
      this.stream?.kill(error, ResetReason.TIMEOUT);
    });
  }
}
