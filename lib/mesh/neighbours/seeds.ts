// The seeds of a node: link addresses, possibly with the names of machines, that are joined at start and tried again for
// ever. What a name resolves to may be several addresses of one node, or several nodes: each address counts on its own.
// Behind an address may be a balancer in front of all nodes, and a name may move to another node while the old one lives. So
// an address is a place to ask again, whoever answered last: often by a node that has few links, seldom by each of many.
//
// A seed is left alone while this node has links enough and reaches it some other way, so that a hub can shed its
// surplus; it is dialled again when it is out of reach, so that a network that has split finds together.

import type { NodeId } from '../../address.js';
import { StarlaneError, type StarlaneErrorCode } from '../../errors.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { inTime } from '../../util/deadline.js';
import type { Timer } from '../../util/timers.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import type { MeshLink } from '../ports/mesh-link.js';
import type { MeshNetwork } from '../ports/mesh-network.js';
import type { MeshView } from '../ports/mesh-view.js';
import { shuffle } from './candidates.js';
import { CLIENT_TARGET, LOW } from './degree.js';
import type { MeshDialer } from './dialer.js';
import type { Neighbours } from './neighbours.js';

/** How often a seed is looked after that is fine, in ms, and how far that is shorter or longer. */
const CHECK_MS = 60_000;
const JITTER = 0.25;
const RESOLVE_TIMEOUT_MS = 10_000;
/** Dials of seeds at a time, each begun so long after the one before, in ms, unless that has failed. */
const PARALLEL = 3;
const STAGGER_MS = 250;
/**
 * When one has given a link, the next waits so long, in ms: by then the directory has most likely given others, and a
 * thousand nodes that start at once do not all come to all seeds.
 */
const HOLD_MS = 1_500;
/** Addresses of one name that are looked at. */
const MAX_ADDRESSES = 64;
/** A link that has been up this long has proved the seed. */
const PROVEN_MS = 60_000;
/** How often an address is dialled to see who is there although a node that is reached claims it, as that may lie. */
const DOUBT = 0.1;
/** So many nodes of those that reach each other ask again at a time where one of them was found. */
const ASKERS = 3;

export interface SeedWatchSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly view: MeshView;
  readonly dialer: MeshDialer;
  readonly neighbours: Neighbours;
  readonly seeds: readonly string[];
  readonly isClient: boolean;
  readonly backOff: BackOff;
  onWarning(error: Error): void;
}

/** What a check is ready to do besides. */
interface Resolve {
  /** To dial where a node claims to be that is reached. */
  readonly isDoubtful: boolean;
  /** To ask where a node was found that is reached, or this one. */
  readonly asksAgain: boolean;
}

const NEEDED: Resolve = { isDoubtful: false, asksAgain: false };

interface Seed {
  readonly name: string;
  /** Somebody else sees to it that there is a link, and tells what fails: here it is only asked again. */
  readonly isJoined: boolean;
  /** What it resolved to last. */
  addresses: readonly string[];
  failures: number;
  /** Checks that asked again while there were not links enough. */
  asks: number;
  isBusy: boolean;
  timer: Timer | undefined;
}

/** A dial that waits. */
interface Turn {
  readonly address: string;
  readonly resolve: Resolve;
  /** What has failed, if anything has. */
  done(failure: Error | undefined): void;
}

export class SeedWatch {
  private seeds: Seed[];
  private readonly aborter = new AbortController();
  /** Dials that wait for their turn. */
  private readonly queue: Turn[] = [];
  private dialling = 0;
  private staggeredUntilMs = 0;
  private heldUntilMs = 0;
  private turnTimer: Timer | undefined;

  constructor(private readonly setup: SeedWatchSetup) {
    this.seeds = [...new Set(setup.seeds)].map((name) => newSeed(name, false));
  }

  /** Seeds that lead elsewhere than to this node itself, as far as it knows. */
  get size(): number {
    const isSelf = (address: string): boolean => this.isSelf(address);
    const leadsElsewhere = ({ isJoined, addresses }: Seed): boolean =>
      !isJoined && (addresses.length === 0 || !addresses.every(isSelf));
    return this.seeds.filter(leadsElsewhere).length;
  }

  start(): void {
    for (const seed of shuffle([...this.seeds], this.setup.environment.random)) void this.check(seed);
  }

  /** An address that the user has joined: somebody else may be there as well. */
  addJoined(name: string): void {
    if (this.aborter.signal.aborted || this.seeds.some((seed) => seed.name === name)) return;
    const seed = newSeed(name, true);
    this.seeds.push(seed);
    this.schedule(seed, this.askAgainMs(seed));
  }

  removeJoined(name: string): void {
    const seed = this.seeds.find((one) => one.isJoined && one.name === name);
    if (seed === undefined) return;
    this.cancel(seed);
    this.seeds = this.seeds.filter((one) => one !== seed);
  }

  stop(): void {
    this.aborter.abort();
    for (const seed of this.seeds) this.cancel(seed);
    if (this.turnTimer !== undefined) this.setup.environment.timers.cancel(this.turnTimer);
    this.turnTimer = undefined;
    for (const turn of this.queue.splice(0)) turn.done(undefined);
  }

  /** Addresses of seeds that this node does not reach, as far as it knows. */
  unreachable(): string[] {
    const { dialer, view } = this.setup;
    return this.seeds
      .filter(({ isJoined }) => !isJoined)
      .flatMap(({ name, addresses }) => (addresses.length === 0 ? [name] : addresses))
      .filter((address) => {
        const nodeId = dialer.idAt(address);
        return !this.isSelf(address) && (nodeId === undefined || !view.isReachable(nodeId));
      });
  }

  onUnlink({ address, peerId }: MeshLink, upMs: number): void {
    const { dialer, environment, backOff } = this.setup;
    for (const seed of this.seeds) {
      const was = seed.addresses.some((one) => one === address || dialer.idAt(one) === peerId);
      seed.asks = 0;
      if (!was || seed.isBusy || seed.isJoined) continue;
      if (upMs >= PROVEN_MS) seed.failures = 0;
      this.cancel(seed);
      this.schedule(seed, backOffMs(seed.failures++, backOff, environment.random));
    }
  }

  private async check(seed: Seed): Promise<void> {
    const { environment, backOff } = this.setup;
    seed.isBusy = true;
    const failure = await this.join(seed);
    seed.isBusy = false;
    if (this.aborter.signal.aborted || !this.seeds.includes(seed)) return;
    // A link may have come up and gone while others were still being dialled.
    const code = codeOf(failure);
    // A newer process has the identity of this node: this one is to keep away.
    const isOver = code === 'ERR_STARLANE_DUPLICATE_IDENTITY';
    const isFine = failure === undefined && !seed.addresses.some((address) => this.isDue(address, NEEDED));
    if (isFine) this.schedule(seed, this.askAgainMs(seed));
    else if (isOver) this.seeds = this.seeds.filter((one) => one !== seed);
    else this.schedule(seed, backOffMs(seed.failures++, backOff, environment.random));
    if (failure === undefined || seed.isJoined) return;
    this.setup.onWarning(new StarlaneError(code, `seed ${seed.name}: ${failure.message}`, { cause: failure }));
  }

  /** Sees to it that there is a link where one is needed; what has failed, when all has. */
  private async join(seed: Seed): Promise<Error | undefined> {
    const { environment, network, view } = this.setup;
    const isDue = (address: string): boolean => this.isDue(address, resolve);
    const resolve = {
      isDoubtful: environment.random() < DOUBT,
      asksAgain: environment.random() * (view.reachable + 1) < ASKERS,
    };
    // Also when all is well: the name may lead elsewhere by now.
    const wasFine = seed.addresses.length > 0 && !seed.addresses.some((address) => this.isDue(address, NEEDED));
    try {
      const resolved = await inTime(
        environment.timers,
        RESOLVE_TIMEOUT_MS,
        seed.name,
        () => network.resolve(seed.name),
        this.aborter.signal,
      );
      seed.addresses = shuffle([...new Set(resolved)], environment.random).slice(0, MAX_ADDRESSES);
    } catch (error) {
      return wasFine ? undefined : (error as Error);
    }
    if (!seed.addresses.some(isDue)) {
      seed.failures = 0;
      return undefined;
    }
    const outcomes = await Promise.all(seed.addresses.map((address) => this.inTurn(address, resolve)));
    const failures = outcomes.filter((outcome) => outcome !== undefined);
    return failures.length === outcomes.length ? failures[0] : undefined;
  }

  /** Undefined when all is well there. */
  private inTurn(address: string, resolve: Resolve): Promise<Error | undefined> {
    return new Promise((done) => {
      this.queue.push({ address, resolve, done });
      this.takeTurns();
    });
  }

  private takeTurns(): void {
    const { timers } = this.setup.environment;
    while (this.dialling < PARALLEL) {
      const turn = this.queue[0];
      if (turn === undefined) return;
      const isDue = this.isDue(turn.address, turn.resolve);
      const waitMs = Math.max(this.staggeredUntilMs, this.heldUntilMs) - timers.now();
      if (isDue && waitMs > 0) {
        this.turnTimer ??= timers.schedule(waitMs, {
          onDeadline: () => {
            this.turnTimer = undefined;
            this.takeTurns();
          },
        });
        return;
      }
      this.queue.shift();
      if (isDue) void this.joinAt(turn);
      else turn.done(undefined);
    }
  }

  private async joinAt({ address, done }: Turn): Promise<void> {
    const { dialer, environment } = this.setup;
    const { timers } = environment;
    this.dialling++;
    this.staggeredUntilMs = timers.now() + STAGGER_MS;
    try {
      await dialer.dial(address);
      this.heldUntilMs = timers.now() + HOLD_MS;
      done(undefined);
    } catch (error) {
      this.staggeredUntilMs = timers.now();
      done(this.isNoFault(error as Error) ? undefined : (error as Error));
    }
    this.dialling--;
    if (!this.aborter.signal.aborted) this.takeTurns();
  }

  /** Behind a balancer is this node as well, and others that have links enough; so has this node, if not as many as it likes. */
  private isNoFault(failure: Error): boolean {
    const code = codeOf(failure);
    return (
      code === 'ERR_STARLANE_SELF_LINK' || (code === 'ERR_STARLANE_LINK_LIMIT' && this.setup.neighbours.degree > 0)
    );
  }

  /** Whether a dial there would do any good. */
  private isDue(address: string, { isDoubtful, asksAgain }: Resolve): boolean {
    const { dialer, environment, isClient, neighbours, view } = this.setup;
    if (this.aborter.signal.aborted || dialer.isOwn(address)) return false;
    const { degree } = neighbours;
    if (isClient && degree + dialer.underway >= CLIENT_TARGET) return false;
    const nodeId = dialer.idAt(address);
    const isLinked = nodeId !== undefined && neighbours.ids(false).has(nodeId);
    if (!isLinked && degree < LOW) return true;
    if (isLinked || nodeId === environment.identity.nodeId || (nodeId !== undefined && view.isReachable(nodeId))) {
      return asksAgain && this.claimant(address) !== nodeId;
    }
    if (nodeId !== undefined) return true;
    const claimant = this.claimant(address);
    return claimant === undefined || !view.isReachable(claimant) || isDoubtful;
  }

  /** Who says that it listens there. */
  private claimant(address: string): NodeId | undefined {
    for (const { nodeId, addresses } of this.setup.view.nodes()) if (addresses.includes(address)) return nodeId;
    return undefined;
  }

  /** Whether it leads to this node itself, as far as it knows. */
  private isSelf(address: string): boolean {
    const { dialer, environment } = this.setup;
    return dialer.isOwn(address) || dialer.idAt(address) === environment.identity.nodeId;
  }

  /** When to look after a seed again that is fine: soon, and later and later, while links are few and others may be there. */
  private askAgainMs(seed: Seed): number {
    const { backOff, dialer, environment, neighbours } = this.setup;
    const checkMs = CHECK_MS * (1 + JITTER * (2 * environment.random() - 1));
    const isPrivate = (address: string): boolean => {
      const claimant = this.claimant(address);
      return dialer.isOwn(address) || (claimant !== undefined && claimant === dialer.idAt(address));
    };
    const isSettled = seed.addresses.length > 0 && seed.addresses.every(isPrivate);
    if (neighbours.degree >= LOW || isSettled) return checkMs;
    return Math.min(checkMs, backOffMs(seed.asks++, backOff, environment.random));
  }

  private schedule(seed: Seed, waitMs: number): void {
    seed.timer = this.setup.environment.timers.schedule(waitMs, {
      onDeadline: () => {
        seed.timer = undefined;
        void this.check(seed);
      },
    });
  }

  private cancel(seed: Seed): void {
    if (seed.timer !== undefined) this.setup.environment.timers.cancel(seed.timer);
    seed.timer = undefined;
  }
}

function codeOf(failure: Error | undefined): StarlaneErrorCode {
  return failure instanceof StarlaneError ? failure.code : 'ERR_STARLANE_TRANSPORT';
}

function newSeed(name: string, isJoined: boolean): Seed {
  return { name, isJoined, addresses: [], failures: 0, asks: 0, isBusy: false, timer: undefined };
}
