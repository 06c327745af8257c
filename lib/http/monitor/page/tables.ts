// The tables of the page: their columns, filters and order.

import type { LinkRow, MemberRow, NodeRow, ServiceRow, StreamRow, TableName } from '../snapshot.js';
import { certificateState } from './certificates.js';
import { element, setText } from './dom.js';
import { bytes, count, duration, ms, plural, rate } from './format.js';
import { type Lines, Sparkline } from './sparkline.js';
import type { Store } from './store.js';
import { type Painter, type Row, Table } from './table.js';

const SPARK_WIDTH = 84;
const SPARK_HEIGHT = 22;
/** A stream with waiting bytes that has not moved for as long is shown as stuck. */
const STUCK_S = 5;
/** Neighbours that a cell names. */
const NAMED = 12;

export interface NamedTable {
  readonly name: Exclude<TableName, 'edges'>;
  readonly title: string;
  readonly table: Table<Row>;
  /** Tables that change what it shows. */
  readonly follows: readonly TableName[];
}

/** Returns the tables in the order of their tabs. */
export function makeTables(store: Store, onOpen: (nodeId: string) => void): NamedTable[] {
  const distance = (nodeId: string): number => {
    const hops = store.nodes.get(nodeId)?.hops ?? -1;
    return hops < 0 ? Number.POSITIVE_INFINITY : hops;
  };
  const hopsText = (nodeId: string): string => {
    const hops = distance(nodeId);
    if (hops === Number.POSITIVE_INFINITY) return 'no way';
    return hops === 0 ? 'here' : String(hops);
  };
  const cost = (nodeId: string): number => store.nodes.get(nodeId)?.costMs ?? 0;

  const services = new Table<ServiceRow>({
    name: 'services',
    title: 'Services',
    rows: () => store.services.values(),
    onOpen: ({ nodeId }) => onOpen(nodeId),
    empty: 'no services',
    sorted: [0, false],
    choices: [
      { title: 'All', accepts: () => true },
      { title: 'Here', accepts: ({ nodeId }) => nodeId === store.self.id },
      { title: 'One hop', follows: true, accepts: ({ nodeId }) => distance(nodeId) === 1 },
      { title: 'Through relays', follows: true, accepts: ({ nodeId }) => distance(nodeId) > 1 },
    ],
    columns: [
      { title: 'Service', importance: 1, text: ({ service, port }) => (port === 0 ? service : `${service}:${port}`) },
      { title: 'Node', importance: 1, width: 150, text: ({ nodeId, nodeName }) => nodeName || nodeId },
      {
        title: 'Hops',
        importance: 2,
        width: 64,
        isNumber: true,
        text: ({ nodeId }) => hopsText(nodeId),
        follows: true,
        order: ({ nodeId }) => distance(nodeId),
      },
      {
        title: 'Cost',
        importance: 1,
        width: 76,
        isNumber: true,
        text: ({ nodeId }) => ms(cost(nodeId)),
        follows: true,
        order: ({ nodeId }) => cost(nodeId),
      },
      {
        title: 'Weight',
        importance: 3,
        width: 70,
        isNumber: true,
        text: ({ weight }) => String(weight),
        order: ({ weight }) => weight,
      },
      { title: 'Meta', importance: 3, width: 170, isCode: true, text: ({ meta }) => meta },
    ],
  });

  const nodes = new Table<NodeRow>({
    name: 'nodes',
    title: 'Nodes',
    rows: () => store.nodes.values(),
    onOpen: ({ id }) => onOpen(id),
    empty: 'no nodes',
    sorted: [2, false],
    choices: [
      { title: 'All', accepts: () => true },
      { title: 'Relays', accepts: ({ isRelay }) => isRelay },
      { title: 'Draining', accepts: ({ isDraining }) => isDraining },
      { title: 'No way', accepts: ({ hops }) => hops < 0 },
    ],
    columns: [
      { title: 'Node', importance: 1, text: ({ id, name }) => name || id },
      {
        title: 'Kind',
        importance: 1,
        width: 120,
        text: kindOf,
        tone: ({ isDraining, isOverloaded }) => (isDraining || isOverloaded ? 'warn' : ''),
      },
      {
        title: 'Hops',
        importance: 1,
        width: 64,
        isNumber: true,
        text: ({ id }) => hopsText(id),
        order: ({ id }) => distance(id),
      },
      {
        title: 'Cost',
        importance: 2,
        width: 76,
        isNumber: true,
        text: ({ costMs }) => ms(costMs),
        order: ({ costMs }) => costMs,
      },
      {
        title: 'Via',
        importance: 3,
        width: 130,
        text: ({ nextHop, id }) => (nextHop === '' || nextHop === id ? '' : store.label(nextHop)),
      },
      {
        title: 'Offers',
        importance: 3,
        width: 70,
        isNumber: true,
        text: ({ id }) => count(store.offered(id)),
        follows: true,
        order: ({ id }) => store.offered(id),
      },
      {
        title: 'Linked to',
        importance: 2,
        width: 170,
        text: ({ id }) => listed(store.neighbours(id).map((other) => store.label(other))),
        follows: true,
        order: ({ id }) => store.neighbours(id).length,
      },
      { title: 'Id', importance: 3, width: 112, isCode: true, text: ({ id }) => id },
    ],
  });

  const links = new Table<LinkRow>({
    name: 'links',
    title: 'Links',
    rows: () => store.links.values(),
    onOpen: ({ peerId }) => onOpen(peerId),
    empty: 'no links',
    sorted: [0, false],
    choices: [
      { title: 'All', accepts: () => true },
      { title: 'Inbound', accepts: ({ direction }) => direction === 'inbound' },
      { title: 'Outbound', accepts: ({ direction }) => direction === 'outbound' },
      { title: 'In trouble', accepts: ({ trouble }) => trouble !== '' },
    ],
    columns: [
      { title: 'Peer', importance: 1, text: ({ peerId, peerName }) => peerName || store.label(peerId) },
      {
        title: 'Round trip',
        importance: 1,
        width: 160,
        isNumber: true,
        text: ({ rttMs }) => ms(rttMs),
        order: ({ rttMs }) => rttMs,
        painter: (cell) => new LineCell(cell, store, [['rtt', '--rtt']], ({ rttMs, trouble }) => trouble || ms(rttMs)),
      },
      {
        title: 'In / out',
        importance: 1,
        width: 240,
        isNumber: true,
        text: () => '',
        order: ({ id }) => throughput(store, id),
        painter: (cell) =>
          new LineCell(
            cell,
            store,
            [
              ['in', '--in'],
              ['out', '--out'],
            ],
            ({ id }) => {
              const history = store.histories.get(id);
              return `${rate(history?.last('in') ?? 0)} / ${rate(history?.last('out') ?? 0)}`;
            },
          ),
      },
      {
        title: 'Streams',
        importance: 2,
        width: 76,
        isNumber: true,
        text: ({ streams }) => count(streams),
        order: ({ streams }) => streams,
      },
      {
        title: 'Bytes',
        importance: 3,
        width: 90,
        isNumber: true,
        text: ({ bytesIn, bytesOut }) => bytes(bytesIn + bytesOut),
        order: ({ bytesIn, bytesOut }) => bytesIn + bytesOut,
      },
      {
        title: 'Up for',
        importance: 3,
        width: 90,
        isNumber: true,
        text: ({ since }) => duration(store.at - since),
        order: ({ since }) => -since,
      },
      {
        title: 'Address',
        importance: 3,
        width: 190,
        isCode: true,
        text: ({ direction, address }) => `${direction === 'inbound' ? '←' : '→'} ${address}`,
      },
    ],
  });

  const isStuck = ({ waiting, idleS }: StreamRow): boolean => waiting > 0 && idleS >= STUCK_S;
  const streams = new Table<StreamRow>({
    name: 'streams',
    title: 'Streams',
    rows: () => store.streams.values(),
    onOpen: ({ peerId }) => onOpen(peerId),
    empty: 'no streams',
    sorted: [4, true],
    choices: [
      { title: 'All', accepts: () => true },
      { title: 'Ending here', accepts: ({ kind }) => kind === 'socket' },
      { title: 'Relayed', accepts: ({ kind }) => kind !== 'socket' },
      { title: 'Stuck', accepts: isStuck },
    ],
    columns: [
      {
        title: 'Stream',
        importance: 1,
        text: ({ service, kind }) => service || (kind === 'socket' ? 'bare port' : kind),
      },
      { title: 'Direction', importance: 2, width: 84, text: ({ direction }) => direction },
      { title: 'Peer', importance: 1, width: 140, text: ({ peerId, peerName }) => peerName || store.label(peerId) },
      { title: 'Through', importance: 3, width: 140, text: ({ via }) => listed(via.map((id) => store.label(id))) },
      {
        title: 'Waiting',
        importance: 1,
        width: 84,
        isNumber: true,
        text: ({ waiting }) => (waiting === 0 ? '–' : bytes(waiting)),
        order: ({ waiting }) => waiting,
        tone: (row) => (isStuck(row) ? 'bad' : ''),
      },
      {
        title: 'Idle',
        importance: 2,
        width: 76,
        isNumber: true,
        text: ({ idleS }) => (idleS === 0 ? '–' : duration(idleS * 1_000)),
        order: ({ idleS }) => idleS,
      },
      {
        title: 'In / out',
        importance: 2,
        width: 150,
        isNumber: true,
        text: ({ bytesIn, bytesOut }) => (bytesIn < 0 ? '–' : `${bytes(bytesIn)} / ${bytes(bytesOut)}`),
        order: ({ bytesIn, bytesOut }) => bytesIn + bytesOut,
      },
      {
        title: 'Open for',
        importance: 3,
        width: 84,
        isNumber: true,
        text: ({ since }) => duration(store.at - since),
        order: ({ since }) => -since,
      },
    ],
  });

  const stateOf = (row: MemberRow) => certificateState(row, store.at);
  const members = new Table<MemberRow>({
    name: 'members',
    title: 'Members',
    rows: () => store.members.values(),
    onOpen: ({ id }) => onOpen(id),
    empty: 'this network has no certificates of members',
    sorted: [1, false],
    choices: [
      { title: 'All', accepts: () => true },
      { title: 'Expiring', accepts: (row) => stateOf(row) !== 'valid' },
      { title: 'Away', accepts: ({ isReachable }) => !isReachable },
    ],
    columns: [
      { title: 'Member', importance: 1, text: ({ id, name }) => name || id },
      {
        title: 'Certificate',
        importance: 1,
        width: 170,
        text: (row) => (stateOf(row) === 'expired' ? 'expired' : `${duration(row.until - store.at)} left`),
        order: ({ until }) => until,
        tone: (row) => ({ valid: '', expiring: 'warn', expired: 'bad' })[stateOf(row)],
      },
      { title: 'Reachable', importance: 2, width: 90, text: ({ isReachable }) => (isReachable ? 'yes' : 'no') },
      { title: 'Rights', importance: 2, width: 180, text: ({ rights }) => rights.join(', ') },
      { title: 'Tags', importance: 3, width: 150, text: ({ tags }) => tags.join(', ') },
      { title: 'Id', importance: 3, width: 112, isCode: true, text: ({ id }) => id },
    ],
  });

  const named = (
    name: NamedTable['name'],
    title: string,
    table: unknown,
    follows: readonly TableName[],
  ): NamedTable => ({
    name,
    title,
    table: table as Table<Row>,
    follows,
  });
  return [
    named('services', 'Services', services, ['services', 'nodes']),
    named('nodes', 'Nodes', nodes, ['nodes', 'edges', 'services']),
    named('links', 'Links', links, ['links']),
    named('streams', 'Streams', streams, ['streams']),
    named('members', 'Members', members, ['members']),
  ];
}

export function kindOf({ isSelf, isRelay, isDraining, isOverloaded, role }: NodeRow): string {
  const parts = [isSelf ? 'this node' : '', isRelay ? 'relay' : role === 'client' ? 'client' : ''];
  if (isDraining) parts.push('draining');
  if (isOverloaded) parts.push('overloaded');
  return parts.filter((part) => part !== '').join(', ') || 'node';
}

function listed(names: readonly string[]): string {
  if (names.length <= NAMED) return names.join(', ');
  return `${names.slice(0, NAMED).join(', ')} and ${plural(names.length - NAMED, 'other')}`;
}

function throughput(store: Store, id: string): number {
  const history = store.histories.get(id);
  return (history?.last('in') ?? 0) + (history?.last('out') ?? 0);
}

/** A line, and the newest value as text. */
class LineCell implements Painter<LinkRow> {
  private readonly value = element('span');
  private readonly line: Sparkline;
  private drawnAt = 0;

  constructor(
    cell: HTMLElement,
    private readonly store: Store,
    lines: Lines,
    private readonly text: (row: LinkRow) => string,
  ) {
    const box = element('span', { class: 'spark' });
    cell.append(box, this.value);
    this.line = new Sparkline(box, lines, SPARK_WIDTH, SPARK_HEIGHT);
  }

  paint(row: LinkRow): void {
    setText(this.value, this.text(row));
    this.value.className = row.trouble === '' ? '' : 'bad';
    const history = this.store.histories.get(row.id);
    const at = history?.data[0].at(-1) ?? 0;
    if (history === this.line.shown && at === this.drawnAt) return;
    this.drawnAt = at;
    this.line.draw(history);
  }

  destroy(): void {
    this.line.destroy();
  }
}
