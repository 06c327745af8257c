// A node as the source of the monitor.

import type { Link } from '../../link/link.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import type { EdgeRow, LinkRow, MemberRow, NodeRow, ServiceRow, Snapshot } from './snapshot.js';
import type { MonitorSource, SourceWatcher } from './source.js';

/** Characters of the metadata of a service, which may be long. */
const META_CHARACTERS = 200;

export function nodeSource(node: Node): MonitorSource {
  return { id: node.id, read: () => readNode(node), watch: (watcher) => watchNode(node, watcher) };
}

function readNode(node: Node): Snapshot {
  const stats = node.stats();
  const names = new Map<string, string>();
  const members = node.members();
  for (const { id, name } of members) names.set(id, name);
  const links = node.links();
  for (const { peerId, peerName } of links)
    if (peerName !== undefined && !names.has(peerId)) names.set(peerId, peerName);
  const nodes: NodeRow[] = [nodeRow(node.id, names, 0, 0, '')];
  const edges: EdgeRow[] = [];
  for (const { nodeId, nextHop, hops, cost } of node.routes()) nodes.push(nodeRow(nodeId, names, hops, cost, nextHop));
  for (const { peerId, rttMs } of links)
    edges.push({ id: `${node.id}~${peerId}`, one: node.id, other: peerId, costMs: rounded(rttMs) });
  const services = node.services().map((info) => serviceRow(info, names));
  const { bytesIn, bytesOut, up } = stats.links;
  return {
    at: dateNow(),
    self: { id: node.id, name: names.get(node.id) ?? '', state: stats.state, uptimeMs: Math.round(stats.uptimeMs) },
    totals: {
      counts: {
        nodes: nodes.length,
        edges: edges.length,
        services: services.length,
        links: links.length,
        streams: 0,
        members: members.length,
      },
      links: up,
      streams: stats.streams.links + stats.streams.loopback,
      bytesIn,
      bytesOut,
      relayed: stats.relay.circuits,
      relayHeldBytes: stats.relay.heldBytes,
      warnings: stats.warnings,
    },
    nodes,
    edges,
    services,
    links: links.map((link): LinkRow => {
      const { peerId, peerName = '', address, direction, rttMs, streams, since } = link;
      return {
        id: `${peerId}:${since}`,
        peerId,
        peerName,
        address,
        direction,
        purpose: '',
        trouble: '',
        rttMs: rounded(rttMs),
        streams,
        bytesIn: link.bytesIn,
        bytesOut: link.bytesOut,
        since,
      };
    }),
    streams: [],
    members: members.map(
      ({ id, name, tags, rights, since, until, reachable }): MemberRow => ({
        id,
        name,
        tags,
        rights: [
          ...(rights.relay ? ['relay'] : []),
          ...rights.offer.map((pattern) => `offer ${pattern}`),
          ...(rights.issue ? ['issue'] : []),
        ],
        since: since.getTime(),
        until: until.getTime(),
        isReachable: reachable,
      }),
    ),
  };
}

function nodeRow(id: string, names: ReadonlyMap<string, string>, hops: number, cost: number, nextHop: string): NodeRow {
  return {
    id,
    name: names.get(id) ?? '',
    isSelf: hops === 0,
    role: '',
    isRelay: false,
    isDraining: false,
    isOverloaded: false,
    hops,
    costMs: rounded(cost),
    nextHop,
  };
}

function serviceRow(
  { service, port, nodeId, weight, meta }: ServiceInfo,
  names: ReadonlyMap<string, string>,
): ServiceRow {
  const text = meta === undefined ? '' : (JSON.stringify(meta) ?? '');
  return {
    id: `${nodeId}:${port}:${service}`,
    service,
    port,
    nodeId,
    nodeName: names.get(nodeId) ?? '',
    weight,
    meta: text.slice(0, META_CHARACTERS),
  };
}

/** Two digits: else every row would change with every measurement. */
function rounded(ms: number): number {
  return ms > 0 ? Number(ms.toPrecision(2)) : 0;
}

function watchNode(node: Node, watcher: SourceWatcher): () => void {
  const label = (link: Link): string => link.peerName ?? link.peerId;
  const onLink = (link: Link): void => watcher.onEvent('link', 'good', `${label(link)} at ${link.address}`);
  const onUnlink = (link: Link, reason?: Error): void =>
    watcher.onEvent(
      'link lost',
      reason === undefined ? 'plain' : 'bad',
      `${label(link)}${reason === undefined ? '' : `: ${reason.message}`}`,
    );
  const text = ({ service, port, nodeId }: ServiceInfo): string =>
    `${service}${port === 0 ? '' : `:${port}`} at ${nodeId}`;
  const onService = (info: ServiceInfo): void => watcher.onEvent('service', 'good', text(info));
  const onUnservice = (info: ServiceInfo): void => watcher.onEvent('service gone', 'plain', text(info));
  const onClose = (): void => watcher.onEnd();
  node
    .on('link', onLink)
    .on('unlink', onUnlink)
    .on('service', onService)
    .on('unservice', onUnservice)
    .on('close', onClose);
  return () => {
    node
      .off('link', onLink)
      .off('unlink', onUnlink)
      .off('service', onService)
      .off('unservice', onUnservice)
      .off('close', onClose);
  };
}
