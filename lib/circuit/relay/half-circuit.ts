// A circuit on its way through a relay: the neighbour before has opened it, the one behind has not answered yet. Data
// that comes early is kept unread, so that no credit is given for it, and given on once the circuit stands.

import type { NodeId } from '../../address.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { SendQueue } from '../../mux/send/send-queue.js';
import { passedOn } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { MAX_VISITED } from '../../wire/node-ids.js';
import type { Open } from '../../wire/open.js';
import { encodeReply, type ReadReply } from '../../wire/open-reply.js';
import { circuitHash } from '../dial/circuit-ids.js';
import { Crankback, type CrankbackHost, type CrankbackOwner } from '../open/crankback.js';
import { type HopFailure, HopSearch } from '../open/hop-search.js';
import { QueuedPrefix } from '../open/queued-prefix.js';
import type { Hop } from '../path.js';
import type { RelayNeighbour, RelaySource } from './admission.js';
import type { Holder, RelayPool } from './pool.js';

/** A neighbour as relays see it: the next hop of circuits, and whose circuits they are. */
export interface RelayHop extends Hop {
  readonly neighbour: RelayNeighbour;
}

/** The relay, as far as a circuit on its way needs it. */
export interface HalfCircuitHost extends CrankbackHost<RelayHop> {
  readonly pool: RelayPool;
  /** The longest that an OPEN may take here, in ms, whatever it says itself. */
  readonly openTimeoutMs: number;
  /** The circuit stands: joins the streams. */
  splice(half: HalfCircuit, near: MuxStream, far: MuxStream, to: RelayNeighbour): StreamSink;
  /** It does not stand, and never will. */
  onNoCircuit(half: HalfCircuit, failure: HopFailure | undefined): void;
}

export class HalfCircuit implements StreamSink, CrankbackOwner<RelayHop>, Holder {
  /** For the pool alone, as the next two. */
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  readonly to = null;
  private readonly crankback: Crankback<RelayHop>;
  private early: SendQueue | null = null;
  private isOver = false;

  /** @param stream accepted, with `open` on it */
  constructor(
    private readonly host: HalfCircuitHost,
    private readonly stream: MuxStream,
    open: Open,
    readonly from: RelayNeighbour,
    readonly source: RelaySource,
  ) {
    const { nodeId, routes, openTimeoutMs } = host;
    const { src, dst, visited, relays, proof } = open;
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
    const template = {
      ...open,
      circuitId,
      hopLimit: open.hopLimit - 1,
      proof: proof === undefined ? undefined : Buffer.from(proof),
      rest: Buffer.from(open.rest),
    };
    const timeoutMs = Math.min(open.remainingMs ?? openTimeoutMs, openTimeoutMs);
    this.crankback = new Crankback(host, this, search, template, timeoutMs);
    stream.sink = this;
  }

  /** Goes to the first neighbour. May be over before this returns. */
  start(): void {
    this.crankback.start();
  }

  /** Gives it up: both sides are reset. */
  reset(reason: number): void {
    if (this.isOver) return;
    this.crankback.cancel(reason);
    this.finish(undefined);
    this.stream.reset(reason);
  }

  // --- the stream that it came by ---

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    this.early ??= new SendQueue();
    this.early.pack(chunk);
    this.host.pool.hold(this, chunk.length);
  }

  get keepsNothing(): boolean {
    return true;
  }

  [kOnEnd](): void {
    // Told onwards with what came before it.
  }

  [kOnSent](): void {}

  [kOnReset](_stream: MuxStream, _error: Error, reason: number): void {
    if (this.isOver) return;
    this.crankback.cancel(passedOn(reason));
    this.finish(undefined);
  }

  // --- the way onwards ---

  onCircuit(far: MuxStream, reply: ReadReply, { neighbour }: RelayHop): void {
    const { host, stream: near, early } = this;
    this.isOver = true;
    const splice = host.splice(this, near, far, neighbour);
    const visited = [host.nodeId, ...reply.visited].slice(0, MAX_VISITED);
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
    stream.abandon(true);
  }

  private finish(failure: HopFailure | undefined): void {
    this.isOver = true;
    this.early = null;
    this.host.onNoCircuit(this, failure);
  }
}
