// Broadcast: what one participant sends, all others get, over a tree that repairs itself. docs/broadcast.md has the promise.

import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { isServiceName, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../../address.js';
import { optionError, starlaneError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import { Deadline } from '../../util/deadline.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { sharedTimers } from '../../util/timers.js';
import { envDigests } from '../../wire/messages.js';
import { checkNode } from '../node-argument.js';
import { type BroadcastData, decodeContent, encodeContent } from './content.js';
import type { Frame, Gossip, OriginKey } from './frames.js';
import { type BroadcastOptions, type ResolvedBroadcastOptions, resolveBroadcastOptions } from './options.js';
import { Participants } from './participants.js';
import { PendingMessages } from './pending.js';
import { TREE_LIMITS } from './tree/limits.js';
import { BroadcastTree } from './tree/tree.js';

const NODE_ID_BYTES = 8;
const RUN_BYTES = 8;

/** A message of another participant. */
export interface BroadcastMessage {
  /** What was sent: bytes, text, or a value of JSON. */
  readonly data: unknown;
  /** The participant that sent the message, according to its neighbours. */
  readonly from: NodeId;
  /** A text that no other message has: the run of its origin, and its number. */
  readonly id: string;
  /** How many circuits the message has passed, at most 255: 1 from a neighbour. */
  readonly hops: number;
}

/** Messages of one origin that will not arrive. */
export interface BroadcastGap {
  /** The origin. */
  readonly from: NodeId;
  /** How many messages are lost. */
  readonly count: number;
}

/** A neighbour or the handler takes messages more slowly than they come. */
export interface BroadcastSlow {
  /** The neighbour that gets announcements instead of messages for now; undefined when it is the handler of this participant. */
  readonly neighbour?: NodeId | undefined;
  /** Messages that the handler has lost since the last event; 0 for a neighbour, which asks for what it misses. */
  readonly dropped: number;
}

/** Events of {@link Broadcast}. */
export interface BroadcastEvents {
  /** This participant has found the others: it misses nothing that is sent from now on. Emitted once, not without a neighbour. */
  ready: [];
  /** Messages of an origin are lost to this participant. */
  gap: [gap: BroadcastGap];
  /** The handler is slow and messages were dropped, or a neighbour is slow. */
  slow: [slow: BroadcastSlow];
  /** A neighbour has broken the protocol (ERR_STARLANE_MESSAGE_PROTOCOL), and its circuit has ended. */
  warning: [error: Error];
  /** The broadcast is closed. */
  close: [];
}

/** The counters of one participant. */
export interface BroadcastStats {
  /** Other participants in the directory. */
  readonly participants: number;
  /** Participants with a circuit to this one. */
  readonly neighbours: number;
  /** Whether the event 'ready' was emitted. */
  readonly ready: boolean;
  /** Neighbours that get messages at once, in the tree that all share. */
  readonly eager: number;
  /** Neighbours that get announcements. */
  readonly lazy: number;
  /** Messages of this participant. */
  readonly sent: number;
  /** Messages of other participants, each counted once. */
  readonly delivered: number;
  /** Messages that arrived more than once. */
  readonly duplicates: number;
  /** Duplicates for each message delivered: 0 in a perfect tree. */
  readonly redundancy: number;
  /** Neighbours that were asked for messages instead of announcements. */
  readonly grafts: number;
  /** Neighbours that were asked for announcements instead of messages. */
  readonly prunes: number;
  /** Messages that were fetched from the memory of a neighbour. */
  readonly repaired: number;
  /** Messages that did not arrive: those of the event 'gap'. */
  readonly lost: number;
  /** Messages that the handler was too slow for. */
  readonly dropped: number;
  /** Messages that wait for the handler. */
  readonly pending: number;
  /** Origins that are remembered. */
  readonly origins: number;
}

/** Called with each message; the next one waits for the promise that it returns. */
export type BroadcastHandler = (message: BroadcastMessage) => unknown;

/** One participant of a broadcast. Made by {@link broadcast}. */
export class Broadcast extends EventEmitter<BroadcastEvents> implements AsyncIterable<BroadcastMessage> {
  private readonly self: OriginKey;
  private readonly options: ResolvedBroadcastOptions;
  private readonly tree: BroadcastTree;
  private readonly participants: Participants;
  private readonly pending: PendingMessages<BroadcastMessage>;
  private readonly due: Deadline;
  private dropped = 0;
  /** Of these, the ones that no event 'slow' has reported yet. */
  private unreported = 0;
  private isTaken = false;
  private isClosed = false;
  private readonly slow = new Set<NodeId>();
  private readonly drainWaits = new Set<() => void>();

  /** @internal */
  constructor(
    node: Node,
    name: string,
    options: BroadcastOptions,
    private readonly onClosed: () => void,
  ) {
    super();
    this.options = resolveBroadcastOptions(options);
    this.self = Buffer.concat([nodeIdToBytes(node.id), randomBytes(RUN_BYTES)]).toString('latin1');
    this.pending = new PendingMessages(this.options, (count) => this.onDropped(count));
    // After a pause of this process, what has arrived meanwhile is read first: it is not missing.
    this.due = new Deadline(sharedTimers, () => sharedTimers.afterInput(() => this.onDue()));
    const { cacheMessages, cacheBytes, repairMs, maxOrigins } = this.options;
    this.tree = new BroadcastTree(
      this.self,
      { ...TREE_LIMITS, cacheMessages, cacheBytes, repairMs, maxOrigins },
      {
        now: () => sharedTimers.now(),
        send: (peer, frame) => this.participants.send(peer, frame),
        isSlow: (peer) => this.isSlow(peer),
        deliver: (message) => this.deliver(message),
        gap: (origin, _from, count) => this.dispatch('gap', { from: nodeOf(origin), count }),
        established: () => this.dispatch('ready'),
        wake: (delayMs) => this.due.set(delayMs),
      },
    );
    this.participants = new Participants(node, name, this.options, envOf(node, this.options.env), {
      onUp: (id) => this.tree.onPeer(id),
      onDown: (id) => {
        this.slow.delete(id);
        this.tree.onPeerDown(id);
        this.onRoom();
      },
      onFrame: (id, frame) => {
        // Further away it is what the neighbours say: they are known, and they may take part.
        if (frame.kind === 'gossip' && frame.hops === 0 && nodeOf(frame.origin) !== id) {
          return 'a message in the name of another node';
        }
        return this.tree.onFrame(id, kept(frame));
      },
      onReady: (id) => {
        this.slow.delete(id);
        this.tree.onReady(id);
        this.onRoom();
      },
      onFault: (fault) => this.onFault(fault),
      onClosed: () => this.close(),
    });
  }

  /**
   * Sends a message to all other participants. Each one that can be reached gets it once, after the earlier messages of this participant.
   * Returns false when half of the neighbours or more are slow: wait for {@link drained} then.
   * @throws ERR_STARLANE_CLOSED, ERR_STARLANE_MESSAGE_SIZE, ERR_STARLANE_ARGUMENT
   */
  send(data: BroadcastData): boolean {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
    const { format, payload } = encodeContent(data, this.options.maxMessageBytes);
    this.tree.publish(format, payload);
    return this.hasRoom;
  }

  /** Resolves when less than half of the neighbours are slow, or the broadcast is closed. */
  async drained(): Promise<void> {
    if (this.hasRoom || this.isClosed) return;
    await new Promise<void>((resolve) => this.drainWaits.add(resolve));
  }

  /**
   * Calls `handler` with each message, one after the other: the next one waits for the promise that it returns. What it throws is an
   * uncaught exception.
   * @throws ERR_STARLANE_ARGUMENT when there is a handler or an iterator already
   */
  onMessage(handler: BroadcastHandler): this {
    if (typeof handler !== 'function') throw starlaneError('ERR_STARLANE_ARGUMENT', 'a handler must be a function');
    this.take();
    void this.run(handler);
    return this;
  }

  /**
   * Returns an iterator over the messages, until the broadcast is closed. Leaving the loop lets another reader begin; messages wait for it.
   * @throws ERR_STARLANE_ARGUMENT when there is a handler or an iterator already
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<BroadcastMessage, void, void> {
    this.take();
    try {
      for (;;) {
        const message = await this.pending.next();
        if (message === undefined) return;
        yield message;
      }
    } finally {
      this.isTaken = false;
    }
  }

  /** Returns the counters. */
  stats(): BroadcastStats {
    const { sent, delivered, duplicates, grafts, prunes, repaired, lost } = this.tree.counts;
    const neighbours = this.tree.peerCount;
    const eager = this.tree.eagerCount();
    return {
      participants: this.participants.count,
      neighbours,
      ready: this.tree.isEstablished,
      eager,
      lazy: neighbours - eager,
      sent,
      delivered,
      duplicates,
      redundancy: delivered === 0 ? 0 : duplicates / delivered,
      grafts,
      prunes,
      repaired,
      lost,
      dropped: this.dropped,
      pending: this.pending.size,
      origins: this.tree.originCount,
    };
  }

  /** Leaves the broadcast. Messages that were sent before still go out. When its node drains or closes, it leaves as well. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.due.clear();
    this.participants.close();
    this.pending.close();
    for (const resolve of this.drainWaits) resolve();
    this.drainWaits.clear();
    this.onClosed();
    this.dispatch('close');
  }

  /** Does what `close()` does, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  private take(): void {
    if (this.isTaken) throw starlaneError('ERR_STARLANE_ARGUMENT', 'the messages have a handler or iterator already');
    this.isTaken = true;
  }

  private async run(handler: BroadcastHandler): Promise<void> {
    for (;;) {
      const message = this.pending.shift() ?? (await this.pending.next());
      if (message === undefined) return;
      try {
        const result = handler(message);
        if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') await result;
      } catch (error) {
        throwLater(error);
      }
    }
  }

  private deliver({ origin, counter, hops, format, payload }: Gossip): void {
    let data: unknown;
    try {
      // The bytes stay here for others that miss them: the user gets bytes to change.
      data = decodeContent(format, format === 0 ? Buffer.from(payload) : payload);
    } catch {
      // No participant with this code sends malformed JSON.
      this.onDropped(1);
      return;
    }
    const run = Buffer.from(origin.slice(NODE_ID_BYTES), 'latin1').toString('hex');
    this.pending.push({ data, from: nodeOf(origin), id: `${run}-${counter}`, hops }, payload.length);
  }

  private onDue(): void {
    if (!this.isClosed) this.tree.onTime();
  }

  private get hasRoom(): boolean {
    const { slowCount } = this.participants;
    return slowCount === 0 || 2 * slowCount < this.tree.peerCount;
  }

  private onRoom(): void {
    if (this.drainWaits.size === 0 || !this.hasRoom) return;
    for (const resolve of this.drainWaits) resolve();
    this.drainWaits.clear();
  }

  private isSlow(id: NodeId): boolean {
    if (!this.participants.isSlow(id)) return false;
    if (!this.slow.has(id)) {
      this.slow.add(id);
      this.dispatch('slow', { neighbour: id, dropped: 0 });
    }
    return true;
  }

  /** One event in a turn, however many were dropped. */
  private onDropped(count: number): void {
    this.dropped += count;
    this.unreported += count;
    if (this.unreported !== count) return;
    sharedTimers.afterInput(() => {
      const dropped = this.unreported;
      this.unreported = 0;
      this.dispatch('slow', { dropped });
    });
  }

  private onFault(fault: Error): void {
    const { code } = fault as { code?: unknown };
    if (code === 'ERR_STARLANE_MESSAGE_PROTOCOL') this.dispatch('warning', fault);
  }

  /** Emits an event. An exception of a listener is raised later, so that it does not reach the circuits. */
  private dispatch<K extends keyof BroadcastEvents>(event: K, ...values: BroadcastEvents[K]): void {
    try {
      (this.emit as (name: string, ...args: unknown[]) => boolean).call(this, event, ...values);
    } catch (error) {
      throwLater(error);
    }
  }
}

const broadcasts = new WeakMap<Node, Map<string, Broadcast>>();

/**
 * Takes part in the broadcast `name` of the env of the node: its participants are the nodes that call this with the same name. Returns the
 * same object for the same node and name until it is closed; options count with the first call.
 * @param name 1 to 200 characters of a service name; default `'all'`
 * @throws ERR_STARLANE_ARGUMENT for what is no node; ERR_STARLANE_OPTION; ERR_STARLANE_ADDRESS for an invalid name; ERR_STARLANE_RIGHT as `bind`
 */
export function broadcast(node: Node, name = 'all', options: BroadcastOptions = {}): Broadcast {
  checkNode(node, 'broadcast(node)');
  if (typeof name !== 'string' || name.length > 200 || !isServiceName(name)) {
    throw starlaneError('ERR_STARLANE_ADDRESS', `${JSON.stringify(name)} is no name for a broadcast`);
  }
  const ofNode = broadcasts.get(node) ?? new Map<string, Broadcast>();
  broadcasts.set(node, ofNode);
  const known = ofNode.get(name);
  if (known !== undefined) return known;
  const made = new Broadcast(node, name, options, () => ofNode.delete(name));
  ofNode.set(name, made);
  return made;
}

/** Returns the digest of the env in which a node takes part. @throws ERR_STARLANE_OPTION */
function envOf(node: Node, env: string | undefined): string {
  const own = node.queries.sources.envDigests;
  if (env === undefined && own.length > 1) {
    throw optionError('env', 'the node is in several envs: name the one of the broadcast');
  }
  const [digest] = env === undefined ? own : envDigests([env]);
  if (!own.includes(digest)) throw optionError('env', `the node is not in the env ${env}`);
  return digest;
}

function nodeOf(origin: OriginKey): NodeId {
  return nodeIdFromBytes(Buffer.from(origin.slice(0, NODE_ID_BYTES), 'latin1'));
}

/** Returns the frame with a payload of its own when it would keep the memory of much else that was read with it. */
function kept(frame: Frame): Frame {
  if (frame.kind !== 'gossip' || frame.payload.buffer.byteLength <= 2 * frame.payload.length) return frame;
  return { ...frame, payload: Uint8Array.prototype.slice.call(frame.payload) };
}
