// A session at the receiver, with the circuit it has at the moment, if any. Without one it is kept for a while: its sender may come back.

import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { CircuitOwner, LaneCircuit } from '../circuit.js';
import type { FrameWriter } from '../wire/frames.js';
import type { Incoming, Sender } from './incoming.js';
import { type Credit, ReceiverSession, type SessionHost } from './session.js';

/** How long a session without a circuit is kept, in ms. Longer than senders search for it. */
export const KEEP_MS = 60_000;
/** How long its contents are waited for when its sender has begun another session: as long as senders search by default. */
export const ABANDON_MS = 5_000;

export interface LaneEndHost {
  readonly timers: Timers;
  onMessage(incoming: Incoming): void;
  onSettled(incoming: Incoming): void;
  onCancel(incoming: Incoming): void;
  onNoBody(incoming: Incoming): void;
  onApart(incoming: Incoming): void;
  /** A sender has broken the protocol. */
  onMalformed(sender: Sender, error: Error): void;
  /** A session has lost its circuit. */
  onDetached(): void;
  /** The contents that a session has not got do not come. */
  onAbandoned(session: ReceiverSession): void;
  /** The session is over. `waiting`: what has not begun, and must not begin any more. */
  onRetired(end: LaneEnd, waiting: readonly Incoming[]): void;
}

export class LaneEnd implements CircuitOwner, SessionHost {
  readonly session: ReceiverSession;
  readonly timers: Timers;
  private circuit: LaneCircuit | undefined;
  private readonly forgetting: Deadline;
  private readonly abandoning: Deadline;
  private isLeaving = false;

  constructor(
    private readonly host: LaneEndHost,
    run: string,
    epoch: number,
    readonly sender: Sender,
    readonly credit: Credit,
  ) {
    this.timers = host.timers;
    this.session = new ReceiverSession(this, run, epoch, sender, credit);
    this.forgetting = new Deadline(host.timers, () => this.retire());
    this.abandoning = new Deadline(host.timers, () => {
      this.session.isAbandoned = true;
      host.onAbandoned(this.session);
    });
  }

  get isAttached(): boolean {
    return this.circuit !== undefined;
  }

  /** Gives the session another circuit. @throws MalformedFrame */
  attach(circuit: LaneCircuit, status: number, outcomes: number, sender: Sender): void {
    this.circuit?.destroy();
    this.circuit = circuit;
    this.forgetting.clear();
    this.abandoning.clear();
    this.session.attach(status, outcomes, sender);
    if (this.isLeaving) this.session.leave();
  }

  /** Ends the session at once. */
  retire(): void {
    if (this.session.isRetired) return;
    this.forgetting.clear();
    this.abandoning.clear();
    const waiting = this.session.retire();
    this.circuit?.destroy();
    this.circuit = undefined;
    this.host.onRetired(this, waiting);
  }

  /** Called when its sender has begun another session. It may have started again, and must not wait behind what its last run has not sent. */
  onSuccessor(): void {
    if (!this.isAttached && !this.abandoning.isSet) this.abandoning.set(ABANDON_MS);
  }

  /** Lets the sender know that no more messages are taken. */
  leave(): void {
    this.isLeaving = true;
    this.session.leave();
  }

  // --- the circuit ---

  onFrame(type: number, bytes: Buffer, from: number, to: number): void {
    this.session.onFrame(type, bytes, from, to);
  }

  fill(writer: FrameWriter): void {
    this.session.fill(writer);
  }

  onLost(circuit: LaneCircuit, error: Error | undefined, malformed: boolean): void {
    if (circuit !== this.circuit) return;
    this.circuit = undefined;
    if (malformed) {
      this.host.onMalformed(this.session.sender, error as Error);
      this.retire();
    } else {
      this.forgetting.set(KEEP_MS);
      this.host.onDetached();
    }
  }

  // --- the session ---

  onMessage(incoming: Incoming): void {
    this.host.onMessage(incoming);
  }

  onSettled(incoming: Incoming): void {
    this.host.onSettled(incoming);
  }

  onCancel(incoming: Incoming): void {
    this.host.onCancel(incoming);
  }

  onNoBody(incoming: Incoming): void {
    this.host.onNoBody(incoming);
  }

  onApart(incoming: Incoming): void {
    this.host.onApart(incoming);
  }

  onClose(): void {
    const { circuit } = this;
    this.circuit = undefined;
    circuit?.end();
    this.retire();
  }

  request(): void {
    this.circuit?.request();
  }
}
