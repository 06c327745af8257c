// Passes on circuits of others: admits them, finds the next hop, and joins the streams. What is counted about them, and how
// all of them end when the node does.

import type { NodeId } from '../../address.js';
import { kOnData } from '../../mux/hidden.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import type { HopFailure } from '../open/hop-search.js';
import type { Routes } from '../path.js';
import { RelayAdmission, type RelayNeighbour } from './admission.js';
import type { RelayCounters } from './counters.js';
import { HalfCircuit, type HalfCircuitHost, type RelayHop } from './half-circuit.js';
import type { RelayLimits } from './limits.js';
import { RelayPool } from './pool.js';
import { Splice, type SpliceHost } from './splice.js';

const log = debug('relay');

/** Circuits that are reset in one turn of the event loop when the relay closes. */
const CIRCUITS_PER_TURN = 1000;

export interface RelaySetup {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly limits: RelayLimits;
  /** False: circuits of others are refused. */
  readonly isEnabled: boolean;
  /** Asked each time: it may change. */
  readonly routes: () => Routes;
  hop(neighbour: NodeId): RelayHop | undefined;
}

export class Relay implements HalfCircuitHost, SpliceHost {
  readonly counters: RelayCounters = { circuits: 0, pending: 0, opened: 0, refused: 0, lost: 0, bytes: 0 };
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly pool: RelayPool;
  private readonly limits: RelayLimits;
  private readonly admission: RelayAdmission;
  private isDraining = false;
  /** Whoever waits for the last circuit to end. */
  private onIdle: (() => void) | undefined;

  constructor(private readonly setup: RelaySetup) {
    const { nodeId, timers, limits } = setup;
    this.nodeId = nodeId;
    this.timers = timers;
    this.limits = limits;
    this.pool = new RelayPool(limits.poolBytes, passedOn(ResetReason.RELAY_LIMIT));
    this.admission = new RelayAdmission(limits, this.pool);
  }

  /** Bytes that are held for slow readers. */
  get heldBytes(): number {
    return this.pool.all.held;
  }

  /** An OPEN for another node, by a stream of a neighbour. `rest` came behind it. */
  onOpen(from: RelayNeighbour, stream: MuxStream, open: Open, rest: Buffer): void {
    // Out of the accept backlog, whatever becomes of it: circuits to a node that does not answer must not fill that.
    stream.accept();
    if (!this.setup.isEnabled) return this.refuse(stream, ReplyCode.NO_ROUTE, 'this node relays nothing');
    if (this.isDraining) return this.refuse(stream, ReplyCode.NO_ROUTE, 'this node is about to leave');
    if (open.hopLimit === 0) return this.refuse(stream, ReplyCode.HOP_LIMIT, 'the hop limit is used up');
    if (open.src === this.nodeId || open.visited.includes(this.nodeId)) {
      return this.refuse(stream, ReplyCode.LOOP, 'the circuit has been here');
    }
    const admission = this.admission.admit(from, open.src, open.circuitId, this.timers.now());
    if ('refused' in admission) {
      const code = admission.refused === 'loop' ? ReplyCode.LOOP : ReplyCode.LIMIT;
      return this.refuse(stream, code, admission.reason);
    }
    const half = new HalfCircuit(this, stream, open, from, admission.source);
    this.pool.add(half);
    this.counters.pending++;
    if (rest.length > 0) half[kOnData](stream, rest);
    half.start();
  }

  /**
   * Takes no more circuits; those that stand, or are on their way, go on. Resolved when none is left, or after `timeoutMs` with
   * some left.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.isDraining = true;
    if (this.pool.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.timers.schedule(timeoutMs, { onDeadline: () => resolve() });
      this.onIdle = () => {
        this.timers.cancel(timer);
        resolve();
      };
    });
    this.onIdle = undefined;
  }

  /** Resets every circuit, the first ones before this returns. Resolved when none is left. */
  async close(): Promise<void> {
    this.isDraining = true;
    const reason = passedOn(ResetReason.RELAY_CLOSED);
    const { pool } = this;
    while (pool.any !== null) {
      for (let ended = 0; ended < CIRCUITS_PER_TURN; ended++) pool.any?.reset(reason);
      if (pool.any !== null) await new Promise<void>((resolve) => this.timers.clock.setImmediate(resolve));
    }
  }

  // --- for circuits on their way ---

  get routes(): Routes {
    return this.setup.routes();
  }

  get hopTimeoutMs(): number {
    return this.limits.hopTimeoutMs;
  }

  get openTimeoutMs(): number {
    return this.limits.openTimeoutMs;
  }

  /** A link whose circuits hold too much takes no more of them. */
  hop(neighbour: NodeId): RelayHop | undefined {
    const hop = this.setup.hop(neighbour);
    return hop?.neighbour.share.isTight ? undefined : hop;
  }

  splice(half: HalfCircuit, near: MuxStream, far: MuxStream, to: RelayNeighbour): Splice {
    const splice = new Splice(this, near, far, half.from, to, half.source);
    this.pool.remove(half);
    this.pool.add(splice);
    this.counters.pending--;
    this.counters.circuits++;
    this.counters.opened++;
    return splice;
  }

  onNoCircuit(half: HalfCircuit, failure: HopFailure | undefined): void {
    this.pool.remove(half);
    this.counters.pending--;
    this.admission.release(half.from, half.source);
    if (failure !== undefined) this.counters.refused++;
    this.noteIdle();
  }

  // --- for splices ---

  get maxWindowBytes(): number {
    return this.limits.maxWindowBytes;
  }

  get drainTimeoutMs(): number {
    return this.limits.drainTimeoutMs;
  }

  onSpliceOver(splice: Splice, reason: number): void {
    this.pool.remove(splice);
    this.counters.circuits--;
    if (reason !== ResetReason.NONE) this.counters.lost++;
    this.admission.release(splice.from, splice.source);
    this.noteIdle();
  }

  private noteIdle(): void {
    if (this.onIdle !== undefined && this.pool.size === 0) this.onIdle();
  }

  private refuse(stream: MuxStream, code: number, reason: string): void {
    log('refused a circuit: %d %s', code, reason);
    this.counters.refused++;
    stream.write(encodeReply({ code, port: 0, at: this.nodeId, reason, visited: [this.nodeId] }));
    stream.abandon(true);
  }
}
