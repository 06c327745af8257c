// Relays circuits of other nodes: admits them, finds the next hop, and joins the streams. Counts them, and ends them when the node
// ends.

import type { NodeId } from '../../address.js';
import { kOnData } from '../../mux/hidden.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { Deadline } from '../../util/deadline.js';
import { type RelayEvent, relayChannel } from '../../util/diagnostics.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import { encodeReply, ReplyCode } from '../../wire/open-reply.js';
import type { Membership } from '../membership.js';
import type { HopFailure } from '../open/hop-search.js';
import type { OpenerHost } from '../open/opener.js';
import type { Routes } from '../paths.js';
import { RelayAdmission, type RelayNeighbour } from './admission.js';
import type { RelayLimits } from './limits.js';
import { NOT_ALLOWED, type Passage, type Sender } from './passage.js';
import { PendingRelay, type RelayHop } from './pending-relay.js';
import { RelayPool } from './pool.js';
import { MemberSplice, Splice } from './splice.js';

/** Counts of circuits through this node. */
export interface RelayCounters {
  /** Open now, and being opened. */
  circuits: number;
  pending: number;
  /** Since the start: opened; not admitted, or led nowhere; ended by the loss of a link or by a limit. */
  opened: number;
  refused: number;
  /** Of the refused ones, those beyond a limit of this node. */
  limited: number;
  lost: number;
  /** Payload since the start, in both directions. */
  bytes: number;
}

const log = debug('relay');

/** What diallers get as the reason while this node drains or closes. */
export const DRAINS = 'this node drains';

/** Circuits that are reset in one turn of the event loop when the relay closes. */
const CIRCUITS_PER_TURN = 1000;

interface RelaySetup {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly limits: RelayLimits;
  /** False: refuses circuits of other nodes. */
  readonly isEnabled: boolean;
  /** The relay rules; undefined when every circuit may pass. */
  readonly passage?: Passage | undefined;
  /** Undefined where there are no members. */
  readonly membership?: Membership | undefined;
  readonly routes: Routes;
  hop(neighbour: NodeId): RelayHop | undefined;
}

export class Relay implements OpenerHost<RelayHop> {
  readonly counters: RelayCounters = { circuits: 0, pending: 0, opened: 0, refused: 0, limited: 0, lost: 0, bytes: 0 };
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly routes: Routes;
  readonly pool: RelayPool;
  private readonly limits: RelayLimits;
  private readonly admission: RelayAdmission;
  private isDraining = false;
  /** Of circuits whose opening was published. */
  private readonly published = new WeakMap<Splice, RelayEvent>();
  /** Called when the last circuit has ended. */
  private readonly idleWaits = new Set<() => void>();

  constructor(private readonly setup: RelaySetup) {
    const { nodeId, timers, limits } = setup;
    this.nodeId = nodeId;
    this.timers = timers;
    this.limits = limits;
    this.routes = setup.routes;
    this.pool = new RelayPool(limits.poolBytes, passedOn(ResetReason.RELAY_LIMIT));
    this.admission = new RelayAdmission(limits, this.pool);
  }

  /** Bytes held for slow readers. */
  get heldBytes(): number {
    return this.pool.all.held;
  }

  /** Called with an OPEN for another node on a stream of a neighbour. `rest` came behind it. `sender`: the neighbour. */
  onOpen(from: RelayNeighbour, stream: MuxStream, open: Open, rest: Buffer, sender: Sender): void {
    // Leaves the accept backlog in any case: circuits to a node that does not answer must not fill that.
    stream.accept();
    if (!this.setup.isEnabled) return this.refuse(stream, ReplyCode.NO_ROUTE, 'this node relays nothing', open);
    if (this.isDraining) return this.refuse(stream, ReplyCode.NO_ROUTE, DRAINS, open);
    if (open.hopLimit === 0) return this.refuse(stream, ReplyCode.HOP_LIMIT, 'the hop limit is used up', open);
    if (open.src === this.nodeId || open.visited.includes(this.nodeId)) {
      return this.refuse(stream, ReplyCode.LOOP, 'the circuit has been here', open);
    }
    const admission = this.admission.admit(from, open.src, open.circuitId, this.timers.now());
    if ('refused' in admission) {
      const code = admission.refused === 'loop' ? ReplyCode.LOOP : ReplyCode.LIMIT;
      if (code === ReplyCode.LIMIT) this.counters.limited++;
      return this.refuse(stream, code, admission.reason, open);
    }
    const { passage, membership } = this.setup;
    // That a certificate is not known here yet is left to the destination: only it has to know.
    const end = membership?.endOf(open.src) ?? membership?.endOf(open.dst);
    const answer = end === undefined ? (passage?.ask(open, sender) ?? 'yes') : 'no';
    if (answer === 'no') {
      this.admission.release(from, admission.source);
      return this.refuse(stream, ReplyCode.DENIED, end?.message ?? NOT_ALLOWED, open);
    }
    const pending = new PendingRelay(this, stream, open, from, admission.source);
    this.pool.add(pending);
    this.counters.pending++;
    membership?.add(open.src, pending);
    membership?.add(open.dst, pending);
    if (rest.length > 0) pending[kOnData](stream, rest);
    if (answer === 'yes') pending.start();
    else if (passage?.verify(pending, from) === false) {
      this.counters.limited++;
      pending.refuse(ReplyCode.LIMIT, 'too many circuits wait to be checked (acceptBacklog)');
    }
  }

  /** Takes no more circuits; those that are open, or being opened, go on. */
  drain(): void {
    this.isDraining = true;
  }

  /** Resolves when no circuit is left, or after `timeoutMs` with some left. */
  idle(timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.pool.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const deadline = new Deadline(this.timers, () => settle());
      const settle = (): void => {
        this.idleWaits.delete(settle);
        deadline.clear();
        resolve();
      };
      this.idleWaits.add(settle);
      if (timeoutMs !== Number.POSITIVE_INFINITY) deadline.set(timeoutMs);
    });
  }

  /** Resets every circuit, the first ones before this returns. Resolves when none is left. */
  async close(): Promise<void> {
    this.isDraining = true;
    const reason = passedOn(ResetReason.RELAY_CLOSED);
    const { pool } = this;
    while (pool.any !== null) {
      for (let ended = 0; ended < CIRCUITS_PER_TURN; ended++) pool.any?.reset(reason);
      if (pool.any !== null) await new Promise<void>((resolve) => this.timers.clock.setImmediate(resolve));
    }
  }

  // --- for circuits that are being opened ---

  get hopTimeoutMs(): number {
    return this.limits.hopTimeoutMs;
  }

  /** How long an OPEN may take here at most, in ms, whatever it says itself. */
  get openTimeoutMs(): number {
    return this.limits.openTimeoutMs;
  }

  /** Returns a neighbour as the next hop, unless the circuits of its link hold too much. */
  hop(neighbour: NodeId): RelayHop | undefined {
    const hop = this.setup.hop(neighbour);
    return hop?.neighbour.share.isTight ? undefined : hop;
  }

  /** Joins the streams of a circuit that is open. */
  splice(pending: PendingRelay, near: MuxStream, far: MuxStream, to: RelayNeighbour): Splice {
    const { from, source } = pending;
    const { membership } = this.setup;
    let splice: Splice;
    if (membership === undefined) splice = new Splice(this, near, far, from, to, source);
    else {
      const { src, dst } = pending.open;
      const listed = new MemberSplice(this, near, far, from, to, source, dst);
      for (const end of [src, dst]) {
        membership.delete(end, pending);
        membership.add(end, listed);
      }
      splice = listed;
    }
    this.pool.remove(pending);
    this.pool.add(splice);
    this.counters.pending--;
    this.counters.circuits++;
    this.counters.opened++;
    if (relayChannel.hasSubscribers) this.published.set(splice, this.publish('open', pending.open, ''));
    return splice;
  }

  /** Called when the circuit has ended before it was open. */
  onNoCircuit(pending: PendingRelay, failure: HopFailure | undefined): void {
    this.pool.remove(pending);
    this.setup.membership?.delete(pending.open.src, pending);
    this.setup.membership?.delete(pending.open.dst, pending);
    this.counters.pending--;
    this.admission.release(pending.from, pending.source);
    if (failure !== undefined) {
      this.counters.refused++;
      if (relayChannel.hasSubscribers) this.publish('refuse', pending.open, failure.reason);
    }
    this.noteIdle();
  }

  // --- for splices ---

  /** How far the receive window of a relayed stream may grow. */
  get maxWindowBytes(): number {
    return this.limits.maxWindowBytes;
  }

  /** How long a reader may take nothing of what its sender had ended before it was reset, in ms. */
  get drainTimeoutMs(): number {
    return this.limits.drainTimeoutMs;
  }

  /** Called when the circuit has ended. `reason`: of the reset, if there was one. */
  onSpliceEnd(splice: Splice, reason: number): void {
    this.pool.remove(splice);
    if (splice instanceof MemberSplice) {
      this.setup.membership?.delete(splice.source.nodeId, splice);
      this.setup.membership?.delete(splice.destination, splice);
    }
    this.counters.circuits--;
    if (reason !== ResetReason.NONE) this.counters.lost++;
    const opened = relayChannel.hasSubscribers ? this.published.get(splice) : undefined;
    if (opened !== undefined) {
      const ending: RelayEvent = { ...opened, type: 'close', reason: reason === ResetReason.NONE ? '' : 'lost' };
      relayChannel.publish(ending);
    }
    this.admission.release(splice.from, splice.source);
    this.noteIdle();
  }

  private noteIdle(): void {
    if (this.idleWaits.size === 0 || this.pool.size > 0) return;
    for (const settle of [...this.idleWaits]) settle();
  }

  private publish(type: RelayEvent['type'], { src, dst }: Open, reason: string): RelayEvent {
    const event: RelayEvent = { nodeId: this.nodeId, type, sourceId: src, destinationId: dst, reason };
    relayChannel.publish(event);
    return event;
  }

  private refuse(stream: MuxStream, code: number, reason: string, open: Open): void {
    log('refused a circuit: %d %s', code, reason);
    this.counters.refused++;
    if (relayChannel.hasSubscribers) this.publish('refuse', open, reason);
    stream.write(encodeReply({ code, port: 0, at: this.nodeId, reason, visited: [this.nodeId] }));
    stream.close(true);
  }
}
