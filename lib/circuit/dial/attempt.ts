// One dial on its way: it waits for the service, picks an instance, opens a circuit to it, and goes on to the next instance when
// that one refuses or cannot be reached. It is gone when the socket is connected.
//
// Over a direct link, OPEN and what is written leave together (DirectOpen). Through relays, nothing is sent before the circuit is
// open, so that every failure on the way leaves all other ways open (CircuitOpener).
//
// When an instance is silent for too long, a second one is asked as well, see hedging.ts. From then on nothing that is written
// leaves until one of the two has answered. What the option `resilience` asks for besides is decided by a WatchedDial.

import type { NodeId } from '../../address.js';
import { type NetErrorCode, netError, starlaneError } from '../../errors.js';
import type { Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo, ServiceInstance } from '../../mesh/directory/service.js';
import {
  kAttachStream,
  kDetachStream,
  kEstablish,
  kFailConnect,
  kOnAttempt,
  kOnAttemptFailed,
  kOnSent,
  kSetOnClosed,
} from '../../mux/hidden.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import type { Socket } from '../../socket/socket.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { type ReadReply, ReplyCode } from '../../wire/open-reply.js';
import type { DirectLinks } from '../direct-links.js';
import type { FormerMember } from '../membership.js';
import type { HopFailure } from '../open/hop-search.js';
import type { Policy } from '../resilience/policy.js';
import type { WatchedDial } from '../resilience/watched-dial.js';
import type { DialTarget } from './dial-target.js';
import type { Dialer } from './dialer.js';
import type { DirectOpen } from './direct-open.js';
import { RelayedOpen } from './relayed-open.js';

/** How often the ways through relays to one node are searched: each time, what has failed before is tried last. */
const MAX_SEARCHES = 2;
/** Share of the dial's time to wait for a direct link, which is requested but not required. */
const LINK_SHARE = 0.5;

/** What a dial asks for besides the service. */
export interface DialRequest {
  /** The virtual port of the near end. Default a free one. */
  readonly localPort?: number | undefined;
  /** Requests a direct link where there is none. Default false. */
  readonly wantsLink?: boolean | undefined;
  /** Encrypts from end to end. Default: through relays, if that is the default of the node. */
  readonly secure?: boolean | undefined;
  /** Of the key by which the dial picks one of several services. Default: at random. */
  readonly keyHash?: number | undefined;
  /** What to do about failures. Default nothing. */
  readonly policy?: Policy | undefined;
}

export class Attempt implements Timed {
  private timer: Timer | null = null;
  /** When the socket has to be connected, by the clock of the timers. */
  private deadline = 0;
  /** The circuit that is being opened over a direct link. */
  private open: DirectOpen | null = null;
  /** The one that was opened before, to another instance, which may still answer. */
  private rival: DirectOpen | RelayedOpen | null = null;
  /** The circuit that is being opened through relays. */
  private relayed: RelayedOpen | null = null;
  private isStarting = false;
  /** Searches for a way to the current node, including those that failed. */
  private searches = 0;
  private linkWait: LinkWait | null = null;
  private nodeId: NodeId = '';
  private port = 0;
  /** The service that was picked last: the target, or one of several. */
  private chosen: DialTarget;
  private instance: ServiceInstance | null = null;
  private tried: ServiceInstance[] | null = null;
  /** Why the last instance failed. */
  private failure: Error | null = null;
  /** Whether the next instance counts as a retry. */
  private isRetry = false;
  /** Whether what the user writes goes to the stream of `open`. */
  private isAttached = false;
  /** Whether the attempt waits for the service to appear. */
  private isWaiting = false;
  private isClosed = false;

  constructor(
    private readonly dialer: Dialer,
    private readonly socket: Socket,
    readonly target: DialTarget,
    private readonly selector: Selector,
    readonly request: DialRequest,
    /** The virtual port of the near end. */
    readonly localPort: number,
    /** Null without a policy. */
    private readonly watched: WatchedDial | null = null,
  ) {
    this.chosen = target;
  }

  /** The service that was picked last. */
  get current(): DialTarget {
    return this.chosen;
  }

  /** The name of the service that the current instance offers; empty where a node is dialled. */
  get service(): string {
    return this.instance === null ? this.target.service : this.instance.service;
  }

  /** What errors say about the destination. */
  get where(): { address: string; port: number | undefined } {
    return { address: this.target.name, port: this.target.port };
  }

  start(timeoutMs: number): void {
    // The user may destroy the socket at any time.
    this.socket[kSetOnClosed](() => this.cancel());
    this.deadline = this.dialer.timers.now() + timeoutMs;
    this.next();
    this.setTimer();
  }

  /** Ends the attempt, and destroys the socket with `error` if it is still open. */
  cancel(error?: Error): void {
    if (this.isClosed) return;
    this.close(false);
    this.open?.cancel();
    this.open = null;
    this.relayed?.cancel();
    if (error !== undefined) this.socket[kFailConnect](error);
  }

  /** Called when an instance of the service has appeared. */
  onService(): void {
    if (this.isWaiting) this.next();
  }

  // --- time ---

  onDeadline(): void {
    this.timer = null;
    this.dialer.timers.afterInput(() => {
      if (!this.isClosed) this.onTimer();
    });
  }

  private onTimer(): void {
    const now = this.dialer.timers.now();
    if (now >= this.deadline) this.expire();
    else {
      if (this.rival === null) {
        if (this.open !== null) this.lookAt(this.open, now);
        else if (this.relayed !== null) this.hedge(this.relayed, now);
      }
      this.setTimer();
    }
  }

  /** Sets the timer to the deadline, or to the time at which an answer is overdue. */
  private setTimer(): void {
    if (this.isClosed) return;
    const { open, relayed } = this;
    const { timers, hedging } = this.dialer;
    if (this.timer !== null) timers.cancel(this.timer);
    const now = timers.now();
    let dueMs = this.deadline;
    if (this.rival === null) {
      if (open !== null) {
        if (open.openedMs === 0) {
          open.openedMs = now;
          open.lookAtMs = now + hedging.waitMs(open.nodeId, false);
        }
        dueMs = Math.min(dueMs, open.lookAtMs, open.hedgeAtMs);
      } else if (relayed !== null) dueMs = Math.min(dueMs, relayed.hedgeAtMs);
    }
    this.timer = timers.schedule(dueMs - now, this);
  }

  /** Asks another instance as well when the answer of this one is overdue. */
  private lookAt(open: DirectOpen, now: number): void {
    if (this.hedge(open, now)) return;
    const { hedging } = this.dialer;
    const { nodeId, openedMs, isAcknowledged } = open;
    const waitMs = hedging.waitMs(nodeId, isAcknowledged);
    if (now < openedMs + waitMs) {
      open.lookAtMs = openedMs + waitMs;
      return;
    }
    open.lookAtMs = now + waitMs;
    if (!isAcknowledged) hedging.onOverdue(nodeId, openedMs);
    if (open.instance === null || !this.isUnread || !this.hasOthers || !hedging.tryTake()) return;
    this.askAnother(open);
  }

  /** Asks another instance as well when the policy wants to hear from this one by now. Returns whether it did. */
  private hedge(open: DirectOpen | RelayedOpen, now: number): boolean {
    const { watched } = this;
    if (watched === null || now < open.hedgeAtMs) return false;
    open.hedgeAtMs = Number.POSITIVE_INFINITY;
    if (open.instance === null || !this.isUnread || !this.hasOthers || !watched.tryHedge()) return false;
    this.askAnother(open);
    return true;
  }

  private askAnother(open: DirectOpen | RelayedOpen): void {
    this.dialer.resilience.hedges++;
    this.rival = open;
    this.detach();
    this.remember();
    this.next();
  }

  private expire(): void {
    if (!this.isWaiting) {
      for (const open of [this.rival, this.open, this.relayed])
        if (open !== null) this.watched?.onFault(open.chosen, open.instance);
      this.cancel(this.error('ETIMEDOUT', this.failure ?? undefined));
    } else this.cancel(this.failure ?? this.error('ENOTFOUND', this.dialer.absenceOf(this.target)));
  }

  // --- the circuit over a direct link ---

  onAccepted(open: DirectOpen, stream: MuxStream, reply: ReadReply, rest: Buffer, replyBytes: number): void {
    const { dialer, socket } = this;
    if (open === this.rival) this.replaceBy(open);
    const { secure, path } = open;
    this.reportConnected(open);
    this.close(true);
    this.open = null;
    stream.consumed(replyBytes);
    const carried = secure === null ? null : secure.carry(stream);
    if (carried !== null) socket[kAttachStream](carried);
    else if (!this.isAttached) socket[kAttachStream](stream);
    const remote = secure === null ? path.remote : dialer.remotes.secure(path.remote, secure.isQuantumSafe);
    dialer.countKeys(secure);
    try {
      socket[kEstablish](remote, this.service, this.localPort, reply.port);
    } finally {
      open.passOn(stream, carried ?? socket, rest);
    }
  }

  onRefused(open: DirectOpen, reply: ReadReply): void {
    if (open === this.rival) this.dropRival(open, isFault(reply, open));
    else this.giveUp(this.refusal(reply), { isFault: isFault(reply, open) });
  }

  /** Called when the reply is not what the destination has signed. */
  onForged(open: DirectOpen, error: Error): void {
    if (open === this.rival) {
      this.dropRival(open);
      return;
    }
    open.cancel(ResetReason.SECURE);
    this.giveUp(this.error('EHOSTUNREACH', error));
  }

  /** Called when OPEN has crossed the end of the link, so that no server has read anything. */
  onLinkEnded(open: DirectOpen, error: Error): void {
    if (open === this.rival) this.dropRival(open);
    else this.giveUp(this.error('EHOSTUNREACH', error), { mayGoRound: true });
  }

  /** Called when there is no valid reply. A server may have read what was written, which must not be sent to another one then. */
  onLost(open: DirectOpen, code: NetErrorCode, cause: Error): void {
    if (open === this.rival) {
      this.dropRival(open);
      return;
    }
    const failure = this.error(code, cause);
    if (this.isUnread) this.giveUp(failure, { mayGoRound: !open.path.canOpen });
    else {
      this.watched?.onFault(open.chosen, open.instance);
      this.socket[kOnAttemptFailed](failure);
      this.cancel(failure);
    }
  }

  onDataSent(stream: MuxStream, bytes: number): void {
    this.socket[kOnSent](stream, bytes);
  }

  /** Goes on with the rival as the circuit that is being opened. */
  private adopt(rival: DirectOpen | RelayedOpen): void {
    this.rival = null;
    this.linkWait?.cancel();
    this.linkWait = null;
    this.chosen = rival.chosen;
    this.instance = rival.instance;
    this.nodeId = rival.nodeId;
    this.port = rival.port;
    this.relayed = rival instanceof RelayedOpen ? rival : null;
    this.open = rival instanceof RelayedOpen ? null : rival;
  }

  /** The rival has answered first. */
  private replaceBy(rival: DirectOpen | RelayedOpen): void {
    const { open, relayed } = this;
    this.adopt(rival);
    open?.cancel();
    relayed?.cancel();
  }

  private dropRival(rival: DirectOpen | RelayedOpen, hasFault = true): void {
    this.rival = null;
    rival.cancel();
    if (hasFault) this.watched?.onFault(rival.chosen, rival.instance);
  }

  /** Reports that this circuit is open, and how long the other one has been waited for. */
  private reportConnected(open: DirectOpen | RelayedOpen): void {
    const { watched, rival, dialer } = this;
    if (rival !== null && rival !== open) dialer.resilience.hedgesWon++;
    if (watched === null) return;
    const now = dialer.timers.now();
    const tookMs = now - open.beganMs;
    watched.onConnected(open.chosen, open.instance, tookMs, open instanceof RelayedOpen ? open.tookMs : tookMs);
    if (rival !== null && rival !== open) watched.onSlower(rival.chosen, rival.instance, now - rival.beganMs);
  }

  /** Whether nothing that the user has written has left for the current instance. */
  private get isUnread(): boolean {
    return !this.isAttached || this.socket.bytesWritten === 0;
  }

  // --- the circuit through relays ---

  onCircuit(relayed: RelayedOpen, stream: MuxStream, reply: ReadReply): void {
    if (relayed === this.rival) this.replaceBy(relayed);
    const { dialer, socket, service, nodeId } = this;
    const { secure, tookMs } = relayed;
    this.reportConnected(relayed);
    this.relayed = null;
    this.close(true);
    const carried = secure === null ? null : secure.carry(stream);
    const sink = carried ?? socket;
    socket[kAttachStream](carried ?? stream);
    const plain = dialer.remotes.get(nodeId, reply.visited);
    const remote = secure === null ? plain : dialer.remotes.secure(plain, secure.isQuantumSafe);
    dialer.countKeys(secure);
    try {
      socket[kEstablish](remote, service, this.localPort, reply.port);
    } finally {
      // Unless it was destroyed at once.
      if (stream.sink === sink) {
        const metered = dialer.traffic.opened(nodeId, sink, tookMs);
        stream.sink = metered;
        socket[kSetOnClosed](() => metered.close());
        dialer.watch(remote, stream, socket);
      }
    }
  }

  /** Called when the node is no member any more. A circuit over a direct link ends with the link. */
  onFormerMember({ nodeId, error, reason }: FormerMember): void {
    const { rival, relayed } = this;
    if (rival instanceof RelayedOpen && rival.nodeId === nodeId) {
      rival.cancel(reason);
      this.dropRival(rival, false);
    }
    if (relayed === null || relayed.nodeId !== nodeId) return;
    this.relayed = null;
    relayed.cancel(reason);
    this.giveUp(this.error('EHOSTUNREACH', error), { isFault: false });
  }

  onNoCircuit(relayed: RelayedOpen, failure: HopFailure): void {
    if (relayed === this.rival) {
      this.dropRival(relayed, isFault(failure, relayed));
      return;
    }
    this.relayed = null;
    this.failure = this.refusal(failure);
    if (this.isStarting) return;
    // OPEN got somewhere, and what was in its way is known now.
    const { code } = failure;
    const isTransient = code === ReplyCode.TIMEOUT || code === ReplyCode.REPEATED || failure.error !== undefined;
    if (isTransient && this.searches < MAX_SEARCHES && !this.hasOthers && this.startSearch()) return;
    this.giveUp(this.failure, { isFault: isFault(failure, relayed) });
  }

  /** Searches for a way through relays. Returns false when there is none, and `failure` says why. */
  private startSearch(): boolean {
    const { dialer, nodeId, port, watched } = this;
    const now = dialer.timers.now();
    this.searches++;
    const relayed = new RelayedOpen(this, this.chosen, this.instance, nodeId, port, now);
    this.relayed = relayed;
    // Instances without a way must not be tried one inside the other.
    this.isStarting = true;
    relayed.start(dialer.openerOf(this, relayed, nodeId, port, this.deadline - now));
    this.isStarting = false;
    if (this.relayed === null) return false;
    if (watched !== null) {
      relayed.hedgeAtMs = now + watched.hedgeMs(this.chosen);
      if (this.timer !== null) this.setTimer();
    }
    return true;
  }

  /** Requests a direct link, and goes on when it is up, or when it takes too long. */
  private waitForLink(): void {
    const { timers, directLinks } = this.dialer;
    const waitMs = (this.deadline - timers.now()) * LINK_SHARE;
    this.linkWait = new LinkWait(directLinks, this.nodeId, timers, waitMs, () => {
      this.linkWait = null;
      if (this.startOpen(false)) return;
      this.failed();
      this.next();
    });
  }

  // --- instances, one after the other ---

  private next(): void {
    const { target } = this;
    while (!this.isClosed) {
      let { nodeId, port } = target;
      if (nodeId === undefined) {
        const instance = this.pick();
        if (instance === undefined) {
          this.onNoInstance();
          return;
        }
        this.instance = instance;
        nodeId = instance.nodeId;
        port = instance.port || this.chosen.port;
      } else if (this.failure !== null || this.isRejected()) {
        if (this.failure !== null) this.cancel(this.failure);
        return;
      }
      this.watched?.onOpen(this.chosen);
      this.stopWaiting();
      this.nodeId = nodeId;
      this.port = port ?? 0;
      this.searches = 0;
      if (this.startOpen(this.request.wantsLink === true)) return;
      this.failed();
    }
  }

  /** There was no way to the current instance. */
  private failed(): void {
    this.watched?.onFault(this.chosen, this.instance);
    this.remember();
  }

  /** Ends the dial when the breakers of all its services are open. */
  private isRejected(): boolean {
    const { watched, dialer, target } = this;
    if (watched === null || this.rival !== null) return false;
    const error = watched.rejection(dialer.offered(target, this.tried));
    if (error === undefined) return false;
    this.cancel(this.failure ?? this.error('ECONNREFUSED', error));
    return true;
  }

  /** Starts to open a circuit to the current node. Returns false when there is no way, and `failure` says why. */
  private startOpen(wantsLink: boolean): boolean {
    const { dialer, socket, nodeId, port } = this;
    let open: DirectOpen;
    try {
      const fault = dialer.membership?.faultOf(nodeId);
      if (fault !== undefined) throw fault;
      const path = dialer.paths.direct(nodeId);
      if (path === undefined) {
        if (wantsLink) this.waitForLink();
        else if (!this.startSearch()) return false;
        else socket[kOnAttempt](nodeId, port);
        return true;
      }
      open = dialer.open(this, path, this.instance, nodeId, port);
    } catch (error) {
      this.failure = this.error('EHOSTUNREACH', error);
      return false;
    }
    this.open = open;
    if (this.watched !== null) {
      open.beganMs = dialer.timers.now();
      open.hedgeAtMs = open.beganMs + this.watched.hedgeMs(this.chosen);
    }
    // What is written can only be encrypted with what the reply brings, and must not be sent twice.
    this.isAttached = open.secure === null && this.rival === null && this.watched?.mayHedge !== true;
    if (this.isAttached) open.attachTo(socket);
    if (this.timer !== null) this.setTimer();
    socket[kOnAttempt](nodeId, port);
    return true;
  }

  /** Returns the next instance as the user's selector chooses it; undefined when there is none, or none is wanted. */
  private pick(): ServiceInstance | undefined {
    try {
      const { dialer, target, tried, watched } = this;
      const chosen = dialer.choose(target, tried, watched, this.request.keyHash);
      if (chosen === undefined) return undefined;
      const candidates: readonly ServiceInfo[] = dialer.candidates(chosen, tried, watched);
      if (candidates.length === 0) return undefined;
      if (this.isRetry && !this.mayRetry()) return undefined;
      this.chosen = chosen;
      const picked: ServiceInfo | undefined = this.selector(candidates as readonly ServiceInstance[]);
      if (picked === undefined || candidates.includes(picked)) return picked as ServiceInstance | undefined;
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'the selector must return one of the instances it was given');
    } catch (error) {
      this.cancel(error as Error);
      return undefined;
    }
  }

  private mayRetry(): boolean {
    this.isRetry = false;
    const { watched } = this;
    if (watched !== null && !watched.tryRetry()) return false;
    this.dialer.resilience.retries++;
    return true;
  }

  private onNoInstance(): void {
    if (this.isClosed) return;
    if (this.rival !== null) this.adopt(this.rival);
    else if (this.failure !== null) this.cancel(this.failure);
    else if (this.isRejected()) return;
    else if (this.dialer.isOnlyHere(this.target)) this.cancel(this.error('EHOSTUNREACH', NO_LOOPBACK));
    else if (!this.isWaiting) {
      this.isWaiting = true;
      this.dialer.waitFor(this);
    }
  }

  /** Whether the service has instances that have not been tried. */
  private get hasOthers(): boolean {
    const { dialer, target, instance, tried } = this;
    if (instance === null) return false;
    const seen = tried === null ? [instance] : [...tried, instance];
    const next = dialer.choose(target, seen, this.watched, undefined);
    return next !== undefined && dialer.candidates(next, seen, this.watched).length > 0;
  }

  private remember(): void {
    if (this.instance === null) return;
    if (this.tried === null) this.tried = [this.instance];
    else this.tried.push(this.instance);
  }

  /** The current instance has failed, or only the link to it, so that a relay may lead there: goes on to the next one. */
  private giveUp(failure: Error, { mayGoRound = false, isFault: hasFault = true }: Failure = {}): void {
    this.socket[kOnAttemptFailed](failure);
    // A listener may have destroyed the socket.
    if (this.isClosed) return;
    const { open } = this;
    this.detach();
    open?.cancel();
    if (mayGoRound && this.startSearch()) return;
    this.failure = failure;
    if (hasFault) this.watched?.onFault(this.chosen, this.instance);
    // An instance that has left costs little, and is not asked again.
    this.isRetry = hasFault;
    this.remember();
    this.next();
  }

  /** What the user writes is kept for the next stream. */
  private detach(): void {
    this.open = null;
    this.relayed = null;
    this.isAttached = false;
    this.socket[kDetachStream]();
  }

  private refusal(failure: HopFailure): Error {
    const name = this.dialer.membership?.certified(failure.at).name;
    return this.error(netCodeOf(failure, this.nodeId), causeOf(failure, this.nodeId, name));
  }

  private error(code: NetErrorCode, cause?: unknown): Error {
    return netError(code, 'connect', this.where, cause);
  }

  private stopWaiting(): void {
    if (!this.isWaiting) return;
    this.isWaiting = false;
    this.dialer.stopWaiting(this);
  }

  private close(connected: boolean): void {
    this.isClosed = true;
    this.stopWaiting();
    if (this.timer !== null) this.dialer.timers.cancel(this.timer);
    this.timer = null;
    this.linkWait?.cancel();
    this.linkWait = null;
    this.rival?.cancel();
    this.rival = null;
    this.watched?.onEnd();
    // The socket lives on, for days maybe, and must not keep this.
    this.socket[kSetOnClosed](NOTHING);
    this.dialer.onEnd(this, connected);
  }
}

interface Failure {
  /** Whether a relay may lead to the same instance. Default false. */
  readonly mayGoRound?: boolean;
  /** Whether it counts against the instance. Default true. */
  readonly isFault?: boolean;
}

/**
 * Returns whether a failure counts against the instance. One that has left or drains is not at fault, and neither is one that does not
 * allow it; a node that is dialled by its id is expected to have a server there.
 */
function isFault({ code, at }: HopFailure, { instance, nodeId }: DirectOpen | RelayedOpen): boolean {
  if (code === ReplyCode.DENIED) return false;
  return code !== ReplyCode.REFUSED || at !== nodeId || instance === null;
}

/** A dial waits for a direct link that it has requested: until the link is up, cannot be had, or takes too long. */
class LinkWait implements Timed {
  private readonly aborter = new AbortController();
  private readonly timer: Timer;
  private isClosed = false;

  /** @param onEnd called once, later, unless the wait is cancelled */
  constructor(
    directLinks: DirectLinks,
    nodeId: NodeId,
    private readonly timers: Timers,
    waitMs: number,
    private readonly onEnd: () => void,
  ) {
    this.timer = timers.schedule(waitMs, this);
    const end = (): void => this.end();
    new Promise((resolve) => resolve(directLinks.request(nodeId, this.aborter.signal))).then(end, end);
  }

  cancel(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.timers.cancel(this.timer);
    this.aborter.abort();
  }

  onDeadline(): void {
    this.end();
  }

  private end(): void {
    if (this.isClosed) return;
    this.cancel();
    this.onEnd();
  }
}

/** Returns the code of net for a failure on the way to `dst`. */
function netCodeOf({ code, at }: HopFailure, dst: NodeId): NetErrorCode {
  switch (code) {
    case ReplyCode.NO_ROUTE:
    case ReplyCode.HOP_LIMIT:
    case ReplyCode.LOOP:
    case ReplyCode.INSECURE:
    case ReplyCode.REPEATED:
    case ReplyCode.CLOCK:
      return 'EHOSTUNREACH';
    case ReplyCode.LIMIT:
      // A relay without room says nothing about the server.
      return at === dst ? 'ECONNREFUSED' : 'EHOSTUNREACH';
    case ReplyCode.DENIED:
      return 'EACCES';
    case ReplyCode.TIMEOUT:
      return 'ETIMEDOUT';
    default:
      return 'ECONNREFUSED';
  }
}

/** Returns which node gave which reason; undefined when nothing more than the code is known. `name`: of that node, if it is certified. */
function causeOf({ code, at, reason, error }: HopFailure, dst: NodeId, name: string | undefined): Error | undefined {
  if (error !== undefined) return error;
  const where = name === undefined ? at : `${at} (${name})`;
  const said = reason === '' ? where : `${where} says: ${reason}`;
  if (code === ReplyCode.LIMIT && at !== dst) return starlaneError('ERR_STARLANE_RELAY_LIMIT', said);
  if (code === ReplyCode.INSECURE || code === ReplyCode.REPEATED || code === ReplyCode.CLOCK)
    return starlaneError('ERR_STARLANE_SECURE', said);
  if (code === ReplyCode.TIMEOUT) return starlaneError('ERR_STARLANE_OPEN_TIMEOUT', said);
  return reason === '' && at === dst ? undefined : new Error(said);
}

const NOTHING = (): void => {};

const NO_LOOPBACK = starlaneError('ERR_STARLANE_OPTION', 'only this node offers it, and its option loopback is false');
