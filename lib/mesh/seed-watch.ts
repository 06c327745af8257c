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
/** Dials of seeds at a time. */
const PARALLEL = 3;
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

export class SeedWatch {
  private readonly seeds: Seed[];
  private readonly aborter = new AbortController();
  /** Dials that wait for their turn. */
  private readonly queue: Array<() => void> = [];
  private dialling = 0;

  constructor(private readonly setup: SeedWatchSetup) {
    this.seeds = [...new Set(setup.seeds)].map((name) => ({
      name,
      addresses: [],
      failures: 0,
      isBusy: false,
      timer: undefined,
    }));
  }

  start(): void {
    for (const seed of shuffle([...this.seeds], this.setup.environment.random)) void this.check(seed);
  }

  stop(): void {
    this.aborter.abort();
    for (const seed of this.seeds) this.cancel(seed);
    for (const turn of this.queue.splice(0)) turn();
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
    const outcomes = await Promise.all(
      seed.addresses.map((address) => this.inTurn(() => this.joinAt(address, isDoubtful))),
    );
    const failures = outcomes.filter((outcome) => outcome !== undefined);
    return failures.length === outcomes.length ? failures[0] : undefined;
  }

  /** Undefined when all is well there. */
  private async joinAt(address: string, isDoubtful: boolean): Promise<Error | undefined> {
    if (!this.isDue(address, isDoubtful)) return undefined;
    try {
      await this.setup.dialer.dial(address);
      return undefined;
    } catch (error) {
      return (error as { code?: string }).code === 'ERR_STARLANE_SELF_LINK' ? undefined : (error as Error);
    }
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

  /** A few at a time, in order. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.dialling >= PARALLEL) await new Promise<void>((resolve) => this.queue.push(resolve));
    this.dialling++;
    try {
      return await work();
    } finally {
      this.dialling--;
      this.queue.shift()?.();
    }
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
