// A node as the source of the monitor: its answers to queries, as rows of tables.

import { codeOf } from '../../errors.js';
import type { Node } from '../../node/node.js';
import type { StreamAnswer, StreamsAnswer, TopologyNode } from '../../node/queries/answers.js';
import { describeLinks, describeMembers, describeServices, describeTopology } from '../../node/queries/describe.js';
import type { NodeEvent } from '../../node/queries/events.js';
import { createApi } from '../../node/queries/queries.js';
import type { CallerRights } from '../../node/queries/rights.js';
import type { QuerySources } from '../../node/queries/sources.js';
import { StreamWatch } from '../../node/queries/streams.js';
import { CallerWork, WORK_OF_ALL } from '../../node/queries/work.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import {
  type EdgeRow,
  type LinkRow,
  MAX_ROWS,
  type MemberRow,
  type NodeRow,
  type ServiceRow,
  type Snapshot,
  type StreamRow,
} from './snapshot.js';
import type { MonitorSource, SourceWatcher } from './source.js';

/** Characters of the metadata of a service, which may be long. */
const META_CHARACTERS = 200;
/** Looks at streams of a node that has this many of them would take longer than what they show is worth. */
const MAX_WATCHED_STREAMS = 200_000;

/** Returns the rights of a client that is no node: those of one that is in the envs of this node and proves nothing. */
function guestRights({ id, envDigests, circuits }: QuerySources): CallerRights {
  const remote = {
    localId: id,
    peerId: '',
    via: [],
    isVerified: false,
    addresses: circuits.addresses,
    name: undefined,
  };
  return {
    all: false,
    envs: new Set(envDigests),
    mayDial: (service, port) => circuits.mayDial(remote, envDigests, service, port),
  };
}

export class NodeSource implements MonitorSource {
  readonly id: string;
  readonly api: MonitorSource['api'];
  readonly guestApi: MonitorSource['api'];
  private readonly rights: CallerRights;
  private readonly streams: StreamWatch;
  /** The last look at the streams, which takes several turns of the event loop. */
  private seen: StreamsAnswer | undefined;
  private isLooking = false;
  private readonly aborter = new AbortController();

  constructor(private readonly node: Node) {
    const { sources } = node.queries;
    this.id = node.id;
    this.api = createApi(node);
    const guest = guestRights(sources);
    const guestApi = createApi(node, () => guest);
    // All of them are one caller.
    const work = new CallerWork(sources.timers, new TokenBucket(WORK_OF_ALL));
    this.guestApi = (request, response) => guestApi(request, response, work);
    this.rights = { all: true, envs: new Set(sources.envDigests) };
    this.streams = new StreamWatch(sources);
  }

  read(): Snapshot {
    const { node, rights } = this;
    const { sources } = node.queries;
    const stats = sources.stats();
    this.look(stats.streams.links + stats.streams.loopback);
    const topology = describeTopology(sources, rights, MAX_ROWS.nodes);
    const services = describeServices(sources, rights, { limit: MAX_ROWS.services });
    const { links } = describeLinks(sources, rights);
    const members = describeMembers(sources, MAX_ROWS.members);
    const routes = new Map(node.routes().map((route) => [route.nodeId, route]));
    const at = dateNow();
    const nodes = topology.nodes.map((one) =>
      nodeRow(one, routes.get(one.id)?.cost ?? 0, routes.get(one.id)?.nextHop ?? ''),
    );
    const edges = topology.edges.slice(0, MAX_ROWS.edges).map(
      ({ a, b, costMs }): EdgeRow => ({
        id: `${a}~${b}`,
        one: a,
        other: b,
        costMs: costMs === null ? -1 : rounded(costMs),
      }),
    );
    return {
      at,
      self: {
        id: node.id,
        name: nodes.find(({ isSelf }) => isSelf)?.name ?? '',
        state: stats.state,
        uptimeMs: Math.round(stats.uptimeMs),
      },
      totals: {
        counts: {
          nodes: topology.total,
          edges: topology.edges.length,
          services: services.total,
          links: links.length,
          streams: this.seen?.total ?? 0,
          members: members.total,
        },
        links: stats.links.up,
        streams: stats.streams.links + stats.streams.loopback,
        bytesIn: stats.links.bytesIn,
        bytesOut: stats.links.bytesOut,
        relayed: stats.relay.circuits,
        relayHeldBytes: stats.relay.heldBytes,
        warnings: stats.warnings,
      },
      nodes,
      edges,
      services: services.services.map(
        ({ service, port, nodeId, nodeName = '', weight, meta }): ServiceRow => ({
          id: `${nodeId}:${port}:${service}`,
          service,
          port,
          nodeId,
          nodeName,
          weight,
          meta: shownMeta(meta),
        }),
      ),
      links: links.slice(0, MAX_ROWS.links).map(
        (link): LinkRow => ({
          id: `${link.peerId}:${link.since}`,
          peerId: link.peerId,
          peerName: link.peerName ?? '',
          address: link.address,
          direction: link.direction,
          purpose: link.purpose,
          trouble: link.stalled ? 'stalled' : link.suspect ? 'silent' : '',
          rttMs: rounded(link.smoothedRttMs ?? link.rttMs),
          streams: link.streams,
          bytesIn: link.bytesIn,
          bytesOut: link.bytesOut,
          since: link.since,
        }),
      ),
      streams: (this.seen?.streams ?? []).map((stream) => streamRow(stream, at)),
      members: members.members.map(
        ({ id, name, tags, rights: { relay, offer, issue }, sinceMs, untilMs, reachable }): MemberRow => ({
          id,
          name,
          tags,
          rights: [
            ...(relay ? ['relay'] : []),
            ...offer.map((pattern) => `offer ${pattern}`),
            ...(issue ? ['issue'] : []),
          ],
          since: sinceMs,
          until: untilMs,
          isReachable: reachable,
        }),
      ),
    };
  }

  watch(watcher: SourceWatcher): () => void {
    const onClose = (): void => watcher.onEnd();
    const unfollow = this.node.queries.follow((event) => report(event, watcher));
    this.node.once('close', onClose);
    return () => {
      unfollow();
      this.aborter.abort();
      this.node.off('close', onClose);
    };
  }

  /** Begins a look at the streams, unless one is under way; the next snapshot has it. */
  private look(streams: number): void {
    if (this.isLooking || streams > MAX_WATCHED_STREAMS) return;
    this.isLooking = true;
    const request = { limit: MAX_ROWS.streams, stalledMs: undefined, service: undefined, peerId: undefined };
    this.streams.describe(request, this.rights, this.aborter.signal).then(
      (answer) => {
        this.seen = answer;
        this.isLooking = false;
      },
      () => {
        this.isLooking = false;
      },
    );
  }
}

function nodeRow(node: TopologyNode, cost: number, nextHop: string): NodeRow {
  const { id, name = '', self, role = '', relay, draining, overloaded, reachable, hops } = node;
  return {
    id,
    name,
    isSelf: self,
    role,
    isRelay: relay,
    isDraining: draining,
    isOverloaded: overloaded,
    hops: self ? 0 : reachable ? (hops ?? 1) : -1,
    costMs: rounded(cost),
    nextHop,
  };
}

function streamRow(stream: StreamAnswer, at: number): StreamRow {
  const { key, kind, direction, service, port, peerId, peerName = '', via, bytesIn, bytesOut, ageMs } = stream;
  return {
    id: key,
    kind,
    direction,
    service: service === '' && port !== null && kind === 'socket' ? `:${port}` : service,
    peerId,
    peerName,
    via,
    bytesIn: bytesIn ?? -1,
    bytesOut: bytesOut ?? -1,
    waiting: stream.waitingIn + stream.waitingOut,
    idleS: Math.floor(stream.idleMs / 1_000),
    // Its age is measured at another moment each time: to ten seconds it stays the same, mostly.
    since: Math.round((at - ageMs) / 10_000) * 10_000,
  };
}

function shownMeta(meta: unknown): string {
  return meta === undefined ? '' : (JSON.stringify(meta) ?? '').slice(0, META_CHARACTERS);
}

/** Two digits: else every row would change with every measurement. */
function rounded(ms: number): number {
  return ms > 0 ? Number(ms.toPrecision(2)) : 0;
}

function report(event: NodeEvent, watcher: SourceWatcher): void {
  switch (event.name) {
    case 'link':
      return watcher.onEvent('link', 'good', `${labelOf(event.link)} at ${event.link.address}`);
    case 'unlink': {
      const { link, reason } = event;
      const isClosed = reason === undefined || codeOf(reason) === 'ERR_STARLANE_CLOSED';
      if (isClosed) return watcher.onEvent('link closed', 'plain', labelOf(link));
      return watcher.onEvent('link lost', 'bad', `${labelOf(link)}: ${reason.message}`);
    }
    case 'service':
    case 'unservice': {
      const { service, port, nodeId } = event.service;
      const text = `${service}${port === 0 ? '' : `:${port}`} at ${nodeId}`;
      return event.name === 'service'
        ? watcher.onEvent('service', 'good', text)
        : watcher.onEvent('service gone', 'plain', text);
    }
    case 'warning': {
      const code = codeOf(event.error);
      return watcher.onEvent('warning', 'bad', `${code === undefined ? '' : `${code}: `}${event.error.message}`);
    }
    case 'drain':
      return watcher.onEvent('draining', 'plain', 'this node takes no more circuits');
  }
}

function labelOf({ peerName, peerId }: { readonly peerName?: string | undefined; readonly peerId: string }): string {
  return peerName ?? peerId;
}
