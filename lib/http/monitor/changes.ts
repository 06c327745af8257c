// What differs between two snapshots, row by row. Pure.

import { type Snapshot, TABLE_NAMES, type TableChange, type TableChanges, type TableName } from './snapshot.js';

interface Row {
  readonly id: string;
}

/** Remembers the last snapshot, and returns what the next one changes. */
export class SnapshotComparison {
  private known = new Map<TableName, Map<string, Row>>();

  /** Returns the changes since the call before; at first everything is new. */
  advance(snapshot: Snapshot): TableChanges {
    const changes: { [name: string]: TableChange<Row> } = {};
    const next = new Map<TableName, Map<string, Row>>();
    for (const name of TABLE_NAMES) {
      const rows = new Map<string, Row>();
      const before = this.known.get(name);
      const set: Row[] = [];
      for (const row of snapshot[name] as readonly Row[]) {
        rows.set(row.id, row);
        const old = before?.get(row.id);
        if (old === undefined || !isSame(old, row)) set.push(row);
      }
      const gone: string[] = [];
      for (const id of before?.keys() ?? []) if (!rows.has(id)) gone.push(id);
      if (set.length > 0 || gone.length > 0) changes[name] = { set, gone };
      next.set(name, rows);
    }
    this.known = next;
    return changes as TableChanges;
  }
}

/** Rows hold texts, numbers, booleans and lists of texts. */
function isSame(one: object, other: object): boolean {
  for (const [key, value] of Object.entries(one)) {
    const now = (other as Record<string, unknown>)[key];
    if (value === now) continue;
    if (!Array.isArray(value) || !Array.isArray(now) || value.length !== now.length) return false;
    if (value.some((item, index) => item !== now[index])) return false;
  }
  return true;
}
