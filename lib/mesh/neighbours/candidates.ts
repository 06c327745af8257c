// Nodes to which this one could link: random ones from the directory, and near ones, found by connecting to some.
//
// Random links keep the graph connected, and keep a malicious node from choosing our neighbours; near ones keep paths short.
// Both kinds are needed: with near ones only, most of the network is out of reach.

import { type NodeId, parseLinkAddress } from '../../address.js';
import { shuffle } from '../../util/choice.js';
import { NodeFlag, type NodeRecord } from '../../wire/records.js';
import { ACCEPT_ANY_BELOW, ACCEPT_NEEDY_BELOW } from './degree.js';
import type { NeighbourhoodContext } from './neighbourhood.js';

export interface Candidate {
  readonly nodeId: NodeId;
  readonly addresses: readonly string[];
}

/** The number of nodes that are probed to find near ones; half of them are chosen because their route is short already. */
const PROBED = 8;
const SHORTLISTED = 32;
const PROBE_TIMEOUT_MS = 2_000;
/** Links that this node makes to one network (/24, /48), if there is a choice: it may belong to one owner. */
const MAX_IN_NETWORK = 2;
const RANDOM_SAMPLE = 8;

export class Candidates {
  /** Nodes that are being probed, and may be dialled next. */
  private readonly probing = new Set<NodeId>();

  constructor(private readonly context: NeighbourhoodContext) {}

  /** Returns a random node, preferably of a network to which this node has few links. */
  random(): Candidate | undefined {
    const drawn = this.draw(RANDOM_SAMPLE);
    const inNetwork = new Map<string, number>();
    for (const { link } of this.context.neighbours.mesh()) {
      if (link.direction !== 'outbound') continue;
      const network = networkOf(link.address);
      inNetwork.set(network, (inNetwork.get(network) ?? 0) + 1);
    }
    const isRare = ({ addresses }: Candidate): boolean =>
      (inNetwork.get(networkOf(addresses[0] as string)) ?? 0) < MAX_IN_NETWORK;
    return drawn.find(isRare) ?? drawn[0];
  }

  /** Returns up to `count` near nodes, the nearest first. */
  async near(count: number): Promise<Candidate[]> {
    const { view } = this.context;
    const drawn = this.draw(SHORTLISTED);
    const distance = ({ nodeId }: Candidate): number => view.distance(nodeId) ?? Number.POSITIVE_INFINITY;
    const closest = [...drawn].sort((a, b) => distance(a) - distance(b)).slice(0, PROBED / 2);
    const probed = [...closest, ...drawn.filter((one) => !closest.includes(one))].slice(0, PROBED);
    // With no choice there is nothing to measure.
    if (probed.length <= count) return probed;
    for (const { nodeId } of probed) this.probing.add(nodeId);
    try {
      const measured = await Promise.all(probed.map((candidate) => this.measure(candidate)));
      return measured
        .filter(({ ms }) => ms < Number.POSITIVE_INFINITY)
        .sort((a, b) => a.ms - b.ms)
        .slice(0, count)
        .map(({ candidate }) => candidate);
    } finally {
      for (const { nodeId } of probed) this.probing.delete(nodeId);
    }
  }

  /** Returns up to `count` different random nodes of the best kind that there is. */
  private draw(count: number): Candidate[] {
    const { neighbours, view, book } = this.context;
    const { degree } = neighbours;
    const isIsolated = degree === 0;
    // A node with a shortcut is chosen for its traffic, not at random; it counts only when there are few links.
    const linked = neighbours.ids(degree >= 2);
    const hasRoom = ({ links }: NodeRecord): boolean => links.length < ACCEPT_ANY_BELOW;
    const takesNeedy = ({ links }: NodeRecord): boolean => degree < 2 && links.length < ACCEPT_NEEDY_BELOW;
    const isRelay = ({ flags, nodeId }: NodeRecord): boolean => (flags & NodeFlag.RELAY) !== 0 && view.mayRelay(nodeId);
    const isWell = ({ flags }: NodeRecord): boolean => (flags & NodeFlag.OVERLOAD) === 0;
    const reached = ({ nodeId }: NodeRecord): boolean => view.isReachable(nodeId);
    for (const fits of [
      (record: NodeRecord) => reached(record) && isRelay(record) && isWell(record) && hasRoom(record),
      (record: NodeRecord) => reached(record) && hasRoom(record),
      (record: NodeRecord) => reached(record) && isRelay(record) && takesNeedy(record),
      // An isolated node cannot trust its records any more: every node of its last view is worth a try.
      (record: NodeRecord) => isIsolated && isRelay(record),
    ]) {
      const stays = (record: NodeRecord): boolean =>
        (record.flags & (NodeFlag.DRAIN | NodeFlag.LEAVING)) === 0 && fits(record);
      const drawn = this.sample(view.nodes(), count, linked, stays);
      if (drawn.length > 0) return drawn;
    }
    return isIsolated ? this.sample(book.entries(), count, linked, () => true) : [];
  }

  private sample<T extends Candidate>(
    nodes: Iterable<T>,
    count: number,
    linked: ReadonlySet<NodeId>,
    fits: (node: T) => boolean,
  ): Candidate[] {
    const { random } = this.context.environment;
    const drawn: T[] = [];
    let seen = 0;
    for (const node of nodes) {
      if (linked.has(node.nodeId) || !fits(node) || !this.canDial(node)) continue;
      seen++;
      if (drawn.length < count) drawn.push(node);
      else {
        const place = Math.floor(random() * seen);
        if (place < count) drawn[place] = node;
      }
    }
    shuffle(drawn, random);
    return drawn.map((node) => this.candidate(node));
  }

  private canDial({ nodeId, addresses }: Candidate): boolean {
    const { dialer, environment, view } = this.context;
    if (nodeId === environment.identity.nodeId || dialer.isDialling(nodeId) || this.probing.has(nodeId)) return false;
    if (view.isBanned(nodeId) || !view.isMember(nodeId)) return false;
    return addresses.some((address) => dialer.canDial(address));
  }

  private candidate({ nodeId, addresses }: Candidate): Candidate {
    return { nodeId, addresses: addresses.filter((address) => this.context.dialer.canDial(address)) };
  }

  private async measure(candidate: Candidate): Promise<{ candidate: Candidate; ms: number }> {
    const { dialer, environment, network } = this.context;
    const address = candidate.addresses[0] as string;
    const since = environment.timers.now();
    const found = await network.probe(address, PROBE_TIMEOUT_MS).catch(() => 'silent');
    if (found === 'open') return { candidate, ms: environment.timers.now() - since };
    dialer.failed(address);
    return { candidate, ms: Number.POSITIVE_INFINITY };
  }
}

/** Returns what probably belongs to one owner: the /24 or /48 of an address, or a host name. */
function networkOf(address: string): string {
  let host: string | undefined;
  try {
    host = parseLinkAddress(address).host;
  } catch {
    return address;
  }
  if (host === undefined) return '';
  if (host.includes(':')) return host.split(':', 3).join(':');
  return /^[\d.]+$/.test(host) ? host.slice(0, host.lastIndexOf('.')) : host;
}
