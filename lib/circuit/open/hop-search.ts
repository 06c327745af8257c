// The search for a way at one node: which neighbour an OPEN goes to next, and what its failure means. Pure, and the same for
// diallers, relays and simulations.
//
//   visited of an OPEN = [ tried and led nowhere ... | passed, in order ... | this node, if it is a relay ]
//
// A failed neighbour returns what was tried beyond it (crankback), so that no node tries a dead end twice or visits a node again.
// So a search ends: with a circuit, with a failure that is final, or when all neighbours were tried.

import type { NodeId } from '../../address.js';
import { MAX_VISITED } from '../../wire/node-ids.js';
import { ReplyCode } from '../../wire/open-reply.js';
import type { Routes } from '../paths.js';

/** How many neighbours one node tries for a circuit. */
const MAX_TRIES = 3;

/** The node that searches, and how the circuit has come there. */
interface SearchStart {
  readonly self: NodeId;
  readonly src: NodeId;
  readonly dst: NodeId;
  readonly circuitHash: number;
  /** Relays between the source and this node, in order. */
  readonly passed: readonly NodeId[];
  /** Nodes that were tried before and led nowhere. */
  readonly tried: readonly NodeId[];
}

/** Why there is no circuit. */
export interface HopFailure {
  /** One of ReplyCode, or a later one. */
  readonly code: number;
  /** The node that reports the failure. */
  readonly at: NodeId;
  readonly reason: string;
  /** The error, if the failure happened at this node. */
  readonly error?: Error;
}

export class HopSearch {
  /** Whether there were other neighbours to try when the last one was chosen. */
  hasOthers = false;
  private current: NodeId | undefined;
  private tries = 0;
  private readonly deadEnds: NodeId[];
  private worst: HopFailure | undefined;

  constructor(
    private readonly start: SearchStart,
    private readonly routes: Routes,
    private readonly maxTries = MAX_TRIES,
  ) {
    this.deadEnds = start.tried.filter((nodeId) => nodeId !== start.dst);
  }

  /** Returns the next neighbour to try; undefined when there is none. `isUp` returns whether a stream to it can be opened. */
  next(isUp: (neighbour: NodeId) => boolean): NodeId | undefined {
    const { dst, circuitHash } = this.start;
    this.current = undefined;
    this.hasOthers = false;
    if (this.tries >= this.maxTries || !this.hasRoom) return undefined;
    const avoided = this.avoided();
    for (const neighbour of this.routes.nextHops(dst, circuitHash, avoided, this.deadEnds.length > 0)) {
      if (avoided.includes(neighbour) || !isUp(neighbour)) continue;
      if (this.current === undefined) this.current = neighbour;
      else {
        this.hasOthers = this.tries + 1 < this.maxTries;
        break;
      }
    }
    if (this.current !== undefined) this.tries++;
    return this.current;
  }

  /**
   * Called when the current neighbour led nowhere. Returns false when the failure is final, so that no other is tried. `isFair`: the
   * neighbour had enough time, so others are tried before it for a while.
   */
  failed(failure: HopFailure, visited: readonly NodeId[], isFair = true): boolean {
    const { self, src, dst } = this.start;
    const { current } = this;
    if (current === undefined) return false;
    this.current = undefined;
    // Only the source knows that its OPEN was valid, so that it was altered on its way, and can sign another one.
    const isRepeated = failure.code === ReplyCode.REPEATED;
    const isAltered = (failure.code === ReplyCode.INSECURE || isRepeated) && self === src;
    if (!isAltered && isFinal(failure, dst)) {
      this.worst = failure;
      // A neighbour that brings an answer of the destination leads there.
      if (failure.at === dst) this.routes.reward(current, dst);
      return false;
    }
    if (this.worst === undefined || weightOf(failure.code) >= weightOf(this.worst.code)) this.worst = failure;
    const isItsFault = isFair && !isRepeated && failure.code !== ReplyCode.LOOP && failure.code !== ReplyCode.HOP_LIMIT;
    if (isItsFault) this.routes.penalise(current, dst);
    const known = new Set(this.avoided()).add(dst).add(current);
    this.deadEnds.push(current);
    for (const nodeId of visited) {
      if (known.has(nodeId) || this.deadEnds.length > MAX_VISITED) continue;
      known.add(nodeId);
      this.deadEnds.push(nodeId);
    }
    return true;
  }

  /** Called when there is no time to try the current neighbour. */
  expired(): void {
    this.current = undefined;
    this.worst ??= { code: ReplyCode.TIMEOUT, at: this.start.self, reason: 'no time is left' };
  }

  /** Called when the current neighbour has led to the destination. */
  accepted(): void {
    if (this.current !== undefined) this.routes.reward(this.current, this.start.dst);
  }

  /** The list of visited nodes for OPEN. */
  get visited(): NodeId[] {
    return [...this.triedElsewhere, ...this.start.passed, ...this.ownId];
  }

  /** How many of them, at the end, the circuit passes through. */
  get relays(): number {
    return this.start.passed.length + this.ownId.length;
  }

  /** The nodes tried, as the node before gets them when nothing led to the destination. */
  get tried(): NodeId[] {
    return [...this.triedElsewhere, ...this.ownId].slice(-MAX_VISITED);
  }

  /** Why there is no way. */
  get failure(): HopFailure {
    const { self, dst } = this.start;
    return this.worst ?? { code: ReplyCode.NO_ROUTE, at: self, reason: `no way to ${dst}` };
  }

  /** Dead ends for every node. Not the destination, which only this node cannot reach by its own link. */
  private get triedElsewhere(): NodeId[] {
    return this.deadEnds.filter((nodeId) => nodeId !== this.start.dst);
  }

  private get ownId(): readonly NodeId[] {
    const { self, src } = this.start;
    return self === src ? [] : [self];
  }

  private get hasRoom(): boolean {
    return this.triedElsewhere.length + this.relays <= MAX_VISITED;
  }

  private avoided(): NodeId[] {
    const { self, src, passed } = this.start;
    return [self, src, ...passed, ...this.deadEnds];
  }
}

/** Returns whether no other way can change the failure: the destination has answered, or a node does not allow the circuit. */
export function isFinal({ code, at }: HopFailure, dst: NodeId): boolean {
  switch (code) {
    case ReplyCode.NO_ROUTE:
    case ReplyCode.TIMEOUT:
    case ReplyCode.HOP_LIMIT:
    case ReplyCode.LOOP:
      return false;
    case ReplyCode.LIMIT:
      return at === dst;
    default:
      return true;
  }
}

/** The failure with the highest weight, which says most, is passed on. */
function weightOf(code: number): number {
  switch (code) {
    case ReplyCode.INSECURE:
    case ReplyCode.REPEATED:
      return 4;
    case ReplyCode.LIMIT:
      return 3;
    case ReplyCode.TIMEOUT:
      return 2;
    case ReplyCode.LOOP:
      return 0;
    default:
      return 1;
  }
}
