// Opens a circuit through other nodes: sends OPEN to one neighbour, waits for the reply, and goes to the next one when
// that fails. Used by who dials and by every relay on the way. Nothing but OPEN is sent until the reply has come, so
// that another neighbour can be tried without anything being lost or done twice.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { encodeOpen, type OpenRequest } from '../../wire/open.js';
import { type ReadReply, ReplyCode, tryReadReply } from '../../wire/open-reply.js';
import type { Hop, Routes } from '../path.js';
import type { HopFailure, HopSearch } from './hop-search.js';
import { HopWait } from './patience.js';
import { QueuedPrefix } from './queued-prefix.js';

const log = debug('relay');

export interface CrankbackHost<HopKind extends Hop = Hop> {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly routes: Routes;
  readonly hopTimeoutMs: number;
  /** The link to a neighbour, if there is one. */
  hop(neighbour: NodeId): HopKind | undefined;
}

export interface CrankbackOwner<HopKind extends Hop = Hop> {
  /** The circuit stands, by way of `hop`. Set the sink of the stream; what came behind the reply follows then. */
  onCircuit(stream: MuxStream, reply: ReadReply, hop: HopKind): void;
  /** There is no way. `tried`: the nodes that were gone to. */
  onNoCircuit(failure: HopFailure, tried: readonly NodeId[]): void;
  /** Why an acceptance does not count, if it does not. Without it, every one counts. */
  objection?(reply: ReadReply): Error | undefined;
}

/** The parts of OPEN that are the same for every neighbour. */
export type OpenTemplate = Omit<OpenRequest, 'dst' | 'visited' | 'remainingMs' | 'relays'> & { readonly dst: NodeId };

export class Crankback<HopKind extends Hop = Hop> implements StreamSink, Timed {
  private stream: MuxStream | null = null;
  /** The neighbour that is being tried, and the link to it. */
  private neighbour: NodeId = '';
  private hop: HopKind | undefined;
  private timer: Timer | null = null;
  /** The part of a reply that has arrived. */
  private partial: Buffer | null = null;
  /** Bytes of OPEN that wait in the stream's queue. */
  private queuedOpen = 0;
  private readonly deadline: number;
  /** For the neighbour that is being tried, or was last. */
  private wait: HopWait | undefined;
  private isOver = false;

  /** @param timeoutMs for all of it */
  constructor(
    private readonly host: CrankbackHost<HopKind>,
    private readonly owner: CrankbackOwner<HopKind>,
    private readonly search: HopSearch,
    private readonly open: OpenTemplate,
    timeoutMs: number,
  ) {
    this.deadline = host.timers.now() + timeoutMs;
  }

  /** May call the owner before it returns. */
  start(): void {
    while (!this.isOver) {
      const neighbour = this.search.next((id) => this.host.hop(id)?.canOpen === true);
      if (neighbour === undefined) {
        this.giveUp();
        return;
      }
      this.neighbour = neighbour;
      const hop = this.host.hop(neighbour) as HopKind;
      this.hop = hop;
      const wait = this.waitFor(hop);
      this.wait = wait;
      if (!wait.isWorthIt) {
        this.search.expired();
        this.giveUp();
        return;
      }
      const failure = this.tryOpen(hop, wait.grantedMs);
      if (failure === undefined) {
        this.timer = this.host.timers.schedule(wait.firstMs, this);
        log('OPEN towards %s goes to %s, %d ms', this.open.dst, neighbour, wait.grantedMs);
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
    return this.wait?.tookMs(this.host.timers.now()) ?? 0;
  }

  /** Nobody waits for it any more. `reason`: what the nodes on the way are told. */
  cancel(reason: number): void {
    if (this.isOver) return;
    this.finish();
    const { stream } = this;
    this.stream = null;
    stream?.reset(reason);
  }

  // --- the stream, until the reply ---

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    const bytes = this.partial === null ? chunk : Buffer.concat([this.partial, chunk]);
    let read: { reply: ReadReply; bytesRead: number } | undefined;
    try {
      read = tryReadReply(bytes);
    } catch (error) {
      stream.reset();
      this.lost(error as Error, 'its reply is malformed');
      return;
    }
    if (read === undefined) {
      this.partial = Buffer.from(bytes);
      return;
    }
    const { reply, bytesRead } = read;
    stream.consumed(bytesRead);
    if (reply.code === ReplyCode.ACCEPTED) {
      const objection = this.owner.objection?.(reply);
      if (objection === undefined) this.connect(stream, reply, bytes.subarray(bytesRead));
      else this.refuse(stream, objection);
    } else {
      // It has ended its half, and is told that this one ends as well.
      stream.abandon();
      this.onFailure(reply, reply.visited);
    }
  }

  [kOnEnd](stream: MuxStream): void {
    stream.reset();
    this.lost(starlaneError('ERR_STARLANE_MESSAGE', 'the stream ended before the reply'), 'it ended without a reply');
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.queuedOpen -= Math.min(bytes, this.queuedOpen);
  }

  [kOnReset](_stream: MuxStream, error: Error, reason: number): void {
    const isSilent = reason === ResetReason.NONE && (error as { code?: string }).code === 'ERR_STARLANE_STREAM_RESET';
    // A link that takes no more streams resets them as well, and says nothing about its node.
    if (!isSilent || this.hop?.canOpen !== true) this.lost(error, error.message);
    // Who resets without a word has no room for more streams.
    else this.onFailure({ code: ReplyCode.LIMIT, at: this.neighbour, reason: 'it takes no more streams', error }, []);
  }

  onDeadline(): void {
    this.timer = null;
    const { stream } = this;
    // A process that was busy looks first at what has arrived meanwhile: timers come ahead of input in a turn.
    this.host.timers.clock.setImmediate(() => {
      if (this.isOver || this.stream !== stream || this.timer !== null) return;
      const { timers } = this.host;
      const longerMs = stream?.isAcknowledged ? (this.wait?.longerMs(timers.now()) ?? 0) : 0;
      if (longerMs > 0) {
        this.timer = timers.schedule(longerMs, this);
        return;
      }
      this.stream = null;
      stream?.reset(passedOn(ResetReason.TIMEOUT));
      const error = starlaneError('ERR_STARLANE_OPEN_TIMEOUT', `${this.neighbour} does not answer`);
      this.onFailure(
        { code: ReplyCode.TIMEOUT, at: this.host.nodeId, reason: `${this.neighbour} does not answer`, error },
        [],
      );
    });
  }

  private waitFor({ rttMs, lateMs }: Hop): HopWait {
    const { timers, routes, hopTimeoutMs } = this.host;
    const { hasOthers } = this.search;
    const now = timers.now();
    const route = routes.route(this.open.dst);
    const leftMs = this.deadline - now;
    return new HopWait({ now, leftMs, limitMs: hopTimeoutMs, hasOthers, rttMs, lateMs, route });
  }

  private get hadTime(): boolean {
    return this.wait?.isFair(this.host.routes.route(this.open.dst)?.cost ?? 0) === true;
  }

  private tryOpen(hop: Hop, remainingMs: number): HopFailure | undefined {
    const { search, open } = this;
    const { visited, relays } = search;
    this.partial = null;
    let bytes: Buffer;
    try {
      bytes = encodeOpen({ ...open, visited, relays, remainingMs });
    } catch (error) {
      // What another node has put into it: no neighbour is to blame.
      const { message } = error as Error;
      return { code: ReplyCode.MALFORMED, at: this.host.nodeId, reason: message, error: error as Error };
    }
    try {
      const stream = hop.open(this, bytes);
      // As the other end counts it: a hop to the destination from the source itself is a direct one.
      if (search.relays > 0 || this.neighbour !== open.dst) stream.useRelayWindow();
      this.stream = stream;
      this.queuedOpen = stream.queuedBytes;
      return undefined;
    } catch (error) {
      const { message } = error as Error;
      return { code: ReplyCode.NO_ROUTE, at: this.host.nodeId, reason: message, error: error as Error };
    }
  }

  private connect(stream: MuxStream, reply: ReadReply, rest: Buffer): void {
    const { queuedOpen } = this;
    this.finish();
    this.stream = null;
    this.search.accepted();
    try {
      this.owner.onCircuit(stream, reply, this.hop as HopKind);
    } finally {
      if (queuedOpen > 0 && stream.sink !== this) stream.sink = new QueuedPrefix(stream.sink, queuedOpen);
      if (rest.length > 0) stream.sink[kOnData](stream, rest);
    }
  }

  /** Somebody on the way has altered what the destination said, or the OPEN. */
  private refuse(stream: MuxStream, error: Error): void {
    stream.reset(ResetReason.SECURE);
    this.onFailure({ code: ReplyCode.INSECURE, at: this.host.nodeId, reason: error.message, error }, []);
  }

  /** The neighbour, or the link to it, is gone. */
  private lost(error: Error, reason: string): void {
    const { nodeId } = this.host;
    this.onFailure({ code: ReplyCode.NO_ROUTE, at: nodeId, reason: `${this.neighbour}: ${reason}`, error }, []);
  }

  private onFailure(failure: HopFailure, visited: readonly NodeId[]): void {
    if (this.isOver) return;
    this.stream = null;
    this.stopTimer();
    log('no way to %s by %s: %d %s', this.open.dst, this.neighbour, failure.code, failure.reason);
    const isFair = failure.code !== ReplyCode.TIMEOUT || this.hadTime;
    if (this.search.failed(failure, visited, isFair)) this.start();
    else this.giveUp();
  }

  private giveUp(): void {
    this.finish();
    this.owner.onNoCircuit(this.search.failure, this.search.tried);
  }

  private finish(): void {
    this.isOver = true;
    this.stopTimer();
  }

  private stopTimer(): void {
    if (this.timer !== null) this.host.timers.cancel(this.timer);
    this.timer = null;
  }
}
