// What a node publishes: which subscribers a topic has, who of a queue group gets a message, and what is sent in one turn of the event loop.

import type { NodeId } from '../../../address.js';
import type { Node } from '../../../node/node.js';
import { Deadline } from '../../../util/deadline.js';
import { withoutContext } from '../../../util/runtime/no-context.js';
import { nextTick, setImmediate } from '../../../util/runtime/real-timers.js';
import { sharedTimers } from '../../../util/timers.js';
import type { Interest } from '../codec/interest.js';
import { Flag, Mask, MESSAGE_HEAD_BYTES } from '../codec/layout.js';
import { type Extras, MessageWriter, type TopicData } from '../codec/message-writer.js';
import { checkTopic, isPattern, wildcardRank } from '../codec/pattern.js';
import type { Reply } from '../message.js';
import type { ResolvedTopicsOptions } from '../options.js';
import type { Leftover } from '../outlet.js';
import { SlowReports } from '../slow-reports.js';
import type { LocalSubscriber } from './local-subscriber.js';
import { PatternTrie } from './pattern-trie.js';
import { RemoteSubscriber } from './remote-subscriber.js';
import type { Target, TargetOwner } from './target.js';

/** Topics whose subscribers are remembered. */
const MAX_ROUTES = 8_192;
const SWEEP_MS = 1_000;

/** Where a message can go: a target, and the bit of its mask. */
export interface Place {
  readonly target: Target;
  readonly mask: number;
  readonly redeliver: boolean;
}

interface Group {
  readonly name: string;
  readonly members: Place[];
}

/** Who gets a topic. */
export interface Route {
  readonly version: number;
  readonly topicBytes: Buffer;
  readonly plain: Target[];
  readonly groups: Group[];
  /** Who would answer a request: the places whose patterns have the fewest wildcards. Found when it is first asked for. */
  responders: Place[] | undefined;
}

/** What a publisher calls. */
export interface PublisherOwner {
  readonly requests: {
    onReply(target: Target, reply: Reply): void;
    onLost(target: Target, unsent: ReadonlySet<number>): void;
  };
  onSlow(target: Target, count: number): void;
  onWarning(error: Error): void;
  /** Called when a subscriber was added or has changed. */
  onRoutes(): void;
}

export class Publisher implements TargetOwner {
  readonly writer: MessageWriter;
  private readonly remotes = new Map<string, RemoteSubscriber>();
  private readonly locals = new Set<LocalSubscriber>();
  private readonly trie = new PatternTrie<Target>();
  private readonly routes = new Map<string, Route>();
  private version = 0;
  private turn = 0;
  /** Messages that went to another member of their queue group. */
  private moves = 0;
  private dirty: Target[] = [];
  private isFlushDue = false;
  private isLateFlushDue = false;
  private readonly over = new Set<Target>();
  private drainWaiters: Array<() => void> = [];
  private readonly slow = new Map<Target, SlowReports>();
  private readonly sweepDue: Deadline;

  constructor(
    private readonly node: Node,
    private readonly options: ResolvedTopicsOptions,
    private readonly owner: PublisherOwner,
  ) {
    this.writer = new MessageWriter(options.maxMessageBytes);
    this.sweepDue = new Deadline(sharedTimers, (now) => this.sweep(now));
  }

  /** Subscribers that are known. */
  get size(): number {
    return this.trie.size;
  }

  /** Whether a subscriber has more unconfirmed bytes than the mark. */
  get isOver(): boolean {
    return this.over.size > 0;
  }

  /**
   * Publishes to all subscribers that are known. Returns false when one of them is behind.
   * @throws ERR_STARLANE_ARGUMENT, ERR_STARLANE_MESSAGE_SIZE
   */
  publish(topic: string, data: TopicData, extras: Extras | undefined): boolean {
    const route = this.routeOf(topic);
    const { writer } = this;
    writer.encode(route.topicBytes, data, extras);
    // What fills a piece does not wait for the end of the turn.
    if (writer.start === 0) this.flushTurn();
    const { plain, groups } = route;
    if (groups.length > 0) this.toGroups(route, topic);
    else {
      const { buffer, start, end } = writer;
      for (let index = 0; index < plain.length; index++) plain[index].append(topic, buffer, start, end, Mask.ALL);
    }
    this.onAdded();
    return this.over.size === 0 || !this.isBehind(route);
  }

  /** Returns who gets a topic. @throws ERR_STARLANE_ARGUMENT */
  routeOf(topic: string): Route {
    const known = this.routes.get(topic);
    if (known !== undefined && known.version === this.version) return known;
    return this.findRoute(topic, known);
  }

  /** Returns the members of a queue group of a topic. */
  members(topic: string, name: string): readonly Place[] {
    return this.routeOf(topic).groups.find((group) => group.name === name)?.members ?? [];
  }

  /** Returns the places from which one would answer a request: the patterns with the fewest wildcards. */
  responders(topic: string, without: ReadonlySet<Target> | undefined): Place[] {
    const route = this.routeOf(topic);
    if (without !== undefined) return this.findResponders(route, without);
    route.responders ??= this.findResponders(route, new Set());
    return route.responders;
  }

  private findResponders({ plain, groups }: Route, without: ReadonlySet<Target>): Place[] {
    const places: Place[] = plain.map((target) => ({ target, mask: Mask.ONE, redeliver: false }));
    for (const { members } of groups) places.push(...members);
    const left = places.filter(({ target }) => !without.has(target));
    const rank = Math.min(...left.map(({ target }) => wildcardRank(target.pattern)));
    return left.filter(({ target }) => wildcardRank(target.pattern) === rank);
  }

  /** Returns the place with the least to do. */
  pick(places: readonly Place[]): Place | undefined {
    const { length } = places;
    if (length < 2) return places[0];
    let best: Place | undefined;
    let bestLoad = 0;
    // Beginning at another one each time, so that those without anything to do take turns.
    this.turn = (this.turn + 1) >>> 0;
    for (let index = 0; index < length; index++) {
      const place = places[(index + this.turn) % length];
      const load = place.target.load(place.mask) + (place.target.isReady ? 0 : 1e9);
      if (best !== undefined && load >= bestLoad) continue;
      best = place;
      bestLoad = load;
    }
    return best;
  }

  /** Schedules what was added for the end of this turn. */
  onAdded(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    nextTick(this.flushLater);
  }

  /**
   * Schedules a request. Answers of one turn come in many ticks, and those who get them ask again: in the end of each tick, every request would
   * leave alone.
   */
  onRequestAdded(): void {
    if (this.isFlushDue || this.isLateFlushDue) return;
    this.isLateFlushDue = true;
    withoutContext(setImmediate, this.flushLate);
  }

  /** Resolves when no subscriber has more unconfirmed bytes than the mark. */
  drained(): Promise<void> {
    this.flushTurn();
    if (this.over.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.drainWaiters.push(resolve));
  }

  /** Resolves when all subscribers have confirmed everything. */
  async confirmed(): Promise<void> {
    let moves: number;
    do {
      ({ moves } = this);
      this.flushTurn();
      await Promise.all([...this.remotes.values(), ...this.locals].map((target) => target.confirmed()));
      // Meanwhile a subscriber may have ended, and left its messages to others.
    } while (moves !== this.moves);
  }

  // --- the directory ---

  onListed(nodeId: NodeId, pattern: string, meta: unknown): void {
    if (!isPattern(pattern)) return;
    const key = `${nodeId} ${pattern}`;
    const known = this.remotes.get(key);
    if (known !== undefined) known.onListed(meta);
    else {
      const remote = new RemoteSubscriber(this.node, nodeId, pattern, meta, this.options, this);
      this.remotes.set(key, remote);
      this.trie.add(pattern, remote);
      this.onRoutesChanged();
    }
    if (!this.sweepDue.isSet) this.sweepDue.set(SWEEP_MS, SWEEP_MS);
  }

  onUnlisted(nodeId: NodeId, pattern: string): void {
    this.remotes.get(`${nodeId} ${pattern}`)?.onUnlisted();
  }

  addLocal(local: LocalSubscriber): void {
    this.locals.add(local);
    this.trie.add(local.pattern, local);
    this.onRoutesChanged();
  }

  removeLocal(local: LocalSubscriber): void {
    this.locals.delete(local);
    this.trie.delete(local.pattern, local);
    this.onRoutesChanged();
    local.end();
    this.slow.get(local)?.close();
    this.slow.delete(local);
  }

  close(): void {
    this.sweepDue.clear();
    for (const remote of [...this.remotes.values()]) remote.end();
    for (const reports of this.slow.values()) reports.close();
    for (const resolve of this.drainWaiters.splice(0)) resolve();
  }

  // --- of targets ---

  onDirty(target: Target): void {
    this.dirty.push(target);
  }

  onOver(target: Target, isOver: boolean): void {
    if (isOver) {
      this.over.add(target);
      return;
    }
    this.over.delete(target);
    if (this.over.size === 0) for (const resolve of this.drainWaiters.splice(0)) resolve();
  }

  onRoutesChanged(): void {
    this.version++;
    this.owner.onRoutes();
  }

  onReply(target: Target, reply: Reply): void {
    this.owner.requests.onReply(target, reply);
  }

  onDropped(target: Target, count: number): void {
    let reports = this.slow.get(target);
    if (reports === undefined) {
      reports = new SlowReports(sharedTimers, (sum) => this.owner.onSlow(target, sum));
      this.slow.set(target, reports);
    }
    reports.add(count);
  }

  onLeftovers(target: Target, leftovers: readonly Leftover[], { groups }: Interest): void {
    const unsent = new Set<number>();
    for (const { sequence, wasSent } of leftovers) if (!wasSent) unsent.add(sequence);
    for (const leftover of leftovers) {
      // Requests go to another member by themselves: two copies would run two handlers.
      if ((leftover.buffer[leftover.start] & Flag.REQUEST) !== 0) continue;
      for (const [name, { index, redeliver }] of groups) {
        if ((leftover.mask & (1 << index)) !== 0 && (redeliver || !leftover.wasSent))
          this.toOther(name, target, leftover);
      }
    }
    this.owner.requests.onLost(target, unsent);
  }

  onEnded(target: Target): void {
    this.trie.delete(target.pattern, target);
    const key = `${target.nodeId} ${target.pattern}`;
    if (this.remotes.get(key) === target) this.remotes.delete(key);
    this.over.delete(target);
    this.slow.get(target)?.close();
    this.slow.delete(target);
    this.onRoutesChanged();
  }

  onWarning(error: Error): void {
    this.owner.onWarning(error);
  }

  private readonly flushLater = (): void => {
    this.isFlushDue = false;
    this.flushTurn();
  };

  private readonly flushLate = (): void => {
    this.isLateFlushDue = false;
    this.flushTurn();
  };

  private flushTurn(): void {
    const { dirty } = this;
    if (dirty.length === 0) return;
    this.dirty = [];
    for (const target of dirty) target.flush();
  }

  /** One copy for each target, whatever it is for there. */
  private toGroups({ plain, groups }: Route, topic: string): void {
    const { buffer, start, end } = this.writer;
    const targets = [...plain];
    for (const target of plain) target.mask = Mask.ALL;
    for (const { members } of groups) {
      const place = this.pick(members);
      if (place === undefined) continue;
      if (place.target.mask === 0) targets.push(place.target);
      place.target.mask |= place.mask;
    }
    for (const target of targets) {
      const { mask } = target;
      target.mask = 0;
      target.append(topic, buffer, start, end, mask);
    }
  }

  /** Gives a message of a queue group to another member. */
  private toOther(name: string, target: Target, { buffer, start, end }: Leftover): void {
    const at = start + MESSAGE_HEAD_BYTES;
    const topic = buffer.toString('utf8', at, at + buffer[start + 1]);
    const place = this.pick(this.members(topic, name).filter((member) => member.target !== target));
    if (place === undefined) return;
    this.moves++;
    place.target.append(topic, buffer, start, end, place.mask);
    this.onAdded();
  }

  private isBehind({ plain, groups }: Route): boolean {
    for (const target of this.over) {
      if (plain.includes(target)) return true;
      for (const { members } of groups) if (members.some((member) => member.target === target)) return true;
    }
    return false;
  }

  private findRoute(topic: string, known: Route | undefined): Route {
    if (known === undefined) checkTopic(topic);
    const plain: Target[] = [];
    const groups = new Map<string, Group>();
    for (const target of this.trie.match(topic)) {
      if (!target.isRouted) continue;
      const { interest } = target;
      if (interest.plain) plain.push(target);
      for (const [name, { index, redeliver }] of interest.groups) {
        let group = groups.get(name);
        if (group === undefined) {
          group = { name, members: [] };
          groups.set(name, group);
        }
        group.members.push({ target, mask: 1 << index, redeliver });
      }
    }
    const route = {
      version: this.version,
      topicBytes: known?.topicBytes ?? Buffer.from(topic),
      plain,
      groups: [...groups.values()],
      responders: undefined,
    };
    if (this.routes.size >= MAX_ROUTES && known === undefined) this.routes.clear();
    this.routes.set(topic, route);
    return route;
  }

  private sweep(now: number): void {
    for (const remote of this.remotes.values()) remote.sweep(now);
    if (this.remotes.size > 0) this.sweepDue.set(SWEEP_MS, SWEEP_MS);
  }
}
