// Circuits of the simulation: OPEN goes from node to node as in lib/circuit, with the same search at each and the same
// timeouts, and comes back from a dead end. No data follows: what counts is whether it gets there, and how.

import type { NodeId } from '../../lib/address.js';
import { type HopFailure, HopSearch } from '../../lib/circuit/open/hop-search.js';
import { HopTimeout } from '../../lib/circuit/open/hop-timeout.js';
import type { Timed, Timer } from '../../lib/util/timers.js';
import { ReplyCode } from '../../lib/wire/open-reply.js';
import type { SimLink, StreamHolder, StreamMail } from './sim-link.js';
import type { Run, SimNode } from './sim-node.js';

const HOP_TIMEOUT_MS = 1_500;
const DEADLINE_MS = 5_000;
const HOP_LIMIT = 16;
const OPEN_BYTES = 75;
const REPLY_BYTES = 20;
const ACK_BYTES = 12;
const NODE_ID_BYTES = 8;

/** The outcome of a circuit. */
export interface Outcome {
  readonly isOpen: boolean;
  readonly failure: HopFailure | undefined;
  /** Nodes between source and destination, in order. */
  readonly relays: readonly NodeId[];
  readonly tookMs: number;
  /** How many OPENs were sent for it, by all nodes together. */
  readonly opens: number;
  /** How many of them came to a node that had seen the circuit. */
  readonly revisits: number;
  /** For each of them that a draining node has refused: how long it had been draining, in ms. */
  readonly drainedMs: readonly number[];
}

/** What the nodes on the way of one circuit share: a relay remembers its id. */
class Circuit {
  opens = 0;
  revisits = 0;
  readonly drainedMs: number[] = [];
  readonly seenAt = new Set<string>();
  /** Streams that are part of it, in the order in which they came. */
  private readonly held = new Map<SimLink, Set<StreamHolder>>();

  constructor(
    readonly hash: number,
    readonly src: NodeId,
    readonly dst: NodeId,
  ) {}

  hold(link: SimLink, holder: StreamHolder): void {
    link.holders.add(holder);
    const holders = this.held.get(link) ?? new Set();
    this.held.set(link, holders.add(holder));
  }

  /** It ends: so do its streams. */
  end(): void {
    for (const [link, holders] of this.held) for (const holder of holders) link.holders.delete(holder);
    this.held.clear();
  }
}

/**
 * Opens a circuit. `onDone` is called once, by the time that its deadline has passed. As a dialler does, it searches a second
 * time when the first one met nodes that did not answer, under another id.
 */
export function openCircuit(
  from: SimNode,
  dst: NodeId,
  hash: number,
  onDone: (outcome: Outcome) => void,
  timeoutMs = DEADLINE_MS,
): void {
  const run = from.run;
  if (run === undefined) throw new Error('a node that does not run opens nothing');
  const { loop } = from.setup.wide;
  const startMs = loop.now;
  const counts = { opens: 0, revisits: 0 };
  const drainedMs: number[] = [];
  const search = (circuitHash: number, mayRepeat: boolean): void => {
    const circuit = new Circuit(circuitHash, from.nodeId, dst);
    const finish = (failure: HopFailure | undefined, relays: readonly NodeId[]): void => {
      counts.opens += circuit.opens;
      counts.revisits += circuit.revisits;
      drainedMs.push(...circuit.drainedMs);
      if (failure?.code === ReplyCode.TIMEOUT && mayRepeat) search(circuitHash + 1, false);
      else onDone({ isOpen: failure === undefined, failure, relays, tookMs: loop.now - startMs, drainedMs, ...counts });
      circuit.end();
    };
    const start = { self: from.nodeId, src: from.nodeId, dst, circuitHash, passed: [], tried: [] };
    const attempt = new Attempt(circuit, run, start, HOP_LIMIT, startMs + timeoutMs - loop.now, {
      onCircuit: (relays) => finish(undefined, relays),
      onNoCircuit: (failure) => finish(failure, []),
    });
    attempt.next();
  };
  search(hash, true);
}

interface AttemptOwner {
  onCircuit(relays: readonly NodeId[]): void;
  onNoCircuit(failure: HopFailure, tried: readonly NodeId[]): void;
}

/** The search for a route at one node. */
class Attempt implements Timed, StreamHolder {
  private readonly search: HopSearch;
  private readonly deadlineMs: number;
  private link: SimLink | undefined;
  private timer: Timer | undefined;
  private wait: HopTimeout | undefined;
  private isAcknowledged = false;
  private isOver = false;

  constructor(
    private readonly circuit: Circuit,
    private readonly run: Run,
    private readonly start: ConstructorParameters<typeof HopSearch>[0],
    private readonly hopLimit: number,
    timeoutMs: number,
    private readonly owner: AttemptOwner,
  ) {
    this.search = new HopSearch(start, run.plane.view.routes);
    this.deadlineMs = run.links.timers.now() + timeoutMs;
  }

  next(): void {
    const { links, plane } = this.run;
    const neighbour = this.search.next((nodeId) => links.get(nodeId)?.isUp === true);
    const link = neighbour === undefined ? undefined : links.get(neighbour);
    if (link === undefined) {
      this.giveUp();
      return;
    }
    const now = links.timers.now();
    const wait = new HopTimeout({
      now,
      leftMs: this.deadlineMs - now,
      limitMs: HOP_TIMEOUT_MS,
      hasOthers: this.search.hasOthers,
      rttMs: link.rttMs,
      lateMs: link.lateMs,
      route: plane.view.routes.route(this.circuit.dst),
    });
    this.wait = wait;
    if (!wait.isWorthTrying) {
      this.search.expired();
      this.giveUp();
      return;
    }
    this.link = link;
    this.isAcknowledged = false;
    this.timer = links.timers.schedule(wait.firstMs, this);
    this.circuit.opens++;
    this.circuit.hold(link, this);
    const { visited, relays } = this.search;
    link.mail(new OpenMail(this.circuit, visited, relays, this.hopLimit - 1, wait.grantedMs, this));
  }

  onAcknowledged(link: SimLink): void {
    if (this.link === link) this.isAcknowledged = true;
  }

  onReply(link: SimLink, reply: Reply): void {
    if (this.isOver || this.link !== link) return;
    this.drop();
    if (reply.failure === undefined) {
      this.isOver = true;
      this.search.accepted();
      this.owner.onCircuit(reply.relays);
    } else this.failed(reply.failure, reply.tried);
  }

  onLinkLost(link: SimLink): void {
    if (this.isOver || this.link !== link || this.run.process.isEnded) return;
    this.drop();
    this.failed({ code: ReplyCode.NO_ROUTE, at: this.start.self, reason: 'the link was lost' }, []);
  }

  onDeadline(): void {
    this.timer = undefined;
    const { link } = this;
    this.run.links.timers.clock.setImmediate(() => {
      if (this.isOver || this.link !== link || this.timer !== undefined) return;
      const { timers } = this.run.links;
      const longerMs = this.isAcknowledged ? (this.wait?.longerMs(timers.now()) ?? 0) : 0;
      if (longerMs > 0) {
        this.timer = timers.schedule(longerMs, this);
        return;
      }
      this.drop();
      this.failed({ code: ReplyCode.TIMEOUT, at: this.start.self, reason: `${link?.peerId} does not answer` }, []);
    });
  }

  private get hadTime(): boolean {
    return this.wait?.isFair(this.run.plane.view.routes.route(this.circuit.dst)?.cost ?? 0) === true;
  }

  private failed(failure: HopFailure, tried: readonly NodeId[]): void {
    const isFair = failure.code !== ReplyCode.TIMEOUT || this.hadTime;
    if (this.search.failed(failure, tried, isFair)) this.next();
    else this.giveUp();
  }

  private giveUp(): void {
    this.isOver = true;
    this.owner.onNoCircuit(this.search.failure, this.search.tried);
  }

  private drop(): void {
    this.link?.holders.delete(this);
    this.link = undefined;
    if (this.timer !== undefined) this.run.links.timers.cancel(this.timer);
    this.timer = undefined;
  }
}

interface Reply {
  /** Undefined: the circuit is established. */
  readonly failure: HopFailure | undefined;
  readonly relays: readonly NodeId[];
  readonly tried: readonly NodeId[];
}

class OpenMail implements StreamMail, StreamHolder {
  readonly bytes: number;

  constructor(
    private readonly circuit: Circuit,
    private readonly visited: readonly NodeId[],
    /** The last ones of `visited` are those that the circuit passes through. */
    private readonly relays: number,
    private readonly hopLimit: number,
    private readonly remainingMs: number,
    private readonly sender: Attempt,
  ) {
    this.bytes = OPEN_BYTES + NODE_ID_BYTES * visited.length;
  }

  onArrival(link: SimLink): void {
    const { circuit, visited, relays } = this;
    const { node } = link;
    const run = node.run;
    if (run === undefined) return;
    circuit.hold(link, this);
    link.mail({ bytes: ACK_BYTES, onArrival: (end) => this.sender.onAcknowledged(end) });
    const passed = visited.slice(visited.length - relays);
    const fail = (code: number, reason: string, tried: readonly NodeId[] = []): void =>
      this.reply(link, { failure: { code, at: node.nodeId, reason }, relays: [], tried });
    const { drainsSinceMs } = node;
    if (drainsSinceMs !== undefined) {
      circuit.drainedMs.push(node.setup.wide.loop.now - drainsSinceMs);
      fail(node.nodeId === circuit.dst ? ReplyCode.REFUSED : ReplyCode.NO_ROUTE, 'it drains', [node.nodeId]);
      return;
    }
    if (node.nodeId === circuit.dst) {
      this.reply(link, { failure: undefined, relays: passed, tried: [] });
      return;
    }
    if (circuit.seenAt.has(run.bootId) || visited.includes(node.nodeId)) {
      circuit.revisits++;
      fail(ReplyCode.LOOP, 'it was here before');
      return;
    }
    circuit.seenAt.add(run.bootId);
    if (this.hopLimit <= 0) fail(ReplyCode.HOP_LIMIT, 'too many hops');
    else if (!node.setup.relay) fail(ReplyCode.NO_ROUTE, 'not a relay');
    else this.search(link, run, passed);
  }

  /** The node before is gone: the answer has no receiver. */
  onLinkLost(): void {}

  private search(link: SimLink, run: Run, passed: readonly NodeId[]): void {
    const { circuit, visited } = this;
    const { nodeId } = link.node;
    const tried = visited.slice(0, visited.length - passed.length);
    const start = { self: nodeId, src: circuit.src, dst: circuit.dst, circuitHash: circuit.hash, passed, tried };
    const attempt = new Attempt(circuit, run, start, this.hopLimit, this.remainingMs, {
      onCircuit: (relays) => this.reply(link, { failure: undefined, relays, tried: [] }),
      onNoCircuit: (failure, all) => this.reply(link, { failure, relays: [], tried: all }),
    });
    attempt.next();
  }

  private reply(link: SimLink, reply: Reply): void {
    if (reply.failure !== undefined) link.holders.delete(this);
    const bytes = REPLY_BYTES + NODE_ID_BYTES * Math.max(reply.relays.length, reply.tried.length);
    link.mail({ bytes, onArrival: (end) => this.sender.onReply(end, reply) });
  }
}
