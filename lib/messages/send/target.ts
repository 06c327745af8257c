// A target of this node: its lanes, which of them a message takes, and what waits for a receiver.
//
// Messages stick to one receiver as long as its lane lasts, so that their order holds. Calls take the less busy one of two receivers that
// are picked at random by their weights.

import { v4 as uuid } from 'uuid';
import type { NodeId } from '../../address.js';
import { codeOf, netError } from '../../errors.js';
import { backOffMs } from '../../util/back-off.js';
import { chance } from '../../util/choice.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { notHandled, outcomeUnknown } from '../outcome.js';
import type { OutcomeFields } from '../wire/frames.js';
import { RUN_BYTES, type SessionName } from '../wire/preamble.js';
import type { Receiver } from './directory.js';
import { Lane, type LaneDial, type LaneHost } from './lane.js';
import { type Outgoing, type OutgoingPlace, OutgoingState } from './outgoing.js';

const RETRY = { minMs: 50, maxMs: 2_000 };

export interface TargetHost {
  readonly timers: Timers;
  readonly resumeMs: number;
  readonly idleMs: number;
  /** Returns the receivers that the target has now. */
  receivers(target: Target): readonly Receiver[];
  /** @param waits whether to wait for a receiver that the directory does not have now */
  dial(lane: Lane, preamble: Buffer, timeoutMs: number, waits: boolean): LaneDial;
  onOutcome(target: Target, lane: Lane, out: Outgoing, outcome: OutcomeFields, bytes: Buffer): void;
  onWanted(lane: Lane, out: Outgoing): void;
  readonly onWarning: (error: Error) => void;
}

/** What is known of a receiver that could not be reached. */
interface Fault {
  failures: number;
  untilMs: number;
  error: Error;
}

export class Target implements LaneHost, OutgoingPlace {
  readonly timers: Timers;
  readonly resumeMs: number;
  readonly idleMs: number;
  private readonly lanes = new Map<NodeId, Lane>();
  /** Lanes that take no more messages, and those that have others in their place. */
  private readonly leaving = new Set<Lane>();
  private readonly faults = new Map<NodeId, Fault>();
  /** The lane of messages. */
  private sticky: Lane | undefined;
  /** Messages that wait for a receiver, or until the one before has answered everything. */
  private readonly parked = new Set<Outgoing>();
  /** Calls that wait for a receiver. */
  private readonly parkedCalls = new Set<Outgoing>();
  private readonly retry: Deadline;
  private known: readonly Receiver[] | undefined;
  /** Of this target alone: another one may lead to the same inbox, and a session there ends the one before it of the same run. */
  private readonly run = uuid(undefined, Buffer.alloc(RUN_BYTES)).toString('latin1');
  private epoch = 0;

  constructor(
    private readonly host: TargetHost,
    readonly name: string,
    /** Whether the target is one node: then its refusal is final. */
    readonly isNode: boolean,
  ) {
    this.timers = host.timers;
    this.resumeMs = host.resumeMs;
    this.idleMs = host.idleMs;
    this.retry = new Deadline(host.timers, () => this.release());
  }

  /** Nothing waits, and there is no lane. */
  get isIdle(): boolean {
    return this.lanes.size === 0 && this.leaving.size === 0 && this.parked.size === 0 && this.parkedCalls.size === 0;
  }

  get laneCount(): number {
    return this.lanes.size + this.leaving.size;
  }

  send(out: Outgoing): void {
    if (out.command !== undefined) this.sendCall(out);
    else if (this.parked.size > 0) this.park(out);
    else this.sendMessage(out);
  }

  private sendMessage(out: Outgoing): void {
    const { sticky } = this;
    if (sticky !== undefined) {
      if (sticky.isLeaving) this.park(out);
      else sticky.add(out);
      return;
    }
    const lane = this.pick(out);
    if (lane === undefined) this.park(out);
    else {
      this.sticky = lane;
      lane.add(out);
    }
  }

  private sendCall(out: Outgoing): void {
    const lane = this.pick(out);
    if (lane !== undefined) lane.add(out);
    else this.park(out);
  }

  private park(out: Outgoing): void {
    if (out.isSettled) return;
    out.place = this;
    if (out.command === undefined) this.parked.add(out);
    else this.parkedCalls.add(out);
  }

  onGivenUp(out: Outgoing): void {
    if (out.command !== undefined) {
      this.parkedCalls.delete(out);
      return;
    }
    this.parked.delete(out);
  }

  /** Called when the directory has changed. */
  onChanged(): void {
    this.known = undefined;
    if (this.parked.size > 0 || this.parkedCalls.size > 0) this.release();
  }

  /** Sends what waits, as far as it has a receiver now. */
  private release(): void {
    const calls = [...this.parkedCalls];
    this.parkedCalls.clear();
    for (const out of calls) this.sendCall(out);
    this.releaseParked();
  }

  private releaseParked(): void {
    if (this.parked.size === 0) return;
    const { sticky } = this;
    if (sticky?.isLeaving) {
      if (!sticky.isClosed && sticky.size > 0) return;
      this.sticky = undefined;
    }
    for (const out of this.takeParked()) this.send(out);
  }

  private takeParked(): Outgoing[] {
    const parked = [...this.parked].sort((a, b) => a.order - b.order);
    this.parked.clear();
    return parked;
  }

  // --- receivers ---

  /** Returns the lane for a message or call; undefined while there is no receiver, or when it has failed. */
  private pick(out: Outgoing): Lane | undefined {
    let known: readonly Receiver[];
    try {
      known = this.receivers();
    } catch (error) {
      // Several members have the name, maybe only since it waits.
      out.fail(notHandled(this.name, error));
      return undefined;
    }
    if (known.length === 1 && out.avoided === undefined && this.faults.size === 0) {
      // The usual case.
      const lane = this.lanes.get(known[0].nodeId);
      if (lane !== undefined) return lane;
    }
    const now = this.timers.now();
    let usable = known.filter((one) => this.mayUse(one, now));
    const { avoided } = out;
    if (avoided !== undefined) {
      const others = usable.filter(({ nodeId }) => !avoided.includes(nodeId));
      if (others.length > 0) usable = others;
    }
    if (usable.length === 0) {
      this.waitForFaults(out, now);
      return undefined;
    }
    const first = byWeight(usable);
    const second = usable.length === 1 || out.command === undefined ? first : byWeight(usable);
    const best = this.loadOf(second) < this.loadOf(first) ? second : first;
    return this.laneTo(best);
  }

  /** @throws ERR_STARLANE_ARGUMENT when several members have the name */
  private receivers(): readonly Receiver[] {
    if (this.known !== undefined) return this.known;
    const known = this.host.receivers(this);
    for (const nodeId of this.faults.keys()) {
      if (!known.some((one) => one.nodeId === nodeId)) this.faults.delete(nodeId);
    }
    this.known = known;
    return known;
  }

  private mayUse({ nodeId }: Receiver, now: number): boolean {
    const fault = this.faults.get(nodeId);
    return fault === undefined || now >= fault.untilMs;
  }

  private loadOf({ nodeId }: Receiver): number {
    return this.lanes.get(nodeId)?.size ?? 0;
  }

  private laneTo(receiver: Receiver): Lane {
    const existing = this.lanes.get(receiver.nodeId);
    if (existing !== undefined) return existing;
    const lane = new Lane(this, receiver);
    this.lanes.set(receiver.nodeId, lane);
    lane.start();
    return lane;
  }

  private waitForFaults(out: Outgoing, now: number): void {
    let untilMs = Number.POSITIVE_INFINITY;
    for (const [nodeId, fault] of this.faults) {
      if (!this.known?.some((one) => one.nodeId === nodeId)) this.faults.delete(nodeId);
      else {
        untilMs = Math.min(untilMs, fault.untilMs);
        out.failure = fault.error;
      }
    }
    if (untilMs !== Number.POSITIVE_INFINITY && !this.retry.isSet) this.retry.set(Math.max(1, untilMs - now));
  }

  private onFault(nodeId: NodeId, error: Error): void {
    const failures = this.faults.get(nodeId)?.failures ?? 0;
    const untilMs = this.timers.now() + backOffMs(failures, RETRY, chance);
    this.faults.set(nodeId, { failures: failures + 1, untilMs, error });
  }

  /** Whether waiting changes nothing. */
  private isFinal(error: Error): boolean {
    const code = codeOf(error);
    if (code === 'EACCES') return this.isNode || (this.known?.length ?? 0) <= 1;
    return this.isNode && code === 'ECONNREFUSED';
  }

  // --- lanes ---

  dial(lane: Lane, preamble: Buffer, timeoutMs: number, isResumed: boolean): LaneDial {
    return this.host.dial(lane, preamble, timeoutMs, isResumed);
  }

  newSession(): SessionName {
    return { run: this.run, epoch: ++this.epoch >>> 0 };
  }

  onWelcomed(lane: Lane): void {
    this.faults.delete(lane.nodeId);
  }

  onOutcome(lane: Lane, out: Outgoing, outcome: OutcomeFields, bytes: Buffer): void {
    this.host.onOutcome(this, lane, out, outcome, bytes);
    if (lane === this.sticky && lane.isLeaving && lane.size === 0) this.releaseParked();
  }

  onWanted(lane: Lane, out: Outgoing): void {
    this.host.onWanted(lane, out);
  }

  /** A receiver has given a message back, as it is about to close. */
  onReturned(lane: Lane, out: Outgoing): void {
    lane.leave();
    out.state = OutgoingState.WAITING;
    avoid(out, lane.nodeId);
    if (out.command === undefined) this.park(out);
    else this.sendCall(out);
  }

  onLeaving(lane: Lane, waiting: readonly Outgoing[]): void {
    if (this.lanes.get(lane.nodeId) === lane) this.lanes.delete(lane.nodeId);
    this.leaving.add(lane);
    // The directory may not know it yet.
    this.onFault(lane.nodeId, netError('ECANCELED', 'message', { address: `@${lane.nodeId}` }));
    this.moveOn(waiting);
    if (lane === this.sticky && lane.size === 0) this.releaseParked();
  }

  onClosed(
    lane: Lane,
    error: Error,
    written: readonly Outgoing[],
    waiting: readonly Outgoing[],
    wasWelcome: boolean,
  ): void {
    if (this.lanes.get(lane.nodeId) === lane) this.lanes.delete(lane.nodeId);
    this.leaving.delete(lane);
    if (this.sticky === lane) this.sticky = undefined;
    if (!wasWelcome) this.onFault(lane.nodeId, error);
    if (codeOf(error) === 'ERR_STARLANE_MESSAGE_PROTOCOL') this.host.onWarning(error);
    for (const out of written) this.onUnknown(lane, out, error);
    if (!wasWelcome && this.isFinal(error)) {
      for (const out of waiting) out.fail(notHandled(this.name, error));
      for (const out of this.takeParked()) out.fail(notHandled(this.name, error));
    } else this.moveOn(waiting);
    this.releaseParked();
  }

  private onUnknown(lane: Lane, out: Outgoing, error: Error): void {
    if (out.isIdempotent && !out.isSourceUsed) {
      out.state = OutgoingState.WAITING;
      out.isDoubtful = true;
      out.failure = error;
      avoid(out, lane.nodeId);
      if (out.command === undefined) this.park(out);
      else this.sendCall(out);
      return;
    }
    out.fail(outcomeUnknown(this.name, error));
  }

  /** Finds another receiver for what has not left. */
  private moveOn(waiting: readonly Outgoing[]): void {
    for (const out of waiting) {
      if (out.command === undefined) this.park(out);
      else this.sendCall(out);
    }
  }

  /** Closes the lanes as soon as nothing is on its way. */
  retire(): void {
    for (const lane of [...this.lanes.values(), ...this.leaving]) lane.retire();
  }

  /** Gives up what has not left, and has the lanes end when the rest has its outcomes. */
  close(error: Error): void {
    for (const out of [...this.takeParked(), ...this.parkedCalls]) out.fail(notHandled(this.name, error));
    this.parkedCalls.clear();
    this.retry.clear();
    for (const lane of [...this.lanes.values(), ...this.leaving]) {
      for (const out of lane.takeWaiting()) out.fail(notHandled(this.name, error));
      lane.retire();
    }
  }

  /** Ends the lanes at once. */
  end(error: Error): void {
    for (const lane of [...this.lanes.values(), ...this.leaving]) lane.close(error);
    this.close(error);
  }
}

function avoid(out: Outgoing, nodeId: NodeId): void {
  out.avoided ??= [];
  if (!out.avoided.includes(nodeId)) out.avoided.push(nodeId);
}

/** Returns one at random by the weights; of weight 0 only when there is no other. */
function byWeight(receivers: readonly Receiver[]): Receiver {
  if (receivers.length === 1) return receivers[0];
  let total = 0;
  for (const { weight } of receivers) total += weight;
  if (total === 0) return receivers[Math.floor(chance() * receivers.length)];
  let left = chance() * total;
  for (const receiver of receivers) {
    left -= receiver.weight;
    if (left < 0) return receiver;
  }
  return receivers[receivers.length - 1];
}
