// Looks for partitions of the network: dials nodes that are out of reach, since a partition does not heal by itself when all
// nodes have enough links in their own part. About three nodes of the whole network try every half minute, ten times as many
// after many nodes have gone at once, and a nearly isolated node tries every time.

import { shuffle } from '../../util/choice.js';
import { Deadline } from '../../util/deadline.js';
import { REST_SLACK_MS } from '../../util/timers.js';
import { NodeFlag } from '../../wire/records.js';
import type { MeshEnvironment, MeshView } from '../ports.js';
import type { NeighbourhoodContext } from './neighbourhood.js';
import type { BookEntry } from './peer-book.js';
import type { SeedWatch } from './seeds.js';

const INTERVAL_MS = 30_000;
/** The share by which an interval is shorter or longer. */
const JITTER = 0.5;
/** The number of nodes of the whole network that try in each interval. */
const TRIES = 3;
const ALARM_FACTOR = 10;
/** With fewer links, a node may be a partition of its own. */
const LONELY_BELOW = 2;

/** An address or node that may belong to another partition. */
interface Lead {
  readonly addresses: readonly string[];
  readonly entry?: Pick<BookEntry, 'nodeId' | 'addresses'>;
}

export class PartitionWatch {
  private readonly deadline: Deadline;
  private isProbing = false;

  constructor(
    private readonly context: NeighbourhoodContext,
    private readonly seeds: SeedWatch,
    private readonly history: ReachabilityHistory,
  ) {
    this.deadline = new Deadline(context.environment.timers, () => this.tryProbe());
  }

  start(): void {
    this.deadline.set(INTERVAL_MS * (1 + JITTER * (2 * this.context.environment.random() - 1)));
  }

  dispose(): void {
    this.deadline.clear();
  }

  private tryProbe(): void {
    this.start();
    if (!this.isProbing && this.context.environment.random() < this.chance()) void this.probe();
  }

  private chance(): number {
    if (this.context.neighbours.degree < LONELY_BELOW) return 1;
    let known = 0;
    for (const _ of this.context.view.nodes()) known++;
    return ((this.history.hasFallen ? ALARM_FACTOR : 1) * TRIES) / Math.max(1, known);
  }

  private async probe(): Promise<void> {
    const { book, dialer } = this.context;
    const lead = this.pick();
    if (lead === undefined) return;
    this.isProbing = true;
    const { addresses, entry } = lead;
    try {
      // Any node will do: this one may have come back under another id.
      if (entry === undefined) await dialer.dial(addresses[0] as string);
      else await dialer.dialNode(entry.nodeId, addresses, false);
    } catch {
      if (entry !== undefined) {
        if (book.get(entry.nodeId) === undefined) book.onAnnounced(entry.nodeId, entry.addresses);
        book.onFailed(entry.nodeId);
      }
    } finally {
      this.isProbing = false;
    }
  }

  /** Returns a seed (every other time, if one is out of reach), or a node, less likely the more dials of it have failed. */
  private pick(): Lead | undefined {
    const { dialer, environment } = this.context;
    const dialable = this.seeds.unreachable().filter((address) => dialer.canDial(address));
    const [seed] = shuffle(dialable, environment.random);
    const node = seed === undefined || environment.random() < 0.5 ? this.pickNode() : undefined;
    return node ?? (seed === undefined ? undefined : { addresses: [seed] });
  }

  private pickNode(): Lead | undefined {
    const { book, environment, view } = this.context;
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
    const { dialer, environment, view } = this.context;
    if (nodeId === environment.identity.nodeId || view.isReachable(nodeId) || dialer.isDialling(nodeId)) return false;
    if (view.isBanned(nodeId)) return false;
    if (((view.node(nodeId)?.flags ?? 0) & NodeFlag.LEAVING) !== 0) return false;
    return addresses.some((address) => dialer.canDial(address));
  }
}

const SAMPLE_MS = 5_000;
/** At least this share of the nodes must go or come... */
const SHARE = 0.2;
/** ...within this time, in ms, */
const WINDOW_MS = 60_000;
/** ...and that counts for this long, in ms. */
const MEMORY_MS = 600_000;

/** How many nodes were reachable lately: whether many have gone, or come, at once. */
export class ReachabilityHistory {
  private readonly deadline: Deadline;
  private readonly samples: number[] = [];
  private fellMs = Number.NEGATIVE_INFINITY;
  private grewMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly view: MeshView,
  ) {
    this.deadline = new Deadline(environment.timers, () => this.sample());
  }

  /** Whether many nodes have gone at once, not long ago. */
  get hasFallen(): boolean {
    return this.environment.timers.now() - this.fellMs < MEMORY_MS;
  }

  /** Whether many nodes have come at once, not long ago. */
  get hasGrown(): boolean {
    return this.environment.timers.now() - this.grewMs < MEMORY_MS;
  }

  start(): void {
    this.sample();
  }

  dispose(): void {
    this.deadline.clear();
  }

  private sample(): void {
    const { environment, samples, view } = this;
    const now = environment.timers.now();
    const { reachable } = view;
    samples.push(reachable);
    if (samples.length > WINDOW_MS / SAMPLE_MS + 1) samples.shift();
    if (reachable < Math.max(...samples) * (1 - SHARE)) this.fellMs = now;
    if (reachable * (1 - SHARE) > Math.min(...samples)) this.grewMs = now;
    this.deadline.set(SAMPLE_MS, REST_SLACK_MS);
  }
}
