// A lane: the session with one receiver, over one circuit after another.
//
//   DIALLING ──welcome──> OPEN ──lost──> RESUMING ──welcome──> OPEN
//       │                  │ idle            │ gone, or too late
//       └───> CLOSED <─────┴─────────────────┘
//
// Nothing is written before the receiver has said that it has the session. So what was written before a circuit is lost is either in the
// session, where its outcome can be asked for, or the session is gone.

import type { NodeId } from '../../address.js';
import { netError, starlaneError } from '../../errors.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { chance } from '../../util/choice.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { CircuitOwner, LaneCircuit } from '../circuit.js';
import {
  FrameType,
  type FrameWriter,
  MalformedFrame,
  type OutcomeFields,
  readBare,
  readNumber,
  readOutcome,
  readWelcome,
  Welcome,
  type WelcomeFields,
} from '../wire/frames.js';
import { CircuitKind, encodePreamble, type SessionName } from '../wire/preamble.js';
import type { Receiver } from './directory.js';
import type { Outgoing, OutgoingPlace } from './outgoing.js';
import { SenderSession } from './session.js';

const State = { DIALLING: 0, OPEN: 1, RESUMING: 2, CLOSED: 3 } as const;

/** Outcomes that are confirmed at once, and how long fewer of them wait for a frame to travel with. */
const ACK_AT = 128;
const ACK_MS = 200;

const REDIAL: BackOff = { minMs: 20, maxMs: 500 };

/** How often a lane that is to close looks whether it may. */
const RETIRING_MS = 20;

/** A circuit that is being dialled. */
export interface LaneDial {
  cancel(): void;
}

export interface LaneHost {
  readonly timers: Timers;
  readonly resumeMs: number;
  readonly idleMs: number;
  /** Begins a circuit with `preamble`, and calls `onCircuit` or `onDialFailed` of the lane later, unless it is cancelled. */
  dial(lane: Lane, preamble: Buffer, timeoutMs: number, isResumed: boolean): LaneDial;
  /** The name of a session that was never used. */
  newSession(): SessionName;
  onOutcome(lane: Lane, out: Outgoing, outcome: OutcomeFields, bytes: Buffer): void;
  /** The receiver wants the content of a message. */
  onWanted(lane: Lane, out: Outgoing): void;
  /** The receiver takes no more messages: what waits is for others. What is on its way still gets its outcome. */
  onLeaving(lane: Lane, waiting: readonly Outgoing[]): void;
  /** The receiver has the session. */
  onWelcomed(lane: Lane): void;
  /**
   * The lane is over. `written`: what the receiver may have. `waiting`: what it certainly does not have. `wasWelcome`: it has had a session.
   */
  onClosed(
    lane: Lane,
    error: Error,
    written: readonly Outgoing[],
    waiting: readonly Outgoing[],
    wasWelcome: boolean,
  ): void;
}

export class Lane implements CircuitOwner, OutgoingPlace {
  private readonly session = new SenderSession();
  readonly name: SessionName;
  private state: number = State.DIALLING;
  private circuit: LaneCircuit | undefined;
  private dialling: LaneDial | undefined;
  /** The receiver has welcomed the current circuit. */
  private isWelcome = false;
  private isRetired = false;
  private isEnding = false;
  isLeaving = false;
  /** When the search for a lost receiver ends. */
  private resumeUntilMs = 0;
  private lastFailure: Error | undefined;
  private failures = 0;
  private readonly redial: Deadline;
  private readonly rest: Deadline;
  private readonly ackTimer: Deadline;
  /** Until when the receiver has to say that it has the session. */
  private readonly welcomeBy: Deadline;
  private lastUsedMs: number;
  /** Outcomes on their way, and answers that are being fetched. */
  private holds = 0;

  constructor(
    private readonly host: LaneHost,
    readonly receiver: Receiver,
  ) {
    const { timers } = host;
    this.name = host.newSession();
    this.redial = new Deadline(timers, () => this.connect());
    this.rest = new Deadline(timers, () => this.onRest());
    this.ackTimer = new Deadline(timers, () => {
      if (this.session.owesAck > 0) this.circuit?.request();
    });
    this.welcomeBy = new Deadline(timers, () => this.close(this.lastFailure ?? late(this.nodeId)));
    this.lastUsedMs = timers.now();
    this.rest.set(host.idleMs);
  }

  /** Starts. Not in the constructor, as the host has to know the lane first. */
  start(): void {
    this.connect();
  }

  get nodeId(): NodeId {
    return this.receiver.nodeId;
  }

  get isClosed(): boolean {
    return this.state === State.CLOSED;
  }

  get isOpen(): boolean {
    return this.state === State.OPEN;
  }

  /** Messages without an outcome. */
  get size(): number {
    return this.session.size;
  }

  add(out: Outgoing): void {
    out.place = this;
    this.session.add(out);
    this.circuit?.request();
  }

  /** Takes out what has not left. */
  takeWaiting(): Outgoing[] {
    return this.session.takeWaiting();
  }

  /** Keeps the lane, while something that belongs to its session is on its way elsewhere. */
  hold(): void {
    this.holds++;
  }

  release(): void {
    this.holds--;
    this.lastUsedMs = this.host.timers.now();
  }

  onGivenUp(out: Outgoing): void {
    if (!this.session.giveUp(out)) this.circuit?.request();
  }

  /** Says that the content of a message does not come. */
  refuseBody(out: Outgoing): void {
    this.session.refuseBody(out.number);
    this.circuit?.request();
  }

  /** Closes the lane as soon as nothing is on its way. */
  retire(): void {
    this.isRetired = true;
    this.rest.set(0);
  }

  /** Ends the lane at once. */
  close(error: Error): void {
    if (this.isClosed) return;
    const wasWelcome = this.state !== State.DIALLING;
    this.state = State.CLOSED;
    this.redial.clear();
    this.rest.clear();
    this.ackTimer.clear();
    this.welcomeBy.clear();
    this.dialling?.cancel();
    this.dialling = undefined;
    this.circuit?.destroy();
    this.circuit = undefined;
    const { written, waiting } = this.session.takeAll();
    this.host.onClosed(this, error, written, waiting, wasWelcome);
  }

  // --- the circuit ---

  private connect(): void {
    const { host, name } = this;
    const isResumed = this.state === State.RESUMING;
    const leftMs = isResumed ? this.resumeUntilMs - host.timers.now() : host.resumeMs;
    if (leftMs <= 0) {
      this.close(this.lastFailure ?? starlaneError('ERR_STARLANE_LINK_LOST'));
      return;
    }
    if (!this.welcomeBy.isSet) this.welcomeBy.set(leftMs);
    const preamble = encodePreamble({ kind: CircuitKind.LANE, ...name, isResumed, outcomes: this.session.received });
    this.dialling = host.dial(this, preamble, leftMs, isResumed);
  }

  /** Called when the circuit is there. */
  onCircuit(circuit: LaneCircuit): void {
    this.dialling = undefined;
    this.circuit = circuit;
    this.isWelcome = false;
  }

  onDialFailed(error: Error): void {
    this.dialling = undefined;
    if (this.state === State.RESUMING) this.retry(error);
    else this.close(error);
  }

  onLost(_circuit: LaneCircuit, error: Error | undefined, malformed: boolean): void {
    this.circuit = undefined;
    const failure = error ?? starlaneError('ERR_STARLANE_STREAM_RESET', 'the receiver has ended the lane');
    if (malformed) {
      this.close(starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', failure.message, failure));
      return;
    }
    if (this.state === State.DIALLING) this.close(failure);
    else if (this.isIdle) this.close(failure);
    else this.resume(failure);
  }

  private resume(failure: Error): void {
    if (this.state === State.OPEN) {
      this.state = State.RESUMING;
      this.resumeUntilMs = this.host.timers.now() + this.host.resumeMs;
      this.lastFailure = failure;
      this.failures = 0;
      this.connect();
    } else this.retry(failure);
  }

  private retry(failure: Error): void {
    this.lastFailure = failure;
    const now = this.host.timers.now();
    const waitMs = Math.min(backOffMs(this.failures++, REDIAL, chance), Math.max(0, this.resumeUntilMs - now));
    this.redial.set(waitMs);
  }

  // --- frames ---

  onFrame(type: number, bytes: Buffer, from: number, to: number): void {
    if (!this.isWelcome) {
      if (type !== FrameType.WELCOME) throw new MalformedFrame('no welcome');
      this.onWelcome(readWelcome(bytes, from, to));
      return;
    }
    switch (type) {
      case FrameType.OUTCOME: {
        const outcome = readOutcome(bytes, from, to);
        const out = this.session.takeOutcome(outcome.number);
        this.host.onOutcome(this, out, outcome, bytes);
        // Also for what waits for credit.
        if (this.session.owesAck >= ACK_AT || this.session.waits) this.circuit?.request();
        else if (!this.ackTimer.isSet) this.ackTimer.set(ACK_MS);
        if (this.isRetired && this.isIdle) this.rest.set(0);
        return;
      }
      case FrameType.WANT: {
        const out = this.session.written.get(readNumber(bytes, from, to));
        // Its outcome may have crossed.
        if (out !== undefined) this.host.onWanted(this, out);
        return;
      }
      case FrameType.LEAVING:
        readBare(from, to);
        this.leave();
        return;
      default:
        throw new MalformedFrame(`a frame of type ${type}`);
    }
  }

  private onWelcome(welcome: WelcomeFields): void {
    const { status } = welcome;
    const isResumed = this.state === State.RESUMING;
    if (status === Welcome.NEW || status === Welcome.RESUMED) {
      if (isResumed !== (status === Welcome.RESUMED)) throw new MalformedFrame('another welcome than was asked for');
      this.session.onWelcome(welcome);
      this.state = State.OPEN;
      this.isWelcome = true;
      this.welcomeBy.clear();
      if (!isResumed) this.host.onWelcomed(this);
      this.circuit?.request();
      return;
    }
    if (status === Welcome.GONE)
      this.close(starlaneError('ERR_STARLANE_LINK_LOST', 'the receiver does not know the session any more'));
    else if (status === Welcome.FULL)
      this.close(starlaneError('ERR_STARLANE_QUEUE_FULL', 'the receiver has too many senders'));
    else this.close(starlaneError('ERR_STARLANE_CLOSED', 'the receiver is about to close'));
  }

  /** The receiver takes no more. */
  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.host.onLeaving(this, this.session.takeWaiting());
    this.retire();
  }

  fill(writer: FrameWriter): void {
    if (!this.isWelcome) return;
    const { session, host } = this;
    const now = host.timers.now();
    this.lastUsedMs = now;
    session.fill(writer, now);
    if (this.isEnding) writer.bare(FrameType.CLOSE);
  }

  private get isIdle(): boolean {
    return this.session.isIdle && this.holds === 0;
  }

  /** Closes a lane that nobody uses. */
  private onRest(): void {
    const { host } = this;
    const leftMs = this.isRetired ? 0 : host.idleMs - (host.timers.now() - this.lastUsedMs);
    if (!this.isIdle || this.state === State.RESUMING)
      this.rest.set(this.isRetired ? RETIRING_MS : Math.max(leftMs, host.idleMs / 4));
    else if (leftMs > 0) this.rest.set(leftMs);
    else this.endInOrder();
  }

  private endInOrder(): void {
    const { circuit } = this;
    this.circuit = undefined;
    if (circuit !== undefined) {
      this.isEnding = true;
      circuit.end();
    }
    this.close(starlaneError('ERR_STARLANE_CLOSED', 'the lane was idle'));
  }
}

function late(nodeId: NodeId): Error {
  return netError('ETIMEDOUT', 'connect', { address: `@${nodeId}` });
}
