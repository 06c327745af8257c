// What the page knows: the tables as the server keeps them, recent events, and the last two minutes of each link.

import type {
  EventRow,
  FullUpdate,
  LinkRow,
  SelfRow,
  TableChange,
  TableName,
  Tables,
  Totals,
  Update,
} from '../snapshot.js';
import { TABLE_NAMES } from '../snapshot.js';
import { History } from './history.js';

const MAX_EVENTS = 1_000;

export type Rows<Name extends TableName> = Map<string, Tables[Name][number]>;

interface Counted {
  readonly at: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export class Store {
  at = 0;
  self: SelfRow = { id: '', name: '', state: 'open', uptimeMs: 0 };
  totals: Totals | undefined;
  readonly nodes: Rows<'nodes'> = new Map();
  readonly edges: Rows<'edges'> = new Map();
  readonly services: Rows<'services'> = new Map();
  readonly links: Rows<'links'> = new Map();
  readonly streams: Rows<'streams'> = new Map();
  readonly members: Rows<'members'> = new Map();
  events: EventRow[] = [];
  /** Events that came since the page was opened, and those that were left out. */
  missedEvents = 0;
  readonly traffic = new History(['in', 'out']);
  /** By link: rtt in ms, bytes a second in and out. */
  readonly histories = new Map<string, History>();
  private readonly counted = new Map<string, Counted>();
  private total: Counted | undefined;
  private neighbourLists: Map<string, string[]> | undefined;
  private serviceCounts: Map<string, number> | undefined;

  applyAll({ snapshot, events }: FullUpdate): ReadonlySet<TableName> {
    for (const name of TABLE_NAMES) {
      const rows = this.rows(name);
      rows.clear();
      for (const row of snapshot[name]) rows.set(row.id, row);
    }
    this.events = [...events];
    this.missedEvents = 0;
    this.after(snapshot.at, snapshot.self, snapshot.totals);
    return new Set(TABLE_NAMES);
  }

  apply({ at, self, totals, tables, events }: Update): ReadonlySet<TableName> {
    for (const name of Object.keys(tables) as TableName[]) {
      const change = tables[name] as TableChange<{ readonly id: string }>;
      const rows = this.rows(name);
      for (const id of change.gone) rows.delete(id);
      for (const row of change.set) rows.set(row.id, row);
    }
    this.addEvents(events);
    this.after(at, self, totals);
    return new Set(Object.keys(tables) as TableName[]);
  }

  /** Returns the name of a node, or its id. */
  label(nodeId: string): string {
    return this.nodes.get(nodeId)?.name || nodeId;
  }

  /** Returns the ids of nodes to which a node has links. */
  neighbours(nodeId: string): readonly string[] {
    if (this.neighbourLists === undefined) {
      const lists = new Map<string, string[]>();
      const add = (from: string, to: string): void => {
        const list = lists.get(from);
        if (list === undefined) lists.set(from, [to]);
        else list.push(to);
      };
      for (const { one, other } of this.edges.values()) {
        add(one, other);
        add(other, one);
      }
      this.neighbourLists = lists;
    }
    return this.neighbourLists.get(nodeId) ?? [];
  }

  /** Returns how many instances a node offers. */
  offered(nodeId: string): number {
    if (this.serviceCounts === undefined) {
      this.serviceCounts = new Map();
      for (const row of this.services.values()) {
        this.serviceCounts.set(row.nodeId, (this.serviceCounts.get(row.nodeId) ?? 0) + 1);
      }
    }
    return this.serviceCounts.get(nodeId) ?? 0;
  }

  private rows(name: TableName): Map<string, { readonly id: string }> {
    return this[name] as Map<string, { readonly id: string }>;
  }

  private addEvents(events: readonly EventRow[]): void {
    const last = this.events.at(-1)?.id ?? 0;
    const fresh = events.filter(({ id }) => id > last);
    const first = fresh[0];
    if (first === undefined) return;
    if (last > 0) this.missedEvents += first.id - last - 1;
    this.events = [...this.events, ...fresh].slice(-MAX_EVENTS);
  }

  private after(at: number, self: SelfRow, totals: Totals): void {
    this.at = at;
    this.self = self;
    this.totals = totals;
    this.neighbourLists = undefined;
    this.serviceCounts = undefined;
    const { bytesIn, bytesOut } = totals;
    const now = { at, bytesIn, bytesOut };
    if (this.isDue(this.total, at)) {
      if (this.total !== undefined) this.traffic.push(at, ratesBetween(this.total, now));
      this.total = now;
    }
    for (const link of this.links.values()) this.note(link, at);
    for (const id of this.histories.keys()) {
      if (this.links.has(id)) continue;
      this.histories.delete(id);
      this.counted.delete(id);
    }
  }

  private note(link: LinkRow, at: number): void {
    const before = this.counted.get(link.id);
    if (!this.isDue(before, at)) return;
    const now = { at, bytesIn: link.bytesIn, bytesOut: link.bytesOut };
    this.counted.set(link.id, now);
    let history = this.histories.get(link.id);
    if (history === undefined) {
      history = new History(['rtt', 'in', 'out']);
      this.histories.set(link.id, history);
    }
    history.push(at, [
      link.rttMs > 0 ? link.rttMs : null,
      ...(before === undefined ? [0, 0] : ratesBetween(before, now)),
    ]);
  }

  /** Updates that events cause come faster; points of a line have about one second between them. */
  private isDue(before: Counted | undefined, at: number): boolean {
    return before === undefined || at - before.at >= 900;
  }
}

/** Counters of a sum go down when a link is lost. */
function ratesBetween(before: Counted, now: Counted): [number, number] {
  const seconds = Math.max(0.1, (now.at - before.at) / 1_000);
  return [Math.max(0, now.bytesIn - before.bytesIn) / seconds, Math.max(0, now.bytesOut - before.bytesOut) / seconds];
}
