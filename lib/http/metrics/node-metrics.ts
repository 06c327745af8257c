// What Prometheus gets of a node: a table of metrics, each with its values as a function of a snapshot. Names follow
// https://prometheus.io/docs/practices/naming: base units, `_total` for what only grows. Labels have few values, whatever the network has:
// only the metrics of single peers have one series a link.

import type { LinkInfo } from '../../link/link.js';
import type { NodeStats } from '../../node/stats.js';

/** What all values of one scrape come from. */
export interface Snapshot {
  readonly stats: NodeStats;
  readonly links: readonly LinkInfo[];
  /** Of the network of the node; undefined where there is none with members. */
  readonly members: number | undefined;
  /** In s since 1970. */
  readonly startedAtS: number;
  readonly version: string;
}

type Labels = Readonly<Record<string, string>>;
type Value = readonly [value: number, labels?: Labels];

/** One metric. Its name goes without the prefix. */
export interface NodeMetric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly labels?: readonly string[];
  values(snapshot: Snapshot): readonly Value[];
}

function gauge(name: string, help: string, value: (stats: NodeStats) => number): NodeMetric {
  return { name, type: 'gauge', help, values: ({ stats }) => [[value(stats)]] };
}

function counter(name: string, help: string, value: (stats: NodeStats) => number): NodeMetric {
  return { name, type: 'counter', help, values: ({ stats }) => [[value(stats)]] };
}

/** A metric with one label, with one series for each value of it. */
function by(
  label: string,
  { name, type, help }: Pick<NodeMetric, 'name' | 'type' | 'help'>,
  values: (snapshot: Snapshot) => Readonly<Record<string, number>>,
): NodeMetric {
  return {
    name,
    type,
    help,
    labels: [label],
    values: (snapshot) => Object.entries(values(snapshot)).map(([one, value]) => [value, { [label]: one }] as const),
  };
}

const STATES = ['open', 'draining', 'closed'] as const;

const ABOUT_THE_NODE: readonly NodeMetric[] = [
  {
    name: 'build_info',
    type: 'gauge',
    help: 'The version of Starlane and of Node, as labels of the value 1.',
    labels: ['version', 'node_version'],
    values: ({ version }) => [[1, { version, node_version: process.versions.node }]],
  },
  {
    name: 'node_info',
    type: 'gauge',
    help: 'The id of the node, as a label of the value 1.',
    labels: ['id'],
    values: ({ stats }) => [[1, { id: stats.id }]],
  },
  by(
    'state',
    { name: 'node_state', type: 'gauge', help: '1 for the state of the node, 0 for the others.' },
    ({ stats }) => Object.fromEntries(STATES.map((state) => [state, stats.state === state ? 1 : 0])),
  ),
  {
    name: 'start_time_seconds',
    type: 'gauge',
    help: 'When the node was created, in seconds since 1970.',
    values: ({ startedAtS }) => [[startedAtS]],
  },
  {
    name: 'certificate_expiry_timestamp_seconds',
    type: 'gauge',
    help: 'When the certificate of the node expires, in seconds since 1970. Missing without one.',
    values: ({ stats: { certificateExpiresAt: at } }) => (at === undefined ? [] : [[at / 1000]]),
  },
  {
    name: 'members',
    type: 'gauge',
    help: 'Members of the network that the node knows. Missing in a network without members.',
    values: ({ members }) => (members === undefined ? [] : [[members]]),
  },
  counter('warnings_total', 'Warnings of the node.', ({ warnings }) => warnings),
  gauge('holds', 'Sockets, servers, listeners and waits that keep the process alive.', ({ holds }) => holds),
];

const LINKS: readonly NodeMetric[] = [
  gauge('links', 'Links that are up.', ({ links }) => links.up),
  gauge('links_unsettled', 'Links in the handshake, and links that are leaving.', ({ links }) => links.unsettled),
  gauge('listeners', 'Addresses at which the node listens for links.', ({ links }) => links.listeners),
  gauge(
    'joins',
    'Addresses that the node keeps joined, including those that it dials in vain.',
    ({ links }) => links.joins,
  ),
  counter('links_opened_total', 'Links that came up.', ({ links }) => links.opened),
  counter('links_lost_total', 'Links that were lost other than on purpose.', ({ links }) => links.lost),
  by(
    'reason',
    { name: 'link_failures_total', type: 'counter', help: 'Links that never came up, by reason.' },
    ({ stats }) => stats.links.refused,
  ),
  by(
    'direction',
    { name: 'link_bytes_total', type: 'counter', help: 'Bytes of all links, with what the protocol adds.' },
    ({ stats: { links } }) => ({ in: links.totalBytesIn, out: links.totalBytesOut }),
  ),
  by(
    'stat',
    {
      name: 'link_rtt_seconds',
      type: 'gauge',
      help: 'The recent round trip of the links that are up: the shortest, the median and the longest. Missing without links.',
    },
    ({ links }) => roundTrips(links),
  ),
  by(
    'over',
    { name: 'streams', type: 'gauge', help: 'Open streams of users: over links, and of the node to itself.' },
    ({ stats: { streams } }) => ({ links: streams.links, loopback: streams.loopback }),
  ),
];

const CIRCUITS: readonly NodeMetric[] = [
  by(
    'result',
    { name: 'dials_total', type: 'counter', help: 'Dials that have ended, by result.' },
    ({ stats: { dials } }) => ({ connected: dials.connected, failed: dials.failed }),
  ),
  gauge('dials_pending', 'Dials that are neither connected nor failed.', ({ dials }) => dials.pending),
  gauge('breakers_open', 'Services whose circuit breaker is open.', ({ dials }) => dials.openBreakers),
  gauge('instances_ejected', 'Instances that are left out as outliers.', ({ dials }) => dials.ejected),
  by(
    'action',
    {
      name: 'resilience_total',
      type: 'counter',
      help: 'What the option resilience, and dials of their own, did about failures.',
    },
    ({ stats: { dials } }) => ({
      retry: dials.retries,
      retry_denied: dials.budgetSpent,
      hedge: dials.hedges,
      hedge_won: dials.hedgesWon,
      breaker_opened: dials.breakersOpened,
      dial_rejected: dials.rejected,
      instance_ejected: dials.ejections,
    }),
  ),
  counter('dials_quantum_safe_total', 'Connected dials with keys of ML-KEM-768.', ({ dials }) => dials.quantumSafe),
  by(
    'result',
    { name: 'accepts_total', type: 'counter', help: 'Circuits that came in to the node, by result.' },
    ({ stats: { accepts } }) => ({ accepted: accepts.accepted, refused: accepts.refused }),
  ),
  counter('accepts_denied_total', 'Refused circuits that allow does not permit.', ({ accepts }) => accepts.denied),
  counter(
    'accepts_insecure_total',
    'Circuits whose proof did not hold, or that were never confirmed.',
    ({ accepts }) => accepts.insecure,
  ),
  counter('accepts_repeated_total', 'Refused circuits that had come before.', ({ accepts }) => accepts.repeated),
  counter(
    'accepts_quantum_safe_total',
    'Accepted circuits with keys of ML-KEM-768.',
    ({ accepts }) => accepts.quantumSafe,
  ),
  gauge(
    'circuits_incoming',
    'Open circuits of other nodes, to the node or through it, for which drain() waits.',
    ({ streams }) => streams.incoming,
  ),
  gauge('servers', 'Servers that are bound.', ({ servers }) => servers.bound),
  gauge('server_sockets', 'Open sockets of servers.', ({ servers }) => servers.openSockets),
];

const RELAY: readonly NodeMetric[] = [
  gauge('circuits_relayed', 'Open circuits of others through the node.', ({ relay }) => relay.circuits),
  gauge('relay_pending', 'Circuits of others that are being opened through the node.', ({ relay }) => relay.pending),
  gauge('relay_held_bytes', 'Bytes that the node holds for slow readers of others.', ({ relay }) => relay.heldBytes),
  counter('relay_opened_total', 'Circuits of others that were opened through the node.', ({ relay }) => relay.opened),
  counter(
    'relay_refused_total',
    'Circuits of others that were not admitted, or led nowhere.',
    ({ relay }) => relay.refused,
  ),
  counter(
    'relay_limited_total',
    'Refused circuits of others beyond a limit of the node.',
    ({ relay }) => relay.limited,
  ),
  counter('relay_lost_total', 'Circuits of others that a lost link or a limit has ended.', ({ relay }) => relay.lost),
  counter('relay_bytes_total', 'Payload of circuits of others, in both directions.', ({ relay }) => relay.bytes),
];

const MESH: readonly NodeMetric[] = [
  gauge('nodes', 'Other nodes that can be reached.', ({ mesh }) => mesh.nodes),
  gauge('records', 'Records of nodes and services that are kept.', ({ mesh }) => mesh.records),
  gauge('gossip_links', 'Links to nodes that gossip.', ({ mesh }) => mesh.degree),
  gauge('shortcuts', 'Direct links that were made for traffic.', ({ mesh }) => mesh.shortcuts),
  gauge('service_names', 'Names of services that can be dialled.', ({ services }) => services.names),
  gauge('service_instances', 'Instances of services that can be dialled.', ({ services }) => services.instances),
  gauge('service_instances_hidden', 'Instances of services that allow hides.', ({ services }) => services.hidden),
  by(
    'direction',
    { name: 'gossip_records_total', type: 'counter', help: 'Records that were received and sent.' },
    ({ stats: { mesh } }) => ({ in: mesh.recordsIn, out: mesh.recordsOut }),
  ),
  by(
    'direction',
    { name: 'gossip_bytes_total', type: 'counter', help: 'Bytes of the records that were received and sent.' },
    ({ stats: { mesh } }) => ({ in: mesh.bytesIn, out: mesh.bytesOut }),
  ),
  by(
    'result',
    { name: 'gossip_results_total', type: 'counter', help: 'What became of records that were received.' },
    ({ stats: { mesh } }) => ({
      accepted: mesh.accepted,
      duplicate: mesh.duplicates,
      outdated: mesh.outdated,
      invalid: mesh.invalid,
      parked: mesh.parked,
      rejected: mesh.rejected,
      twin: mesh.twins,
      echo: mesh.echoes,
      stranger: mesh.strangers,
    }),
  ),
  counter('gossip_verified_total', 'Signatures that were checked.', ({ mesh }) => mesh.verified),
  counter('gossip_published_total', 'Records that the node has published.', ({ mesh }) => mesh.originations),
  counter('gossip_expired_total', 'Records that were forgotten as their node is gone.', ({ mesh }) => mesh.expired),
  counter('gossip_syncs_total', 'Comparisons of all records that the node began.', ({ mesh }) => mesh.syncs),
  counter('gossip_unanswered_total', 'Requests of peers that ask for too much.', ({ mesh }) => mesh.unanswered),
  counter('gossip_punished_total', 'Links that were closed for what came over them.', ({ mesh }) => mesh.punished),
];

/** The metrics of a node. */
export const NODE_METRICS: readonly NodeMetric[] = [...ABOUT_THE_NODE, ...LINKS, ...CIRCUITS, ...RELAY, ...MESH];

/** A metric with one series a link. */
function ofPeers(metric: Pick<NodeMetric, 'name' | 'help'>, value: (link: LinkInfo) => number): NodeMetric {
  return {
    ...metric,
    type: 'gauge',
    labels: ['peer'],
    values: ({ links }) => links.map((link) => [value(link), { peer: link.peerId }] as const),
  };
}

/** The metrics of single links, for those who want them. */
export const PEER_METRICS: readonly NodeMetric[] = [
  ofPeers({ name: 'peer_rtt_seconds', help: 'The recent round trip of a link.' }, ({ rttMs }) => rttMs / 1000),
  ofPeers({ name: 'peer_streams', help: 'Open streams of a link.' }, ({ streams }) => streams),
  {
    name: 'peer_bytes_total',
    type: 'counter',
    help: 'Bytes of a link since it came up.',
    labels: ['peer', 'direction'],
    values: ({ links }) =>
      links.flatMap(({ peerId: peer, bytesIn, bytesOut }) => [
        [bytesIn, { peer, direction: 'in' }] as const,
        [bytesOut, { peer, direction: 'out' }] as const,
      ]),
  },
];

function roundTrips(links: readonly LinkInfo[]): Record<string, number> {
  // 0: not known yet.
  const times = links.flatMap(({ rttMs }) => (rttMs > 0 ? [rttMs / 1000] : [])).sort((a, b) => a - b);
  if (times.length === 0) return {};
  return { min: times[0], median: times[times.length >> 1], max: times[times.length - 1] };
}
