// The seeds of a node: link addresses, possibly with host names, that are joined at start and checked until the node is
// closed. A name may resolve to several addresses of one node, or to several nodes: each address counts on its own. An
// address may belong to a load balancer in front of all nodes, and a name may move to another node while the old one lives.
// So an address is dialled again, whichever node answered last: often by a node with few links, seldom by each of many.
//
// A seed is not dialled while this node has enough links and reaches it by other links, so that a hub can shed its surplus;
// it is dialled again when it is out of reach, so that partitions find each other.

import { type NodeId, parseSeedAddress } from '../../address.js';
import { StarlaneError, type StarlaneErrorCode } from '../../errors.js';
import { MAX_SEED_ADDRESSES, type Resolution } from '../../link/names/seed-records.js';
import { backOffMs } from '../../util/back-off.js';
import { shuffle } from '../../util/choice.js';
import { Deadline, inTime } from '../../util/deadline.js';
import type { MeshLink } from '../ports.js';
import { CLIENT_TARGET, LOW } from './degree.js';
import type { NeighbourhoodContext } from './neighbourhood.js';

/** How often a seed without a problem is checked, in ms, and the share by which that is shorter or longer. */
const CHECK_MS = 60_000;
const JITTER = 0.25;
const RESOLVE_TIMEOUT_MS = 10_000;
/** How often a name is resolved by a node with enough links, in ms, unless DNS says that its answer holds longer. */
const CALM_TTL_MS = 30_000;
/** Dials of seeds at a time, and the time from one to the next, in ms, unless the one before has failed. */
const PARALLEL = 3;
const STAGGER_MS = 250;
/**
 * The pause after a dial that gave a link, in ms: by then the directory has most likely offered other nodes, so that a
 * thousand nodes that start at once do not all dial all seeds. It is up to a share longer at random: nodes that stayed in
 * step could be led to the same few nodes without end by a load balancer that takes turns.
 */
const HOLD_MS = 1_500;
const HOLD_JITTER = 0.5;
/** A link that was up this long proves the seed: its failures count from 0 again. */
const PROVEN_MS = 60_000;
/** How often an address is dialled although a reachable node announces it, since that node may lie. */
const DOUBT = 0.1;
/** The number of nodes of the network that dial an address again at which a reachable node was found. */
const ASKERS = 3;

/** What a check dials beyond what is needed. */
interface Extras {
  /** Addresses that a reachable node announces. */
  readonly isDoubtful: boolean;
  /** Addresses at which a reachable node was found, or this one. */
  readonly asksAgain: boolean;
}

const NEEDED: Extras = { isDoubtful: false, asksAgain: false };

interface Seed {
  readonly name: string;
  /** The user has joined it: a joiner keeps the link and reports failures, here it is only dialled again. */
  readonly isJoined: boolean;
  /** Its last resolution; none: it has not been resolved yet. */
  resolution: Resolution | undefined;
  /** The addresses of it that count: those of groups behind one that serves do not. */
  addresses: readonly string[];
  failures: number;
  /** When addresses were last dialled beyond what is needed. */
  askedMs: number;
  /** Checks that dialled again while there were too few links. */
  asks: number;
  isBusy: boolean;
  readonly nextCheck: Deadline;
}

/** A dial that waits. */
interface QueuedDial {
  readonly address: string;
  readonly extras: Extras;
  /** Called with the failure, if there is one. */
  done(failure: Error | undefined): void;
}

export class SeedWatch {
  private seeds: Seed[];
  private readonly aborter = new AbortController();
  private readonly queue: QueuedDial[] = [];
  private dialling = 0;
  private staggeredUntilMs = 0;
  private heldUntilMs = 0;
  private readonly nextTurn: Deadline;

  constructor(private readonly context: NeighbourhoodContext) {
    this.nextTurn = new Deadline(context.environment.timers, () => this.takeTurns());
    this.seeds = [...new Set(context.options.seeds)].map((name) => this.newSeed(name, false));
  }

  /** The number of seeds that lead to other nodes, as far as known. */
  get size(): number {
    const isSelf = (address: string): boolean => this.isSelf(address);
    const leadsElsewhere = ({ isJoined, addresses }: Seed): boolean =>
      !isJoined && (addresses.length === 0 || !addresses.every(isSelf));
    return this.seeds.filter(leadsElsewhere).length;
  }

  start(): void {
    for (const seed of shuffle([...this.seeds], this.context.environment.random)) void this.check(seed);
  }

  /** Adds an address that the user has joined: other nodes may answer there as well. */
  addJoined(name: string): void {
    if (this.aborter.signal.aborted || this.seeds.some((seed) => seed.name === name)) return;
    const seed = this.newSeed(name, true);
    this.seeds.push(seed);
    seed.nextCheck.set(this.askAgainMs(seed));
  }

  removeJoined(name: string): void {
    const seed = this.seeds.find((one) => one.isJoined && one.name === name);
    if (seed === undefined) return;
    seed.nextCheck.clear();
    this.seeds = this.seeds.filter((one) => one !== seed);
  }

  dispose(): void {
    this.aborter.abort();
    for (const { nextCheck } of this.seeds) nextCheck.clear();
    this.nextTurn.clear();
    for (const turn of this.queue.splice(0)) turn.done(undefined);
  }

  /** Returns addresses of seeds that are out of reach, as far as known. */
  unreachable(): string[] {
    const { dialer, view } = this.context;
    return this.seeds
      .filter(({ isJoined }) => !isJoined)
      .flatMap(({ name, addresses }) => (addresses.length === 0 && isLinkAddress(name) ? [name] : addresses))
      .filter((address) => {
        const nodeId = dialer.idAt(address);
        return !this.isSelf(address) && (nodeId === undefined || !view.isReachable(nodeId));
      });
  }

  onUnlink({ address, peerId }: MeshLink, upMs: number): void {
    const { dialer, environment, options } = this.context;
    for (const seed of this.seeds) {
      const isOfSeed = seed.addresses.some((one) => one === address || dialer.idAt(one) === peerId);
      seed.asks = 0;
      if (!isOfSeed || seed.isBusy || seed.isJoined) continue;
      if (upMs >= PROVEN_MS) seed.failures = 0;
      seed.nextCheck.set(backOffMs(seed.failures++, options.backOff, environment.random));
    }
  }

  private async check(seed: Seed): Promise<void> {
    const { environment, options } = this.context;
    seed.isBusy = true;
    const failure = await this.join(seed);
    seed.isBusy = false;
    if (this.aborter.signal.aborted || !this.seeds.includes(seed)) return;
    // A link may have come up and gone while others were still being dialled.
    const code = failureCode(failure);
    // A newer process has the identity of this node: this one must not compete.
    const isReplaced = code === 'ERR_STARLANE_DUPLICATE_IDENTITY';
    const isFine = failure === undefined && !seed.addresses.some((address) => this.isDue(address, NEEDED));
    if (isFine) seed.nextCheck.set(this.askAgainMs(seed));
    else if (isReplaced) this.seeds = this.seeds.filter((one) => one !== seed);
    else seed.nextCheck.set(backOffMs(seed.failures++, options.backOff, environment.random));
    if (failure === undefined || seed.isJoined) return;
    environment.warn(new StarlaneError(code, `seed ${seed.name}: ${failure.message}`, { cause: failure }));
  }

  /** Makes links where they are needed. Returns the first failure when all dials have failed. */
  private async join(seed: Seed): Promise<Error | undefined> {
    const { environment, network, view } = this.context;
    const isDue = (address: string): boolean => this.isDue(address, extras);
    // No more of these for names that are resolved more often.
    const now = environment.timers.now();
    const isFull = now - seed.askedMs >= CHECK_MS * (1 - JITTER) || seed.resolution?.ttlMs === undefined;
    if (isFull) seed.askedMs = now;
    const extras = {
      isDoubtful: environment.random() < DOUBT && isFull,
      asksAgain: environment.random() * (view.reachable + 1) < ASKERS && isFull,
    };
    // Resolved even when nothing is wrong: the name may lead elsewhere by now.
    const wasFine = seed.addresses.length > 0 && !seed.addresses.some((address) => this.isDue(address, NEEDED));
    try {
      const resolved = await inTime(
        environment.timers,
        RESOLVE_TIMEOUT_MS,
        seed.name,
        () => network.resolve(seed.name),
        this.aborter.signal,
      );
      seed.resolution = 'groups' in resolved ? resolved : this.unranked(resolved);
    } catch (error) {
      if (wasFine) return undefined;
      // What DNS said last counts until it says something else.
      if (seed.resolution === undefined || this.aborter.signal.aborted) return error as Error;
    }
    const failures: Error[] = [];
    let isDialled = false;
    seed.addresses = [];
    for (const group of seed.resolution.groups) {
      seed.addresses = [...seed.addresses, ...group];
      if (!group.some(isDue)) {
        if (!group.some((address) => this.isServed(address))) continue;
        failures.length = 0;
        break;
      }
      isDialled = true;
      const outcomes = await Promise.all(group.map((address) => this.inTurn(address, extras)));
      const failed = outcomes.filter((outcome) => outcome !== undefined);
      failures.push(...failed);
      if (failed.length < outcomes.length) {
        failures.length = 0;
        break;
      }
    }
    if (!isDialled) seed.failures = 0;
    return failures[0];
  }

  private unranked(addresses: readonly string[]): Resolution {
    const group = shuffle([...new Set(addresses)], this.context.environment.random);
    return { groups: [group.slice(0, MAX_SEED_ADDRESSES)], ttlMs: undefined };
  }

  /** Whether another node is in reach at an address, as far as known. */
  private isServed(address: string): boolean {
    const { dialer, view } = this.context;
    const nodeId = dialer.idAt(address) ?? this.claimant(address);
    return !this.isSelf(address) && nodeId !== undefined && view.isReachable(nodeId);
  }

  /** Queues a dial. Resolves with its failure, or undefined. */
  private inTurn(address: string, extras: Extras): Promise<Error | undefined> {
    return new Promise((done) => {
      this.queue.push({ address, extras, done });
      this.takeTurns();
    });
  }

  private takeTurns(): void {
    const { timers } = this.context.environment;
    while (this.dialling < PARALLEL) {
      const turn = this.queue[0];
      if (turn === undefined) return;
      const isDue = this.isDue(turn.address, turn.extras);
      const waitMs = Math.max(this.staggeredUntilMs, this.heldUntilMs) - timers.now();
      if (isDue && waitMs > 0) {
        if (!this.nextTurn.isSet) this.nextTurn.set(waitMs);
        return;
      }
      this.queue.shift();
      if (isDue) void this.joinAt(turn);
      else turn.done(undefined);
    }
  }

  private async joinAt({ address, done }: QueuedDial): Promise<void> {
    const { dialer, environment } = this.context;
    const { timers } = environment;
    this.dialling++;
    this.staggeredUntilMs = timers.now() + STAGGER_MS;
    try {
      await dialer.dial(address);
      this.heldUntilMs = timers.now() + HOLD_MS * (1 + HOLD_JITTER * environment.random());
      done(undefined);
    } catch (error) {
      this.staggeredUntilMs = timers.now();
      done(this.isNoFault(error as Error) ? undefined : (error as Error));
    }
    this.dialling--;
    if (!this.aborter.signal.aborted) this.takeTurns();
  }

  /** Behind a load balancer are this node as well, and nodes that have enough links; neither is a fault of the seed. */
  private isNoFault(failure: Error): boolean {
    const code = failureCode(failure);
    return (
      code === 'ERR_STARLANE_SELF_LINK' || (code === 'ERR_STARLANE_LINK_LIMIT' && this.context.neighbours.degree > 0)
    );
  }

  /** Whether to dial an address. */
  private isDue(address: string, { isDoubtful, asksAgain }: Extras): boolean {
    const { dialer, environment, options, neighbours, view } = this.context;
    if (this.aborter.signal.aborted || dialer.isOwn(address)) return false;
    const { degree } = neighbours;
    if (neighbours.isDraining && degree > 0) return false;
    if (options.role === 'client' && degree + dialer.underway >= CLIENT_TARGET) return false;
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

  /** Returns the node that announces an address. */
  private claimant(address: string): NodeId | undefined {
    for (const { nodeId, addresses } of this.context.view.nodes()) if (addresses.includes(address)) return nodeId;
    return undefined;
  }

  /** Whether an address leads to this node itself, as far as known. */
  private isSelf(address: string): boolean {
    const { dialer, environment } = this.context;
    return dialer.isOwn(address) || dialer.idAt(address) === environment.identity.nodeId;
  }

  /** Returns when to check a seed without a problem again: sooner, with back-off, while links are few and other nodes may be there. */
  private askAgainMs(seed: Seed): number {
    const { dialer, environment, neighbours, options } = this.context;
    const jitter = 1 + JITTER * (2 * environment.random() - 1);
    const { ttlMs = CHECK_MS } = seed.resolution ?? {};
    // With enough links, what is new in DNS is new in the directory as well: a thousand nodes need not ask for it every few seconds.
    const checkMs = jitter * Math.min(CHECK_MS, neighbours.degree >= LOW ? Math.max(ttlMs, CALM_TTL_MS) : ttlMs);
    const isPrivate = (address: string): boolean => {
      const claimant = this.claimant(address);
      return dialer.isOwn(address) || (claimant !== undefined && claimant === dialer.idAt(address));
    };
    const isSettled = seed.addresses.length > 0 && seed.addresses.every(isPrivate);
    if (neighbours.degree >= LOW || isSettled) return checkMs;
    return Math.min(checkMs, backOffMs(seed.asks++, options.backOff, environment.random));
  }

  private newSeed(name: string, isJoined: boolean): Seed {
    const nextCheck = new Deadline(this.context.environment.timers, () => void this.check(seed));
    const seed: Seed = {
      name,
      isJoined,
      resolution: undefined,
      addresses: [],
      failures: 0,
      askedMs: Number.NEGATIVE_INFINITY,
      asks: 0,
      isBusy: false,
      nextCheck,
    };
    return seed;
  }
}

/** Whether a seed can be dialled as it is. */
function isLinkAddress(name: string): boolean {
  try {
    return parseSeedAddress(name).kind === 'link';
  } catch {
    return false;
  }
}

function failureCode(failure: Error | undefined): StarlaneErrorCode {
  return failure instanceof StarlaneError ? failure.code : 'ERR_STARLANE_TRANSPORT';
}
