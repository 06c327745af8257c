// The answer about streams. Streams have no clocks and count little, as there may be millions: what they have is read in batches, and
// whether one moves follows from comparing two looks at it. Looks are remembered only for streams on which bytes wait.

import type { NodeId } from '../../address.js';
import { PassThroughSink } from '../../circuit/open/pass-through.js';
import { PendingRelay } from '../../circuit/relay/pending-relay.js';
import { Splice } from '../../circuit/relay/splice.js';
import { SecureStream } from '../../circuit/secure/stream.js';
import { kRemote, kService } from '../../mux/hidden.js';
import type { MuxSession } from '../../mux/session.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { certifiedOf } from '../../socket/endpoints.js';
import { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { performanceNow } from '../../util/runtime/real-timers.js';
import type { StreamAnswer, StreamsAnswer } from './answers.js';
import { VisibleNodes } from './describe.js';
import type { CallerRights } from './rights.js';
import type { QuerySources } from './sources.js';
import { charged, UNLIMITED, type Work } from './work.js';

/** Streams that are looked at in one turn of the event loop: some milliseconds. */
const STREAMS_PER_TURN = 10_000;

/** Queries that look, or wait for their second look, at the same time. */
const MAX_WATCHERS = 8;

/** Looks that are remembered. */
const MAX_LOOKS = 100_000;

export interface StreamsRequest {
  readonly limit: number;
  /** Only those on which bytes wait, and nothing has moved for so long, in ms. */
  readonly stalledMs: number | undefined;
  readonly service: string | undefined;
  readonly peerId: NodeId | undefined;
}

/** What was seen of a stream the last time. */
interface Look {
  readonly progress: string;
  /** Since when it has been like that. */
  readonly sinceMs: number;
}

/** The looks of one query. */
class Looks {
  readonly all = new WeakMap<MuxStream, Look>();
  private count = 0;

  add(stream: MuxStream, look: Look): void {
    if (this.count++ < MAX_LOOKS) this.all.set(stream, look);
  }
}

/** What a stream belongs to. */
type Owner = Socket | Splice | PendingRelay;

interface Seen {
  readonly session: MuxSession;
  /** Null: the loopback. */
  readonly link: NodeId | null;
  readonly stream: MuxStream;
  readonly owner: Owner;
  readonly waiting: number;
  readonly idleMs: number;
}

export class StreamWatch {
  private looks = new WeakMap<MuxStream, Look>();

  private watchers = 0;

  constructor(private readonly sources: QuerySources) {}

  get isFull(): boolean {
    return this.watchers >= MAX_WATCHERS;
  }

  async describe(
    request: StreamsRequest,
    rights: CallerRights,
    signal: AbortSignal,
    work: Work = UNLIMITED,
  ): Promise<StreamsAnswer> {
    this.watchers++;
    try {
      return await this.watch(request, rights, signal, work);
    } finally {
      this.watchers--;
    }
  }

  private async watch(
    request: StreamsRequest,
    rights: CallerRights,
    signal: AbortSignal,
    work: Work,
  ): Promise<StreamsAnswer> {
    const { stalledMs } = request;
    let found = await this.look(request, rights, signal, work);
    if (stalledMs !== undefined && found.isUndecided) {
      await this.pause(stalledMs, signal);
      found = await this.look(request, rights, signal, work);
    }
    const { id } = this.sources;
    const streams = charged(work, () => {
      const peers = new Map<unknown, NodeId>();
      for (const { link, neighbour } of this.sources.circuits.linkPaths()) peers.set(neighbour, link.peerId);
      return found.seen.map((one) => this.answerOf(one, found.visible, peers));
    });
    return { id, total: found.total, truncated: found.total > streams.length, streams };
  }

  /** Looks at every stream, for some milliseconds in each turn. */
  private async look(
    { limit, stalledMs, service, peerId }: StreamsRequest,
    { envs }: CallerRights,
    signal: AbortSignal,
    work: Work,
  ) {
    const visible = new VisibleNodes(this.sources, envs);
    const before = this.looks;
    const looks = new Looks();
    let seen: Seen[] = [];
    let total = 0;
    let isUndecided = false;
    let turn = 0;
    let beganMs = performanceNow();
    for (const [session, link] of this.sessions()) {
      for (const stream of session.streams.values()) {
        if (++turn % STREAMS_PER_TURN === 0) {
          work.charge(performanceNow() - beganMs);
          await this.nextTurn();
          signal.throwIfAborted();
          beganMs = performanceNow();
        }
        const owner = ownerOf(stream);
        if (owner === undefined) continue;
        const waiting = waitingOf(stream, owner);
        const idleMs = waiting === 0 ? 0 : this.idleOf(before, looks, stream, owner);
        if (service !== undefined && serviceOf(owner, visible) !== service) continue;
        if (peerId !== undefined && peerOf(owner) !== peerId) continue;
        if (stalledMs !== undefined && waiting === 0) continue;
        if (stalledMs !== undefined && idleMs < stalledMs) {
          isUndecided = true;
          continue;
        }
        total++;
        seen.push({ session, link, stream, owner, waiting, idleMs });
        if (seen.length >= 4 * limit) seen = mostWaiting(seen, limit);
      }
    }
    this.looks = looks.all;
    seen = mostWaiting(seen, limit);
    work.charge(performanceNow() - beganMs);
    return { seen, total, isUndecided, visible };
  }

  private *sessions(): IterableIterator<[MuxSession, NodeId | null]> {
    const { links, circuits } = this.sources;
    for (const link of links.everyLink()) yield [link.session, link.peerId];
    for (const session of circuits.loopback.sessions) yield [session, null];
  }

  /** Returns for how long nothing has moved, in ms, as far as it is known, and remembers this look. */
  private idleOf(before: WeakMap<MuxStream, Look>, looks: Looks, stream: MuxStream, owner: Owner): number {
    const now = this.sources.timers.now();
    const progress = progressOf(stream, owner);
    const last = before.get(stream);
    const sinceMs = last?.progress === progress ? last.sinceMs : now;
    looks.add(stream, { progress, sinceMs });
    return now - sinceMs;
  }

  private answerOf(
    { session, link, stream, owner, idleMs }: Seen,
    visible: VisibleNodes,
    peers: ReadonlyMap<unknown, NodeId>,
  ): StreamAnswer {
    // The two ends of the loopback have the same ids.
    const carrier = link ?? (session.options.client ? 'self/out' : 'self/in');
    const key = `${carrier}/${stream.id}`;
    const { ageMs } = stream;
    const rounded = Math.floor(idleMs);
    if (owner instanceof Socket) {
      const remote = owner[kRemote];
      const isIncoming = session.streams.isPeers(stream.id);
      const name = remote === null ? undefined : certifiedOf(remote).name;
      const port = isIncoming ? owner.localPort : owner.remotePort;
      return {
        key,
        kind: 'socket',
        service: serviceOf(owner, visible),
        port: port ?? null,
        peerId: peerOf(owner),
        ...(name === undefined ? {} : { peerName: name }),
        direction: isIncoming ? 'in' : 'out',
        via: [...(remote?.via ?? [])],
        relayed: (remote?.via.length ?? 0) > 0,
        link,
        ageMs,
        bytesIn: owner.bytesRead,
        bytesOut: owner.bytesWritten ?? 0,
        waitingIn: stream.unreadBytes,
        waitingOut: Math.max(stream.queuedBytes, owner.writableLength),
        idleMs: rounded,
      };
    }
    const isOpen = owner instanceof Splice;
    return {
      key,
      kind: isOpen ? 'relayed' : 'opening',
      service: '',
      port: null,
      peerId: owner.source.nodeId,
      direction: 'through',
      via: [],
      relayed: true,
      link,
      ...(isOpen ? { nextLink: peers.get(owner.to) } : {}),
      ageMs,
      bytesIn: null,
      bytesOut: null,
      waitingIn: isOpen ? owner.near.queuedBytes : 0,
      waitingOut: isOpen ? owner.far.queuedBytes : owner.held,
      idleMs: rounded,
    };
  }

  private nextTurn(): Promise<void> {
    return new Promise((resolve) => this.sources.timers.clock.setImmediate(resolve));
  }

  private pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const onAbort = (): void => {
        deadline.clear();
        reject(signal.reason);
      };
      const deadline = new Deadline(this.sources.timers, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
      deadline.set(ms);
    });
  }
}

/** Returns what a stream belongs to; undefined for the control stream of a link, for dials that are not answered, and for one of the two of a relayed circuit. */
function ownerOf(stream: MuxStream): Owner | undefined {
  let { sink } = stream as { sink: unknown };
  if (sink instanceof PassThroughSink) sink = sink.sink;
  if (sink instanceof SecureStream) ({ sink } = sink as { sink: unknown });
  if (sink instanceof Splice) {
    // Each circuit counts once.
    return stream === sink.near || sink.near.isClosed ? sink : undefined;
  }
  return sink instanceof Socket || sink instanceof PendingRelay ? sink : undefined;
}

function waitingOf(stream: MuxStream, owner: Owner): number {
  if (owner instanceof Splice) return owner.near.queuedBytes + owner.far.queuedBytes;
  if (owner instanceof PendingRelay) return owner.held;
  return stream.unreadBytes + Math.max(stream.queuedBytes, owner.writableLength);
}

function progressOf(stream: MuxStream, owner: Owner): string {
  if (owner instanceof Splice) return `${owner.near.progress} ${owner.far.progress}`;
  if (owner instanceof PendingRelay) return stream.progress;
  return `${stream.progress} ${owner.bytesRead} ${owner.bytesWritten}`;
}

function peerOf(owner: Owner): NodeId {
  return owner instanceof Socket ? (owner[kRemote]?.peerId ?? '') : owner.source.nodeId;
}

/** Returns the name of the service, unless the other end is in another env than the one who asks. */
function serviceOf(owner: Owner, visible: VisibleNodes): string {
  return owner instanceof Socket && visible.has(peerOf(owner)) ? owner[kService] : '';
}

function mostWaiting(seen: Seen[], limit: number): Seen[] {
  return seen.sort((a, b) => b.waiting - a.waiting).slice(0, limit);
}
