// Secure circuits on their way to a server. First the dialler's proof is checked, for a few circuits in each turn of the event loop
// (ProofQueue). Then the reply goes out, and the dialler has to confirm (PendingConfirmations): what it has signed may be a copy,
// sent by a node without the keys. The server does not see the circuit before that.

import { codeOf, starlaneError } from '../../errors.js';
import { kAdmit, kAnnounce } from '../../mux/hidden.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import type { AnyServer } from '../../socket/server.js';
import type { Socket } from '../../socket/socket.js';
import { NextTurn } from '../../util/next-turn.js';
import { guard } from '../../util/runtime/throw-later.js';
import type { Clock, Timed, Timer } from '../../util/timers.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import type { AcceptorHost } from '../accept/acceptor.js';
import type { IncomingCircuit } from '../accept/pending-open.js';
import type { Preparation } from '../accept/preparation.js';
import { SERVER_FULL } from '../bindings.js';
import { QueuedPrefix } from '../open/pass-through.js';
import type { AcceptTrace } from '../trace/accept-trace.js';
import type { AcceptHandshake, SecureAnswer } from './handshake.js';
import type { Rejection } from './security.js';
import { SecureStream } from './stream.js';

/** About two milliseconds: a check takes half a millisecond, and costs its sender a few microseconds. */
const PROOFS_PER_TURN = 4;

/** A circuit that keeps what comes while it waits. */
interface Waiting {
  /** `onGone` is called when it has ended before its turn. */
  wait(onGone: () => void): void;
}

/** The proofs of one link: those beyond the limit of a turn wait. */
export class ProofQueue<Circuit extends Waiting = IncomingCircuit> {
  private left = PROOFS_PER_TURN;
  private readonly nextTurn: NextTurn;
  private readonly waiting = new Set<Circuit>();

  /** @param check goes on with a circuit whose turn has come */
  constructor(
    clock: Clock,
    private readonly check: (circuit: Circuit) => void,
  ) {
    this.nextTurn = new NextTurn(clock, () => {
      this.left = PROOFS_PER_TURN;
      this.work();
    });
  }

  /** How many circuits wait. */
  get size(): number {
    return this.waiting.size;
  }

  /** The circuits that wait. */
  circuits(): Iterable<Circuit> {
    return this.waiting;
  }

  /** Returns whether a proof may be checked at once, and counts it if so. */
  take(): boolean {
    if (this.left === 0 || this.waiting.size > 0) return false;
    this.left--;
    this.nextTurn.request();
    return true;
  }

  wait(circuit: Circuit): void {
    this.waiting.add(circuit);
    circuit.wait(() => this.waiting.delete(circuit));
    this.nextTurn.request();
  }

  private work(): void {
    for (const circuit of this.waiting) {
      if (this.left === 0) break;
      this.left--;
      this.waiting.delete(circuit);
      guard(() => this.check(circuit));
    }
    if (this.left < PROOFS_PER_TURN) this.nextTurn.request();
  }
}

/** The circuits of one link that were accepted and are not confirmed. */
export class PendingConfirmations {
  private count = 0;

  constructor(private readonly host: AcceptorHost) {}

  /** Answers an OPEN whose proof holds; its server gets the circuit once it is confirmed. */
  accept(
    stream: MuxStream,
    server: AnyServer,
    handshake: AcceptHandshake,
    remote: RemoteEndpoint,
    { service, port, srcPort }: { readonly service: string; readonly port: number; readonly srcPort: number },
    trace: AcceptTrace | null = null,
    preparation: Preparation | undefined = undefined,
  ): Rejection | undefined {
    const { host } = this;
    if (this.count >= host.maxUnconfirmed) {
      return { code: ReplyCode.LIMIT, reason: `${this.count} circuits have not been confirmed (acceptBacklog)` };
    }
    let answer: SecureAnswer;
    try {
      answer = handshake.accept(port);
    } catch (error) {
      host.security.refused(remote.peerId, remote.via, error as Error);
      return { code: ReplyCode.INSECURE, reason: (error as Error).message };
    }
    stream.accept();
    const pending = new PendingConfirmation(host, server, remote, trace, preparation);
    const secure = SecureStream.accepted(stream, answer.keys, (error, context) => {
      this.count--;
      if (error === undefined) host.security.onConfirmed(handshake);
      pending.onConfirm(error, context);
    });
    const socket = server[kAdmit](secure, remote, service, port, srcPort);
    if (socket === null) {
      secure.release();
      return { code: ReplyCode.LIMIT, reason: SERVER_FULL };
    }
    this.count++;
    host.watch(remote, stream, socket);
    pending.start(secure, socket);
    const reply = encodeReply({ code: ReplyCode.ACCEPTED, port, at: host.nodeId, proof: answer.proof });
    const first = answer.behind.length === 0 ? reply : Buffer.concat([reply, answer.behind]);
    if (!stream.write(first)) stream.sink = new QueuedPrefix(secure, first.length);
    return undefined;
  }
}

/** One circuit that is not confirmed. */
class PendingConfirmation implements Timed {
  private timer: Timer | null = null;
  private stream: SecureStream | null = null;
  private socket: Socket | null = null;

  constructor(
    private readonly host: AcceptorHost,
    private readonly server: AnyServer,
    private readonly remote: RemoteEndpoint,
    private readonly trace: AcceptTrace | null,
    private readonly preparation: Preparation | undefined,
  ) {}

  start(stream: SecureStream, socket: Socket): void {
    this.stream = stream;
    this.socket = socket;
    this.timer = this.host.timers.schedule(this.host.openTimeoutMs, this);
  }

  /** @param failure why the circuit will never be confirmed. @param context the trace context in the confirmation, maybe empty */
  onConfirm(failure: Error | undefined, context: Buffer): void {
    const { host, socket, timer, trace } = this;
    if (timer !== null) host.timers.cancel(timer);
    this.timer = null;
    this.stream = null;
    this.socket = null;
    if (socket === null) return;
    if (failure === undefined) {
      host.counters.accepted++;
      if (this.remote.isQuantumSafe === true) host.counters.quantumSafe++;
      const prepared = this.preparation?.value;
      if (trace === null) this.server[kAnnounce](socket, prepared);
      else {
        if (context.length > 0) trace.onContext(context);
        this.server[kAnnounce](socket, prepared, (emit) => trace.accept(emit, this.remote));
      }
      return;
    }
    this.preparation?.abandon();
    if (codeOf(failure) === 'ERR_STARLANE_SECURE') {
      // Not when the dialler, or a link, has gone.
      host.security.refused(this.remote.peerId, this.remote.via, failure);
      trace?.refuse(ReplyCode.INSECURE, failure.message);
    }
  }

  onDeadline(): void {
    this.timer = null;
    this.host.timers.afterInput(() => {
      const error = starlaneError('ERR_STARLANE_SECURE', 'it was not confirmed in time');
      this.stream?.destroy(error, ResetReason.TIMEOUT);
    });
  }
}
