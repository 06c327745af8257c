// A source for the monitor of any size, which changes when a spec says so.

import type {
  EdgeRow,
  EventLevel,
  LinkRow,
  MemberRow,
  NodeRow,
  ServiceRow,
  Snapshot,
  StreamRow,
} from '../../../lib/http/monitor/snapshot.js';
import type { MonitorSource, SourceWatcher } from '../../../lib/http/monitor/source.js';
import { dateNow } from '../../../lib/util/runtime/real-timers.js';

const DAY_MS = 86_400_000;
const NAMES = [
  'web',
  'api',
  'auth',
  'billing',
  'search',
  'mail',
  'cache',
  'queue',
  'metrics',
  'images',
  'pay',
  'users',
];
const SITES = ['fra', 'ams', 'nyc', 'sin', 'syd', 'sao', 'lhr', 'tyo'];

export interface FakeSize {
  readonly nodes: number;
  readonly services: number;
  readonly links?: number;
  readonly streams?: number;
  readonly members?: boolean;
}

/** Numbers that are the same in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

export class FakeSource implements MonitorSource {
  readonly id: string;
  nodes: NodeRow[] = [];
  edges: EdgeRow[] = [];
  services: ServiceRow[] = [];
  links: LinkRow[] = [];
  streams: StreamRow[] = [];
  members: MemberRow[] = [];
  reads = 0;
  private watcher: SourceWatcher | undefined;
  private readonly random = randomFrom(7);
  private readonly startedAt = dateNow();

  constructor({ nodes, services, links = Math.min(nodes - 1, 8), streams = 0, members = true }: FakeSize) {
    const ids = Array.from({ length: nodes }, (_, at) => `n${String(at).padStart(5, '0')}aaaaA`);
    this.id = ids[0] as string;
    const depth = [0];
    for (let at = 1; at < nodes; at++) {
      const parent = at <= links ? 0 : 1 + Math.floor(this.random() * Math.min(at - 1, links + at * 0.3));
      depth[at] = (depth[parent] as number) + 1;
      this.addEdge(ids[parent] as string, ids[at] as string);
      if (at > links && this.random() < 0.8)
        this.addEdge(ids[1 + Math.floor(this.random() * (at - 1))] as string, ids[at] as string);
    }
    this.nodes = ids.map((id, at) => this.nodeRow(id, at, depth[at] as number));
    for (let at = 0; at < services; at++) {
      const node = this.nodes[Math.floor(this.random() * nodes)] as NodeRow;
      const name = NAMES[at % NAMES.length] as string;
      this.addService(
        services > 100 ? `${name}-${Math.floor(at / NAMES.length) % 400}` : name,
        node.id,
        at % 5 === 0 ? 80 : 0,
      );
    }
    this.links = this.nodes.slice(1, links + 1).map((node, at) => this.linkRow(node, at));
    for (let at = 0; at < streams; at++) this.streams.push(this.streamRow(at));
    if (!members) return;
    this.members = this.nodes.slice(0, 400).map(
      ({ id, name }, at): MemberRow => ({
        id,
        name,
        tags: at % 3 === 0 ? ['operator'] : [SITES[at % SITES.length] as string],
        rights: at % 2 === 0 ? ['relay', 'offer *'] : ['offer *'],
        since: this.startedAt - 20 * DAY_MS,
        until: this.startedAt + (at === 3 ? 2 : at === 11 ? -1 : 12) * DAY_MS,
        isReachable: at % 17 !== 16,
      }),
    );
  }

  read(): Snapshot {
    this.reads++;
    const { nodes, edges, services, links, streams, members } = this;
    return {
      at: dateNow(),
      self: { id: this.id, name: nodes[0]?.name ?? '', state: 'open', uptimeMs: dateNow() - this.startedAt },
      totals: {
        counts: {
          nodes: nodes.length,
          edges: edges.length,
          services: services.length,
          links: links.length,
          streams: streams.length,
          members: members.length,
        },
        links: links.length,
        streams: streams.length,
        bytesIn: links.reduce((sum, { bytesIn }) => sum + bytesIn, 0),
        bytesOut: links.reduce((sum, { bytesOut }) => sum + bytesOut, 0),
        relayed: 41,
        relayHeldBytes: 120_000,
        warnings: 0,
      },
      nodes,
      edges,
      services,
      links,
      streams,
      members,
    };
  }

  watch(watcher: SourceWatcher): () => void {
    this.watcher = watcher;
    return () => {
      this.watcher = undefined;
    };
  }

  get isWatched(): boolean {
    return this.watcher !== undefined;
  }

  event(kind: string, level: EventLevel, text: string): void {
    this.watcher?.onEvent(kind, level, text);
  }

  change(): void {
    this.watcher?.onChange();
  }

  end(): void {
    this.watcher?.onEnd();
  }

  /** Moves counters and round trips of links, and the costs of some nodes, as time does. */
  tick(costs = 50): void {
    this.links = this.links.map((link, at) => ({
      ...link,
      rttMs: Number((2 + at * 3 + this.random() * 4).toPrecision(2)),
      bytesIn: link.bytesIn + Math.floor(this.random() ** 3 * 4_000_000),
      bytesOut: link.bytesOut + Math.floor(this.random() ** 2 * 900_000),
      streams: 3 + Math.floor(this.random() * 40),
    }));
    const nodes = [...this.nodes];
    for (let at = 0; at < costs; at++) {
      const index = 1 + Math.floor(this.random() * (nodes.length - 1));
      const node = nodes[index];
      if (node !== undefined) nodes[index] = { ...node, costMs: Number((1 + this.random() * 90).toPrecision(2)) };
    }
    this.nodes = nodes;
  }

  addService(service: string, nodeId: string, port = 0, meta = ''): void {
    const nodeName = this.nodes.find(({ id }) => id === nodeId)?.name ?? '';
    const id = `${nodeId}:${port}:${service}:${this.services.length}`;
    this.services = [...this.services, { id, service, port, nodeId, nodeName, weight: 100, meta }];
  }

  addNode(id: string, name: string, neighbour = this.id): NodeRow {
    const row = { ...this.nodeRow(id, 4, 1), name };
    this.nodes = [...this.nodes, row];
    this.addEdge(neighbour, id);
    return row;
  }

  addLink(peer: NodeRow): void {
    this.links = [...this.links, this.linkRow(peer, this.links.length)];
  }

  private addEdge(one: string, other: string): void {
    if (one === other) return;
    this.edges.push({ id: `${one}~${other}`, one, other, costMs: 5 });
  }

  private nodeRow(id: string, at: number, hops: number): NodeRow {
    const isLost = at > 0 && at % 97 === 96;
    return {
      id,
      name: at % 5 === 4 ? '' : `${NAMES[(at * 7) % NAMES.length]}-${SITES[at % SITES.length]}-${at}`,
      isSelf: at === 0,
      role: at === 0 ? 'peer' : '',
      isRelay: at % 3 !== 2,
      isDraining: at % 23 === 9,
      isOverloaded: false,
      hops: isLost ? -1 : hops,
      costMs: isLost || at === 0 ? 0 : Number((hops * 8 + this.random() * 20).toPrecision(2)),
      nextHop: at === 0 || isLost ? '' : hops === 1 ? id : 'n00001aaaaA',
    };
  }

  private linkRow({ id, name }: NodeRow, at: number): LinkRow {
    return {
      id: `${id}:1`,
      peerId: id,
      peerName: name,
      address: `tls://10.0.${at % 250}.7:10000`,
      direction: at % 2 === 0 ? 'outbound' : 'inbound',
      purpose: 'mesh',
      trouble: at === 5 ? 'silent' : '',
      rttMs: 3 + at,
      streams: 4,
      bytesIn: 1_000_000 * at,
      bytesOut: 300_000 * at,
      since: this.startedAt - at * 3_600_000,
    };
  }

  private streamRow(at: number): StreamRow {
    const peer = this.nodes[1 + (at % (this.nodes.length - 1))] as NodeRow;
    const kind = at % 4 === 3 ? 'relayed' : 'socket';
    return {
      id: `s${at}`,
      kind,
      direction: kind === 'relayed' ? 'through' : at % 2 === 0 ? 'out' : 'in',
      service: kind === 'relayed' ? '' : (NAMES[at % NAMES.length] as string),
      peerId: peer.id,
      peerName: peer.name,
      via: at % 3 === 0 ? [(this.nodes[1] as NodeRow).id] : [],
      bytesIn: kind === 'relayed' ? -1 : at * 5_321,
      bytesOut: kind === 'relayed' ? -1 : at * 977,
      waiting: at % 9 === 0 ? 65_536 : 0,
      idleS: at % 9 === 0 ? 12 : 0,
      since: this.startedAt - at * 60_000,
    };
  }
}
