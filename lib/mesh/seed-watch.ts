// The seeds of a node: link addresses, possibly with the names of machines, that are joined at start and tried again for
// ever. What a name resolves to may be several addresses of one node, or several nodes: each address counts on its own.
//
// A seed is left alone while this node has links enough and reaches it some other way, so that a hub can shed its
// surplus; it is dialled again when it is out of reach, so that a network that has split finds together.

import type { NodeId } from '../address.js';
import { StarlaneError } from '../errors.js';
import type { Timer } from '../util/timers.js';
import { type BackOff, backOffMs } from './back-off.js';
import { shuffle } from './candidates.js';
import { CLIENT_TARGET, LOW } from './degree.js';
import { inTime } from './in-time.js';
import type { MeshDialer } from './mesh-dialer.js';
import type { MeshEnvironment } from './mesh-environment.js';
import type { MeshLink } from './mesh-link.js';
import type { MeshNetwork } from './mesh-network.js';
import type { MeshView } from './mesh-view.js';
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

interface Seed {
  readonly name: string;
  /** What it resolved to last. */
  addresses: readonly string[];
  failures: number;
  isBusy: boolean;
  timer: Timer | undefined;
}

/** A dial that waits. */
interface Turn {
  readonly address: string;
  readonly isDoubtful: boolean;
  /** What has failed, if anything has. */
  done(failure: Error | undefined): void;
}

export class SeedWatch {
  private readonly seeds: Seed[];
  private readonly aborter = new AbortController();
  /** Dials that wait for their turn. */
  private readonly queue: Turn[] = [];
  private dialling = 0;
  private staggeredUntilMs = 0;
  private heldUntilMs = 0;
  private turnTimer: Timer | undefined;

  constructor(private readonly setup: SeedWatchSetup) {
    this.seeds = [...new Set(setup.seeds)].map((name) => ({
      name,
      addresses: [],
      failures: 0,
      isBusy: false,
      timer: undefined,
    }));
  }

  /** Seeds that lead elsewhere than to this node itself, as far as it knows. */
  get size(): number {
    const isOwn = (address: string): boolean => this.setup.dialer.isOwn(address);
    return this.seeds.filter(({ addresses }) => addresses.length === 0 || !addresses.every(isOwn)).length;
  }

  start(): void {
    for (const seed of shuffle([...this.seeds], this.setup.environment.random)) void this.check(seed);
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
      .flatMap(({ name, addresses }) => (addresses.length === 0 ? [name] : addresses))
      .filter((address) => {
        const nodeId = dialer.idAt(address);
        return !dialer.isOwn(address) && (nodeId === undefined || !view.isReachable(nodeId));
      });
  }

  onUnlink({ address, peerId }: MeshLink, upMs: number): void {
    const { dialer, environment, backOff } = this.setup;
    for (const seed of this.seeds) {
      const was = seed.addresses.some((one) => one === address || dialer.idAt(one) === peerId);
      if (!was || seed.isBusy) continue;
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
    if (this.aborter.signal.aborted) return;
    // A link may have come up and gone while others were still being dialled.
    const isFine = failure === undefined && !seed.addresses.some((address) => this.isDue(address, false));
    if (isFine) this.schedule(seed, CHECK_MS * (1 + JITTER * (2 * environment.random() - 1)));
    else this.schedule(seed, backOffMs(seed.failures++, backOff, environment.random));
    if (failure === undefined) return;
    const code = failure instanceof StarlaneError ? failure.code : 'ERR_STARLANE_TRANSPORT';
    this.setup.onWarning(new StarlaneError(code, `seed ${seed.name}: ${failure.message}`, { cause: failure }));
  }

  /** Sees to it that there is a link where one is needed; what has failed, when all has. */
  private async join(seed: Seed): Promise<Error | undefined> {
    const { environment, network } = this.setup;
    const isDoubtful = environment.random() < DOUBT;
    if (seed.addresses.length > 0 && !seed.addresses.some((address) => this.isDue(address, isDoubtful))) {
      seed.failures = 0;
      return undefined;
    }
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
      return error as Error;
    }
    const outcomes = await Promise.all(seed.addresses.map((address) => this.inTurn(address, isDoubtful)));
    const failures = outcomes.filter((outcome) => outcome !== undefined);
    return failures.length === outcomes.length ? failures[0] : undefined;
  }

  /** Undefined when all is well there. */
  private inTurn(address: string, isDoubtful: boolean): Promise<Error | undefined> {
    return new Promise((done) => {
      this.queue.push({ address, isDoubtful, done });
      this.takeTurns();
    });
  }

  private takeTurns(): void {
    const { timers } = this.setup.environment;
    while (this.dialling < PARALLEL) {
      const turn = this.queue[0];
      if (turn === undefined) return;
      const isDue = this.isDue(turn.address, turn.isDoubtful);
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
      done((error as { code?: string }).code === 'ERR_STARLANE_SELF_LINK' ? undefined : (error as Error));
    }
    this.dialling--;
    if (!this.aborter.signal.aborted) this.takeTurns();
  }

  /** Whether a dial there would do any good. */
  private isDue(address: string, isDoubtful: boolean): boolean {
    const { dialer, isClient, neighbours, view } = this.setup;
    if (this.aborter.signal.aborted || dialer.isOwn(address)) return false;
    const { degree } = neighbours;
    if (isClient && degree + dialer.underway >= CLIENT_TARGET) return false;
    const nodeId = dialer.idAt(address);
    if (nodeId !== undefined && neighbours.ids(false).has(nodeId)) return false;
    if (degree < LOW) return true;
    if (nodeId !== undefined) return !view.isReachable(nodeId);
    const claimant = this.claimant(address);
    return claimant === undefined || !view.isReachable(claimant) || isDoubtful;
  }

  /** Who says that it listens there. */
  private claimant(address: string): NodeId | undefined {
    for (const { nodeId, addresses } of this.setup.view.nodes()) if (addresses.includes(address)) return nodeId;
    return undefined;
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
