// A circuit that is being opened through a relay: the neighbour before it has opened it, the next one has not answered yet. Early
// data is kept unread, so that no credit is returned for it, and passed on once the circuit is open.

import type { NodeId } from '../../address.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { SendQueue } from '../../mux/send/send-queue.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { MAX_VISITED } from '../../wire/node-ids.js';
import type { Open } from '../../wire/open.js';
import { encodeReply, type ReadReply, ReplyCode } from '../../wire/open-reply.js';
import { circuitHash } from '../dial/dial-target.js';
import { type HopFailure, HopSearch } from '../open/hop-search.js';
import { CircuitOpener, type OpenerOwner } from '../open/opener.js';
import { QueuedPrefix } from '../open/pass-through.js';
import type { Hop } from '../paths.js';
import type { RelayNeighbour, RelaySource } from './admission.js';
import type { Holder } from './pool.js';
import type { Relay } from './relay.js';

/** A neighbour as relays see it: a next hop, and what counts for its circuits. */
export interface RelayHop extends Hop {
  readonly neighbour: RelayNeighbour;
}

export class PendingRelay implements StreamSink, OpenerOwner<RelayHop>, Holder {
  /** Only the pool uses this field and the next two. */
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  readonly to = null;
  private readonly opener: CircuitOpener<RelayHop>;
  private early: SendQueue | null = null;
  private isClosed = false;
  /** Not null while the signature of its source waits to be checked. */
  private onGone: (() => void) | null = null;
  /** The OPEN, in memory of its own. */
  readonly open: Open;

  /** @param stream accepted, with `open` on it */
  constructor(
    private readonly relay: Relay,
    private readonly stream: MuxStream,
    open: Open,
    readonly from: RelayNeighbour,
    readonly source: RelaySource,
  ) {
    const { nodeId, routes, openTimeoutMs } = relay;
    const { src, dst, visited, relays, proof, trace } = open;
    const circuitId = Buffer.from(open.circuitId);
    const search = new HopSearch(
      {
        self: nodeId,
        src,
        dst,
        circuitHash: circuitHash(circuitId),
        passed: visited.slice(visited.length - relays),
        tried: visited.slice(0, visited.length - relays),
      },
      routes,
    );
    this.open = {
      ...open,
      circuitId,
      hopLimit: open.hopLimit - 1,
      proof: proof === undefined ? undefined : Buffer.from(proof),
      trace: trace === undefined ? undefined : Buffer.from(trace),
      rest: Buffer.from(open.rest),
    };
    const timeoutMs = Math.min(open.remainingMs ?? openTimeoutMs, openTimeoutMs);
    this.opener = new CircuitOpener(relay, this, search, this.open, timeoutMs);
    stream.sink = this;
  }

  /** Tries the first neighbour. The circuit may have ended before this returns. */
  start(): void {
    this.onGone = null;
    this.opener.start();
  }

  /** Waits for {@link start} or {@link refuse}; `onGone` is called when the circuit has ended before. */
  wait(onGone: () => void): void {
    this.onGone = onGone;
  }

  /** Answers that this node refuses it, with a ReplyCode. */
  refuse(code: number, reason: string, resetReason: number = ResetReason.NONE): void {
    if (this.isClosed) return;
    this.opener.cancel(resetReason);
    const { nodeId } = this.relay;
    this.onNoCircuit({ code, at: nodeId, reason }, [nodeId]);
  }

  /** Ends the circuit as a node at one of its ends is no member any more. */
  destroy(error: Error, reason: number): void {
    this.refuse(ReplyCode.DENIED, error.message, reason);
  }

  /** Resets the circuit on both sides. */
  reset(reason: number): void {
    if (this.isClosed) return;
    this.opener.cancel(reason);
    this.finish(undefined);
    this.stream.reset(reason);
  }

  // --- the stream on which it came ---

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    this.early ??= new SendQueue();
    this.early.pack(chunk);
    this.relay.pool.hold(this, chunk.length);
  }

  get keepsNothing(): boolean {
    return true;
  }

  [kOnEnd](): void {
    // Passed on with what came before it.
  }

  [kOnSent](): void {}

  [kOnReset](_stream: MuxStream, _error: Error, reason: number): void {
    if (this.isClosed) return;
    this.opener.cancel(passedOn(reason));
    this.finish(undefined);
  }

  // --- the next hop ---

  onCircuit(far: MuxStream, reply: ReadReply, { neighbour }: RelayHop): void {
    const { relay, stream: near, early } = this;
    this.isClosed = true;
    const splice = relay.splice(this, near, far, neighbour);
    const visited = [relay.nodeId, ...reply.visited].slice(0, MAX_VISITED);
    const bytes = encodeReply({ ...reply, visited });
    for (const stream of [near, far]) stream.expectForwarding();
    far.sink = splice;
    near.sink = near.write(bytes) ? splice : new QueuedPrefix(splice, bytes.length);
    early?.drain((part) => splice[kOnData](near, part));
    if (near.readEnded) splice[kOnEnd](near);
  }

  onNoCircuit(failure: HopFailure, tried: readonly NodeId[]): void {
    const { stream } = this;
    this.finish(failure);
    const { code, at, reason } = failure;
    stream.write(encodeReply({ code, port: 0, at, reason, visited: tried }));
    stream.close(true);
  }

  private finish(failure: HopFailure | undefined): void {
    this.isClosed = true;
    this.onGone?.();
    this.onGone = null;
    this.early = null;
    this.relay.onNoCircuit(this, failure);
  }
}
