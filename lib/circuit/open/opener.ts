// Opens circuits. PendingReply is one OPEN on one stream: it reads the reply, wherever that is cut. CircuitOpener makes a circuit
// through other nodes of it: it sends OPEN to one neighbour, waits for the reply, and tries the next neighbour when that fails.
// Diallers and relays use the same one.
//
// Through other nodes, nothing but OPEN is sent before the reply, so that another neighbour can be tried (crankback) without losing
// data or sending it twice. A direct link, which has no other way to offer, takes data at once: see dial/direct-open.ts.

import type { NodeId } from '../../address.js';
import { codeOf, starlaneError } from '../../errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { encodeOpen, type OpenRequest } from '../../wire/open.js';
import { type ReadReply, ReplyCode, tryReadReply } from '../../wire/open-reply.js';
import type { Hop, Routes } from '../paths.js';
import type { DialHandshake } from '../secure/handshake.js';
import type { HopFailure, HopSearch } from './hop-search.js';
import { HopTimeout } from './hop-timeout.js';
import { QueuedPrefix } from './pass-through.js';

const log = debug('relay');

/** One OPEN whose reply has not come: the sink of its stream until then. */
export abstract class PendingReply implements StreamSink {
  /** The stream that OPEN went out on; null when no reply is awaited. */
  protected stream: MuxStream | null = null;
  /** Bytes of OPEN that wait in the stream's queue. */
  protected queuedOpen = 0;
  /** The part of the reply that has arrived. */
  protected partial: Buffer | null = null;

  /** @param secure this end of the circuit if it is encrypted from end to end */
  constructor(public secure: DialHandshake | null) {}

  /** The circuit is open. `rest` came behind the reply, which has `replyBytes` with what belongs to it. */
  protected abstract onAccepted(stream: MuxStream, reply: ReadReply, rest: Buffer, replyBytes: number): void;
  /** The reply is a refusal. */
  protected abstract onRefused(stream: MuxStream, reply: ReadReply, replyBytes: number): void;
  /** The reply accepts the circuit, but is not what the destination has signed. */
  protected abstract onForged(stream: MuxStream, error: Error, replyBytes: number): void;
  /** The reply is malformed or missing; `reason` says which. */
  protected abstract onInvalid(stream: MuxStream, error: Error, reason: string): void;
  /** Called for bytes behind OPEN that were sent. */
  protected onDataSent(_stream: MuxStream, _bytes: number): void {}
  abstract [kOnReset](stream: MuxStream, error: Error, reason: number): void;

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    const bytes = this.partial === null ? chunk : Buffer.concat([this.partial, chunk]);
    let read: { reply: ReadReply; bytesRead: number } | undefined;
    try {
      read = tryReadReply(bytes);
    } catch (error) {
      this.onInvalid(stream, error as Error, 'its reply is malformed');
      return;
    }
    if (read === undefined) {
      this.partial = Buffer.from(bytes);
      return;
    }
    const { reply, bytesRead } = read;
    if (reply.code !== ReplyCode.ACCEPTED) {
      this.onRefused(stream, reply, bytesRead);
      return;
    }
    const { secure } = this;
    const end = bytesRead + (secure?.bytesBehind(reply) ?? 0);
    if (end > bytes.length) {
      this.partial = Buffer.from(bytes);
      return;
    }
    const error = secure?.verify(reply, bytes.subarray(bytesRead, end));
    if (error === undefined) this.onAccepted(stream, reply, bytes.subarray(end), end);
    else this.onForged(stream, error, end);
  }

  [kOnEnd](stream: MuxStream): void {
    const error = starlaneError('ERR_STARLANE_MESSAGE', 'the stream ended before the reply');
    this.onInvalid(stream, error, 'it ended without a reply');
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    const own = Math.min(bytes, this.queuedOpen);
    this.queuedOpen -= own;
    if (bytes > own) this.onDataSent(stream, bytes - own);
  }

  /**
   * Leaves an open circuit to `sink`: what is still queued of OPEN does not count for it, and what came behind the reply is its
   * data.
   */
  passOn(stream: MuxStream, sink: StreamSink, rest: Buffer): void {
    if (this.queuedOpen > 0 && stream.sink === sink) stream.sink = new QueuedPrefix(sink, this.queuedOpen);
    if (rest.length > 0) stream.sink[kOnData](stream, rest);
  }
}

export interface OpenerHost<HopKind extends Hop = Hop> {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly routes: Routes;
  readonly hopTimeoutMs: number;
  /** The link to a neighbour, if there is one. */
  hop(neighbour: NodeId): HopKind | undefined;
}

export interface OpenerOwner<HopKind extends Hop = Hop> {
  /** The circuit is open, by way of `hop`. Set the sink of the stream; what came behind the reply follows then. */
  onCircuit(stream: MuxStream, reply: ReadReply, hop: HopKind): void;
  /** There is no way. `tried`: the nodes that were tried. */
  onNoCircuit(failure: HopFailure, tried: readonly NodeId[]): void;
}

/** The parts of OPEN that are the same for every neighbour. */
type OpenTemplate = Omit<OpenRequest, 'dst' | 'visited' | 'remainingMs' | 'relays'> & { readonly dst: NodeId };

/** What the source of a circuit signs again for each neighbour, since its destination takes the same OPEN only once. */
export interface SignedPart {
  readonly circuitId: Uint8Array;
  readonly proof: Uint8Array | undefined;
  readonly secure: DialHandshake | null;
}

/** Opens one circuit through neighbours. */
export class CircuitOpener<HopKind extends Hop = Hop> extends PendingReply implements Timed {
  /** The neighbour that is being tried, and the link to it. */
  private neighbour: NodeId = '';
  private hop: HopKind | undefined;
  private timer: Timer | null = null;
  private readonly deadline: number;
  /** Of the neighbour that is being tried, or was last. */
  private timeout: HopTimeout | undefined;
  private isClosed = false;
  private hasSent = false;

  /** @param timeoutMs for all neighbours together. @param sign signs the circuit again, if this node is its source and has signed it */
  constructor(
    private readonly host: OpenerHost<HopKind>,
    private readonly owner: OpenerOwner<HopKind>,
    private readonly search: HopSearch,
    private open: OpenTemplate,
    timeoutMs: number,
    secure: DialHandshake | null = null,
    private readonly sign?: () => SignedPart,
  ) {
    super(secure);
    this.deadline = host.timers.now() + timeoutMs;
  }

  /** Tries the first neighbour, or the next one. May call the owner before it returns. */
  start(): void {
    while (!this.isClosed) {
      const neighbour = this.search.next((id) => this.host.hop(id)?.canOpen === true);
      if (neighbour === undefined) {
        this.giveUp();
        return;
      }
      this.neighbour = neighbour;
      const hop = this.host.hop(neighbour) as HopKind;
      this.hop = hop;
      const timeout = this.timeoutOf(hop);
      this.timeout = timeout;
      if (!timeout.isWorthTrying) {
        this.search.expired();
        this.giveUp();
        return;
      }
      const failure = this.sendOpen(hop, timeout.grantedMs);
      if (failure === undefined) {
        this.timer = this.host.timers.schedule(timeout.firstMs, this);
        log('OPEN towards %s goes to %s, %d ms', this.open.dst, neighbour, timeout.grantedMs);
        return;
      }
      if (!this.search.failed(failure, [])) {
        this.giveUp();
        return;
      }
    }
  }

  /** The time since the last OPEN was sent, in ms. */
  get tookMs(): number {
    return this.timeout?.tookMs(this.host.timers.now()) ?? 0;
  }

  /** Gives up the search without a word to the owner. `reason`: of the reset that the nodes on the way see. */
  cancel(reason: number): void {
    if (this.isClosed) return;
    this.dispose();
    const { stream } = this;
    this.stream = null;
    stream?.reset(reason);
  }

  onDeadline(): void {
    this.timer = null;
    const { stream } = this;
    this.host.timers.afterInput(() => {
      if (this.isClosed || this.stream !== stream || this.timer !== null) return;
      const { timers } = this.host;
      const longerMs = stream?.isAcknowledged ? (this.timeout?.longerMs(timers.now()) ?? 0) : 0;
      if (longerMs > 0) {
        this.timer = timers.schedule(longerMs, this);
        return;
      }
      this.stream = null;
      stream?.reset(passedOn(ResetReason.TIMEOUT));
      const reason = `${this.neighbour} does not answer`;
      const error = starlaneError('ERR_STARLANE_OPEN_TIMEOUT', reason);
      this.onFailure({ code: ReplyCode.TIMEOUT, at: this.host.nodeId, reason, error }, []);
    });
  }

  // --- the stream, until the reply ---

  protected onAccepted(stream: MuxStream, reply: ReadReply, rest: Buffer, replyBytes: number): void {
    stream.consumed(replyBytes);
    this.dispose();
    this.stream = null;
    this.search.accepted();
    try {
      this.owner.onCircuit(stream, reply, this.hop as HopKind);
    } finally {
      this.passOn(stream, stream.sink, rest);
    }
  }

  protected onRefused(stream: MuxStream, reply: ReadReply, replyBytes: number): void {
    stream.consumed(replyBytes);
    // The neighbour has ended its half; this ends the other one.
    stream.close();
    this.onFailure(reply, reply.visited);
  }

  /** A node on the way has altered the reply of the destination, or the OPEN. */
  protected onForged(stream: MuxStream, error: Error, replyBytes: number): void {
    stream.consumed(replyBytes);
    stream.reset(ResetReason.SECURE);
    this.onFailure({ code: ReplyCode.INSECURE, at: this.host.nodeId, reason: error.message, error }, []);
  }

  protected onInvalid(stream: MuxStream, error: Error, reason: string): void {
    stream.reset();
    this.onLost(error, reason);
  }

  [kOnReset](_stream: MuxStream, error: Error, reason: number): void {
    const isSilent = reason === ResetReason.NONE && codeOf(error) === 'ERR_STARLANE_STREAM_RESET';
    // A link that takes no more streams resets them as well, which says nothing about its node.
    if (!isSilent || this.hop?.canOpen !== true) this.onLost(error, error.message);
    // A node that resets without a reason has no room for more streams.
    else this.onFailure({ code: ReplyCode.LIMIT, at: this.neighbour, reason: 'it takes no more streams', error }, []);
  }

  // --- neighbours, one after the other ---

  private timeoutOf({ rttMs, lateMs }: Hop): HopTimeout {
    const { timers, routes, hopTimeoutMs } = this.host;
    const { hasOthers } = this.search;
    const now = timers.now();
    const route = routes.route(this.open.dst);
    const leftMs = this.deadline - now;
    return new HopTimeout({ now, leftMs, limitMs: hopTimeoutMs, hasOthers, rttMs, lateMs, route });
  }

  private sendOpen(hop: Hop, remainingMs: number): HopFailure | undefined {
    const { search } = this;
    const { visited, relays } = search;
    this.partial = null;
    if (this.hasSent) this.signAgain();
    this.hasSent = true;
    const { open } = this;
    let bytes: Buffer;
    try {
      bytes = encodeOpen({ ...open, visited, relays, remainingMs });
    } catch (error) {
      // Caused by what another node has put into the OPEN: no neighbour is to blame.
      return this.failedHere(ReplyCode.MALFORMED, error as Error);
    }
    try {
      const stream = hop.open(this, bytes);
      // As the other end counts: a hop from the source to the destination itself is a direct one.
      if (relays > 0 || this.neighbour !== open.dst) stream.useRelayWindow();
      this.stream = stream;
      this.queuedOpen = stream.queuedBytes;
      return undefined;
    } catch (error) {
      return this.failedHere(ReplyCode.NO_ROUTE, error as Error);
    }
  }

  private signAgain(): void {
    const { sign } = this;
    if (sign === undefined) return;
    const { circuitId, proof, secure } = sign();
    this.open = { ...this.open, circuitId, proof };
    this.secure = secure;
  }

  private failedHere(code: number, error: Error): HopFailure {
    return { code, at: this.host.nodeId, reason: error.message, error };
  }

  /** The neighbour, or the link to it, is gone. */
  private onLost(error: Error, reason: string): void {
    const { nodeId } = this.host;
    this.onFailure({ code: ReplyCode.NO_ROUTE, at: nodeId, reason: `${this.neighbour}: ${reason}`, error }, []);
  }

  private onFailure(failure: HopFailure, visited: readonly NodeId[]): void {
    if (this.isClosed) return;
    this.stream = null;
    this.stopTimer();
    log('no way to %s by %s: %d %s', this.open.dst, this.neighbour, failure.code, failure.reason);
    const isFair = failure.code !== ReplyCode.TIMEOUT || this.hadTime;
    if (this.search.failed(failure, visited, isFair)) this.start();
    else this.giveUp();
  }

  private get hadTime(): boolean {
    return this.timeout?.isFair(this.host.routes.route(this.open.dst)?.cost ?? 0) === true;
  }

  private giveUp(): void {
    this.dispose();
    this.owner.onNoCircuit(this.search.failure, this.search.tried);
  }

  private dispose(): void {
    this.isClosed = true;
    this.stopTimer();
  }

  private stopTimer(): void {
    if (this.timer !== null) this.host.timers.cancel(this.timer);
    this.timer = null;
  }
}
