// One dial on its way: waiting for the service, for the reply to an OPEN over a direct link, or for a circuit through relays.
// Gone when the socket is connected.
//
// Over a direct link OPEN and what is written leave together. Through relays nothing is sent before the circuit stands,
// so that every failure on the way leaves all other ways open.
//
// An instance that is silent for too long gets a rival, see hedging.ts: nothing that is written leaves from there on until
// one of the two has answered.

import type { NodeId } from '../../address.js';
import { type NetErrorCode, netError, starlaneError } from '../../errors.js';
import type { Selector } from '../../mesh/directory/selector.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import {
  kAttachStream,
  kDetachStream,
  kEstablish,
  kFailConnect,
  kOnAttempt,
  kOnAttemptFailed,
  kOnData,
  kOnEnd,
  kOnReset,
  kOnSent,
  kWhenOver,
} from '../../mux/hidden.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { FarEnd } from '../../socket/far-end.js';
import type { Socket } from '../../socket/socket.js';
import { setImmediate } from '../../util/runtime/real-timers.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { type ReadReply, ReplyCode, tryReadReply } from '../../wire/open-reply.js';
import type { Shortcuts } from '../direct-links.js';
import type { Crankback, CrankbackOwner } from '../open/crankback.js';
import type { HopFailure } from '../open/hop-search.js';
import { QueuedPrefix } from '../open/queued-prefix.js';
import type { Hop, Path, Paths } from '../path.js';
import type { RelayedEnd } from '../remote-endpoints.js';
import type { SecureDial } from '../secure/secure-dial.js';
import type { DialTarget } from './dial-target.js';
import type { DialWishes } from './dial-wishes.js';
import type { Hedging } from './hedging.js';
import { LinkWait } from './link-wait.js';
import { causeOf, netCodeOf } from './open-failure.js';
import { pickInstance } from './pick-instance.js';
import { Rival, type RivalOwner } from './rival.js';

/** How often the ways through relays to one node are searched: each time, what has failed before is tried last. */
const MAX_SEARCHES = 2;
/** Share of the time for a dial that may go by waiting for a direct link, which is asked for but not needed. */
const LINK_SHARE = 0.5;

/** The dialler, as far as an attempt needs it. */
export interface AttemptHost {
  readonly paths: Paths;
  readonly timers: Timers;
  /** Instances that may be tried. Not to be kept. */
  candidates(target: DialTarget, tried: readonly ServiceInstance[] | null): readonly ServiceInstance[];
  /** Whether the service is offered, but only by this node, which may not dial itself. */
  isOnlyHere(target: DialTarget): boolean;
  /** Why nobody is found who offers the service. */
  absenceOf(target: DialTarget): Error;
  /**
   * Opens a stream with an OPEN on it and sets it as the attempt's. Returns how many bytes of OPEN wait in its queue.
   * @throws as Path.open
   */
  openCircuit(attempt: Attempt, path: Path, target: DialTarget, nodeId: NodeId, port: number): number;
  /** Makes a search for a circuit through relays, which is still to be started. */
  searchCircuit(attempt: Attempt, target: DialTarget, nodeId: NodeId, port: number, timeoutMs: number): Crankback;
  /** A circuit through relays stands: connects the socket. `via`: the relays, nearest first. */
  connectRelayed(attempt: Attempt, socket: Socket, stream: MuxStream, to: RelayedEnd): void;
  /** The far end of circuits that are encrypted from end to end. */
  secureEnd(far: FarEnd): FarEnd;
  readonly shortcuts: Shortcuts | undefined;
  readonly hedging: Hedging;
  /** Calls {@link Attempt.onService} when an instance appears. */
  await(attempt: Attempt, service: string): void;
  forgetWait(attempt: Attempt, service: string): void;
  onOver(attempt: Attempt, connected: boolean): void;
}

export class Attempt implements StreamSink, Timed, CrankbackOwner, RivalOwner {
  /** The stream that an answer is awaited on. Set by the dialler. */
  stream: MuxStream | null = null;
  /** This end of the circuit that is being opened, if that is encrypted. Set by the dialler. */
  secure: SecureDial | null = null;
  private timer: Timer | null = null;
  /** When it has to be connected, by the clock of the timers. */
  private deadline = 0;
  private path: Path | null = null;
  /** The search for a circuit through relays that is going on. */
  private crankback: Crankback | null = null;
  private isStarting = false;
  /** Searches for the node that is tried, with those that failed. */
  private searches = 0;
  private linkWait: LinkWait | null = null;
  private nodeId: NodeId = '';
  private port = 0;
  private instance: ServiceInstance | null = null;
  private tried: ServiceInstance[] | null = null;
  /** Why the last instance was no good. */
  private failure: Error | null = null;
  /** The part of a reply that has arrived. */
  private partial: Buffer | null = null;
  /** Bytes of OPEN that wait in the stream's queue. */
  private queuedOpen = 0;
  /** What the user writes goes to the stream. */
  private isAttached = false;
  /** An instance that was asked before the one that is being tried, and may still answer. */
  private rival: Rival | null = null;
  /** When the open that is not answered left, and when to look at it again; 0: not timed yet. */
  private openedMs = 0;
  private lookAtMs = 0;
  private isWaiting = false;
  private isOver = false;

  constructor(
    private readonly dialer: AttemptHost,
    private readonly socket: Socket,
    private readonly target: DialTarget,
    private readonly selector: Selector,
    /** The virtual port of the near end. */
    readonly localPort: number,
    readonly wishes: DialWishes,
  ) {}

  /** What errors say about where it goes. */
  get where(): { address: string; port: number | undefined } {
    return { address: this.target.name, port: this.target.port };
  }

  start(timeoutMs: number): void {
    // The user may destroy the socket at any time.
    this.socket[kWhenOver](() => this.cancel());
    this.deadline = this.dialer.timers.now() + timeoutMs;
    this.next();
    this.setTimer();
  }

  /** Ends the attempt, and the socket with `error` if that is still open. */
  cancel(error?: Error): void {
    if (this.isOver) return;
    this.leave(false);
    const { stream } = this;
    this.stream = null;
    stream?.reset();
    this.crankback?.cancel(ResetReason.NONE);
    if (error !== undefined) this.socket[kFailConnect](error);
  }

  /** An instance of the service has appeared. */
  onService(): void {
    if (this.isWaiting) this.next();
  }

  onDeadline(): void {
    this.timer = null;
    // A process that was busy looks first at what has arrived meanwhile: timers come ahead of input in a turn.
    setImmediate(() => {
      if (!this.isOver) this.onTimer();
    });
  }

  private onTimer(): void {
    const now = this.dialer.timers.now();
    if (now >= this.deadline) this.expire();
    else {
      if (this.stream !== null && this.rival === null) this.lookAt(this.stream, now);
      this.setTimer();
    }
  }

  /** For the deadline, or for the time at which an answer is overdue. */
  private setTimer(): void {
    if (this.isOver) return;
    const { timers, hedging } = this.dialer;
    if (this.timer !== null) timers.cancel(this.timer);
    const now = timers.now();
    let dueMs = this.deadline;
    if (this.stream !== null && this.rival === null) {
      if (this.openedMs === 0) {
        this.openedMs = now;
        this.lookAtMs = now + hedging.waitMs(this.nodeId, false);
      }
      dueMs = Math.min(dueMs, this.lookAtMs);
    }
    this.timer = timers.schedule(dueMs - now, this);
  }

  /** Asks another instance when the answer of this one is overdue. */
  private lookAt(stream: MuxStream, now: number): void {
    const { dialer, nodeId, port, instance, path, secure, partial, openedMs } = this;
    const { hedging } = dialer;
    const waitMs = hedging.waitMs(nodeId, stream.isAcknowledged);
    if (now < openedMs + waitMs) {
      this.lookAtMs = openedMs + waitMs;
      return;
    }
    this.lookAtMs = now + waitMs;
    if (!stream.isAcknowledged) hedging.onOverdue(nodeId, openedMs);
    if (instance === null || path === null || !this.isUnread || !this.hasOthers || !hedging.tryTake()) return;
    this.rival = new Rival(this, stream, { instance, nodeId, port, path, secure, partial }, this.queuedOpen);
    this.stream = null;
    this.isAttached = false;
    this.socket[kDetachStream]();
    this.remember();
    this.next();
  }

  onRivalAccepted(rival: Rival, bytes: Buffer): void {
    const { stream, crankback } = this;
    this.adopt(rival);
    stream?.reset();
    crankback?.cancel(ResetReason.NONE);
    this.partial = null;
    this[kOnData](rival.stream, bytes);
  }

  onRivalLost(rival: Rival): void {
    if (this.rival === rival) this.rival = null;
  }

  /** It is the one that is tried from now on. */
  private adopt(rival: Rival): void {
    const { instance, nodeId, port, path, secure } = rival.asked;
    this.rival = null;
    this.crankback = null;
    this.linkWait?.cancel();
    this.linkWait = null;
    this.instance = instance;
    this.nodeId = nodeId;
    this.port = port;
    this.path = path;
    this.secure = secure;
    this.partial = rival.partial;
    this.queuedOpen = rival.queuedOpen;
    this.stream = rival.stream;
    rival.stream.sink = this;
  }

  /** Nothing that the user has written has left for the instance that is tried. */
  private get isUnread(): boolean {
    return !this.isAttached || this.socket.bytesWritten === 0;
  }

  private expire(): void {
    if (!this.isWaiting) this.fail(this.error('ETIMEDOUT', this.failure ?? undefined));
    else this.fail(this.failure ?? this.error('ENOTFOUND', this.dialer.absenceOf(this.target)));
  }

  // --- the stream, until the reply ---

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    const bytes = this.partial === null ? chunk : Buffer.concat([this.partial, chunk]);
    let read: { reply: ReadReply; bytesRead: number } | undefined;
    try {
      read = tryReadReply(bytes);
    } catch (error) {
      this.lose(this.error('ECONNRESET', error));
      return;
    }
    if (read === undefined) {
      this.partial = Buffer.from(bytes);
      return;
    }
    const { reply, bytesRead } = read;
    const objection = reply.code === ReplyCode.ACCEPTED ? this.objection(reply) : undefined;
    if (objection !== undefined) {
      stream.reset(ResetReason.SECURE);
      this.giveUp(this.error('EHOSTUNREACH', objection));
    } else if (reply.code === ReplyCode.ACCEPTED) this.connect(stream, reply, bytes.subarray(bytesRead), bytesRead);
    else this.giveUp(this.refusal(reply));
  }

  [kOnEnd](): void {
    this.lose(this.error('ECONNRESET', starlaneError('ERR_STARLANE_MESSAGE', 'the stream ended before the reply')));
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    const own = Math.min(bytes, this.queuedOpen);
    this.queuedOpen -= own;
    if (bytes > own) this.socket[kOnSent](stream, bytes - own);
  }

  [kOnReset](stream: MuxStream, error: Error): void {
    this.stream = null;
    // The open has crossed the end of the link, and nobody has seen what was written.
    if (!stream.isAcknowledged && this.path?.canOpen === false) {
      this.giveUp(this.error('EHOSTUNREACH', error), true);
      return;
    }
    // A peer that resets without a word has no room for more streams.
    const refused = (error as { code?: string }).code === 'ERR_STARLANE_STREAM_RESET';
    this.lose(this.error(refused ? 'ECONNREFUSED' : 'ECONNRESET', error));
  }

  private connect(stream: MuxStream, reply: ReadReply, rest: Buffer, replyBytes: number): void {
    const { dialer, socket, path, queuedOpen, secure } = this;
    this.leave(true);
    this.stream = null;
    stream.consumed(replyBytes);
    let { far } = path as Path;
    let sink: StreamSink = socket;
    if (secure !== null) {
      const carried = secure.carry(stream);
      sink = carried;
      far = dialer.secureEnd(far);
      socket[kAttachStream](carried);
    } else if (!this.isAttached) socket[kAttachStream](stream);
    try {
      socket[kEstablish](far, this.target.service, this.localPort, reply.port);
    } finally {
      if (queuedOpen > 0 && stream.sink === sink) stream.sink = new QueuedPrefix(sink, queuedOpen);
      if (rest.length > 0) stream.sink[kOnData](stream, rest);
    }
  }

  /** Why an acceptance does not count: it is to be secure, and is not. */
  objection(reply: ReadReply): Error | undefined {
    return this.secure?.objection(reply);
  }

  // --- the circuit through relays ---

  onCircuit(stream: MuxStream, reply: ReadReply, _hop: Hop): void {
    const { dialer, socket, target, nodeId } = this;
    const tookMs = this.crankback === null ? 0 : this.crankback.tookMs;
    this.crankback = null;
    this.leave(true);
    const { visited: via, port } = reply;
    dialer.connectRelayed(this, socket, stream, { nodeId, via, service: target.service, port, tookMs });
  }

  onNoCircuit(failure: HopFailure): void {
    this.crankback = null;
    this.failure = this.refusal(failure);
    if (this.isStarting) return;
    // It was on its way somewhere, and what was in its way is known now.
    const isTransient = failure.code === ReplyCode.TIMEOUT || failure.error !== undefined;
    if (isTransient && this.searches < MAX_SEARCHES && !this.hasOthers && this.trySearch()) return;
    this.giveUp(this.failure);
  }

  /** Searches for a way through relays; false when there is none, and `failure` says why. */
  private trySearch(): boolean {
    const { dialer, target, nodeId, port } = this;
    this.searches++;
    this.crankback = dialer.searchCircuit(this, target, nodeId, port, this.deadline - dialer.timers.now());
    // Instances without a way must not be tried one inside the other.
    this.isStarting = true;
    this.crankback.start();
    this.isStarting = false;
    return this.crankback !== null;
  }

  /** Asks for a direct link, and goes on when it stands, or when it takes too long. */
  private waitForLink(shortcuts: Shortcuts): void {
    const { timers } = this.dialer;
    const waitMs = (this.deadline - timers.now()) * LINK_SHARE;
    this.linkWait = new LinkWait(shortcuts, this.nodeId, timers, waitMs, () => {
      this.linkWait = null;
      if (this.tryOpen(false)) return;
      this.remember();
      this.next();
    });
  }

  /** Whether the service has instances that have not been tried. */
  private get hasOthers(): boolean {
    const { dialer, target, instance, tried } = this;
    if (instance === null) return false;
    return dialer.candidates(target, tried === null ? [instance] : [...tried, instance]).length > 0;
  }

  // --- instances, one after the other ---

  private next(): void {
    const { target } = this;
    while (!this.isOver) {
      let { nodeId, port } = target;
      if (nodeId === undefined) {
        const instance = this.pick();
        if (instance === undefined) {
          this.onNoInstance();
          return;
        }
        this.instance = instance;
        nodeId = instance.nodeId;
        port = instance.port || port;
      } else if (this.failure !== null) {
        this.fail(this.failure);
        return;
      }
      this.stopWaiting();
      this.nodeId = nodeId;
      this.port = port ?? 0;
      this.searches = 0;
      if (this.tryOpen(this.wishes.wantsLink === true)) return;
      this.remember();
    }
  }

  /** Begins to open a circuit to the node; false when there is no way, and `failure` says why. */
  private tryOpen(wantsLink: boolean): boolean {
    const { dialer, socket, nodeId, port } = this;
    try {
      const path = dialer.paths.toward(nodeId);
      if (path === undefined) {
        const { shortcuts } = dialer;
        if (wantsLink && shortcuts !== undefined) this.waitForLink(shortcuts);
        else if (!this.trySearch()) return false;
        else socket[kOnAttempt](nodeId, port);
        return true;
      }
      this.path = path;
      this.partial = null;
      this.openedMs = 0;
      this.queuedOpen = dialer.openCircuit(this, path, this.target, nodeId, port);
    } catch (error) {
      this.failure = this.error('EHOSTUNREACH', error);
      return false;
    }
    // What is written can only be encrypted with what the reply brings.
    this.isAttached = this.secure === null && this.rival === null;
    if (this.isAttached) socket[kAttachStream](this.stream as MuxStream);
    if (this.timer !== null) this.setTimer();
    socket[kOnAttempt](nodeId, port);
    return true;
  }

  private pick(): ServiceInstance | undefined {
    try {
      return pickInstance(this.dialer.candidates(this.target, this.tried), this.selector);
    } catch (error) {
      this.fail(error as Error);
      return undefined;
    }
  }

  private onNoInstance(): void {
    if (this.isOver) return;
    if (this.rival !== null) this.adopt(this.rival);
    else if (this.failure !== null) this.fail(this.failure);
    else if (this.dialer.isOnlyHere(this.target)) this.fail(this.error('EHOSTUNREACH', NO_LOOPBACK));
    else if (!this.isWaiting) {
      this.isWaiting = true;
      this.dialer.await(this, this.target.service);
    }
  }

  private remember(): void {
    if (this.instance === null) return;
    if (this.tried === null) this.tried = [this.instance];
    else this.tried.push(this.instance);
  }

  /** No reply, for all we know from a server that has read what was written: that must not be sent to another. */
  private lose(failure: Error): void {
    if (this.isUnread) this.giveUp(failure, this.path?.canOpen === false);
    else {
      this.socket[kOnAttemptFailed](failure);
      this.fail(failure);
    }
  }

  /** This instance is no good, or the link to it is not and a relay may lead there: on to the next. */
  private giveUp(failure: Error, mayGoRound = false): void {
    this.socket[kOnAttemptFailed](failure);
    const { stream } = this;
    this.stream = null;
    this.isAttached = false;
    this.socket[kDetachStream]();
    stream?.reset();
    if (mayGoRound && this.trySearch()) return;
    this.failure = failure;
    this.remember();
    this.next();
  }

  private fail(error: Error): void {
    this.cancel(error);
  }

  private refusal(failure: HopFailure): Error {
    return this.error(netCodeOf(failure, this.nodeId), causeOf(failure, this.nodeId));
  }

  private error(code: NetErrorCode, cause?: unknown): Error {
    return netError(code, 'connect', this.where, cause);
  }

  private stopWaiting(): void {
    if (!this.isWaiting) return;
    this.isWaiting = false;
    this.dialer.forgetWait(this, this.target.service);
  }

  private leave(connected: boolean): void {
    this.isOver = true;
    this.stopWaiting();
    if (this.timer !== null) this.dialer.timers.cancel(this.timer);
    this.timer = null;
    this.linkWait?.cancel();
    this.linkWait = null;
    this.rival?.stream.reset();
    this.rival = null;
    // The socket lives on, for days maybe, and must not keep this.
    this.socket[kWhenOver](NOTHING);
    this.dialer.onOver(this, connected);
  }
}

const NOTHING = (): void => {};

const NO_LOOPBACK = starlaneError('ERR_STARLANE_OPTION', 'only this node offers it, and its option loopback is false');
