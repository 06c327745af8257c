// Looks for parts of the network that this node does not see. Every node is content with its own part, so somebody has
// to try addresses of nodes that it cannot reach: about three in the whole network every half minute, ten times that
// after many have gone at once, and every time a node that is nearly alone.

import type { Timed, Timer } from '../../util/timers.js';
import { NodeFlag } from '../../wire/records.js';
import type { MeshEnvironment, MeshView } from '../ports.js';
import { shuffle } from './candidates.js';
import type { MeshDialer } from './dialer.js';
import type { Neighbours } from './neighbours.js';
import type { BookEntry, PeerBook } from './peer-book.js';
import type { SeedWatch } from './seeds.js';

const INTERVAL_MS = 30_000;
/** How far an interval is shorter or longer. */
const JITTER = 0.5;
/** Nodes of the whole network that try in each interval. */
const TRIES = 3;
const ALARM_FACTOR = 10;
/** With fewer links than that, a node may be its own part. */
const LONELY_BELOW = 2;

export interface PartitionWatchSetup {
  readonly environment: MeshEnvironment;
  readonly view: MeshView;
  readonly dialer: MeshDialer;
  readonly neighbours: Neighbours;
  readonly book: PeerBook;
  readonly seeds: SeedWatch;
  readonly history: ReachHistory;
}

/** Somewhere that a part of the network may be. */
interface Lead {
  readonly addresses: readonly string[];
  readonly entry?: Pick<BookEntry, 'nodeId' | 'addresses'>;
}

export class PartitionWatch implements Timed {
  private timer: Timer | undefined;
  private isProbing = false;

  constructor(private readonly setup: PartitionWatchSetup) {}

  start(): void {
    const { random, timers } = this.setup.environment;
    this.timer = timers.schedule(INTERVAL_MS * (1 + JITTER * (2 * random() - 1)), this);
  }

  stop(): void {
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.start();
    if (!this.isProbing && this.setup.environment.random() < this.chance()) void this.probe();
  }

  private chance(): number {
    if (this.setup.neighbours.degree < LONELY_BELOW) return 1;
    let known = 0;
    for (const _ of this.setup.view.nodes()) known++;
    return ((this.setup.history.hasFallen ? ALARM_FACTOR : 1) * TRIES) / Math.max(1, known);
  }

  private async probe(): Promise<void> {
    const { book, dialer } = this.setup;
    const lead = this.pick();
    if (lead === undefined) return;
    this.isProbing = true;
    const { addresses, entry } = lead;
    try {
      // Whoever is there now will do, if its node has come back as another.
      if (entry === undefined) await dialer.dial(addresses[0] as string);
      else await dialer.dialNode(entry.nodeId, addresses, false);
    } catch {
      if (entry !== undefined) {
        if (book.get(entry.nodeId) === undefined) book.onHeard(entry.nodeId, entry.addresses);
        book.onFailed(entry.nodeId);
      }
    } finally {
      this.isProbing = false;
    }
  }

  /** A seed, every other time that there is one, or a node, the less likely the more often it was not there. */
  private pick(): Lead | undefined {
    const { dialer, environment, seeds } = this.setup;
    const dialable = seeds.unreachable().filter((address) => dialer.canDial(address));
    const [seed] = shuffle(dialable, environment.random);
    const node = seed === undefined || environment.random() < 0.5 ? this.pickNode() : undefined;
    return node ?? (seed === undefined ? undefined : { addresses: [seed] });
  }

  private pickNode(): Lead | undefined {
    const { book, environment, view } = this.setup;
    let picked: Lead | undefined;
    let weights = 0;
    const offer = (entry: Pick<BookEntry, 'nodeId' | 'addresses'>, failures: number): void => {
      if (!this.isOutOfReach(entry)) return;
      const weight = 1 / (1 + failures);
      weights += weight;
      if (environment.random() * weights < weight) picked = { addresses: entry.addresses, entry };
    };
    for (const entry of book.entries()) offer(entry, entry.failures);
    for (const record of view.nodes()) if (book.get(record.nodeId) === undefined) offer(record, 0);
    return picked;
  }

  private isOutOfReach({ nodeId, addresses }: Pick<BookEntry, 'nodeId' | 'addresses'>): boolean {
    const { dialer, environment, view } = this.setup;
    if (nodeId === environment.identity.nodeId || view.isReachable(nodeId) || dialer.isDialling(nodeId)) return false;
    if (view.isBanned(nodeId)) return false;
    if (((view.node(nodeId)?.flags ?? 0) & NodeFlag.LEAVING) !== 0) return false;
    return addresses.some((address) => dialer.canDial(address));
  }
}

// How many nodes this one has reached of late: whether the network has just lost many of them at once, or has found many
// again.

const SAMPLE_MS = 5_000;
/** This part of the nodes has to go or come... */
const SHARE = 0.2;
/** ...within this time, in ms, */
const WINDOW_MS = 60_000;
/** and that counts for so long, in ms. */
const MEMORY_MS = 600_000;

export class ReachHistory implements Timed {
  private timer: Timer | undefined;
  private readonly samples: number[] = [];
  private fellMs = Number.NEGATIVE_INFINITY;
  private grewMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly view: MeshView,
  ) {}

  /** Many nodes have gone at once, not long ago. */
  get hasFallen(): boolean {
    return this.environment.timers.now() - this.fellMs < MEMORY_MS;
  }

  /** Many nodes have come at once, not long ago. */
  get hasGrown(): boolean {
    return this.environment.timers.now() - this.grewMs < MEMORY_MS;
  }

  start(): void {
    this.onDeadline();
  }

  stop(): void {
    if (this.timer !== undefined) this.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    const { environment, samples, view } = this;
    const now = environment.timers.now();
    const { reachable } = view;
    samples.push(reachable);
    if (samples.length > WINDOW_MS / SAMPLE_MS + 1) samples.shift();
    if (reachable < Math.max(...samples) * (1 - SHARE)) this.fellMs = now;
    if (reachable * (1 - SHARE) > Math.min(...samples)) this.grewMs = now;
    this.timer = environment.timers.schedule(SAMPLE_MS, this);
  }
}
