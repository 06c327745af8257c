// What the page shows, as JSON: rows of tables, each with an id. The page imports these types, so that nothing here needs Node.
//
// A service says only which node offers it. How far away that node is changes all the time, and is in the row of the node.

/** The node that the page is about. */
export interface SelfRow {
  readonly id: string;
  /** Its name as a member; empty without credentials. */
  readonly name: string;
  readonly state: 'open' | 'draining' | 'closed';
  readonly uptimeMs: number;
}

export interface NodeRow {
  readonly id: string;
  readonly name: string;
  readonly isSelf: boolean;
  /** Empty where it is not known. */
  readonly role: string;
  /** Circuits of others may pass through it. */
  readonly isRelay: boolean;
  readonly isDraining: boolean;
  readonly isOverloaded: boolean;
  /** Links on the way to it; 0 for the node itself, -1 when there is no way. */
  readonly hops: number;
  /** In ms of round trip, rounded to two digits. */
  readonly costMs: number;
  /** The peer through which circuits to it go; empty for the node itself, and without a way. */
  readonly nextHop: string;
}

/** A link between two nodes of the mesh. */
export interface EdgeRow {
  /** `one~other`. */
  readonly id: string;
  readonly one: string;
  readonly other: string;
  /** -1 when it is not to be used. */
  readonly costMs: number;
}

export interface ServiceRow {
  readonly id: string;
  readonly service: string;
  /** 0 when it answers for any port. */
  readonly port: number;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly weight: number;
  /** JSON, shortened. */
  readonly meta: string;
}

/** A link of the node itself. Bytes are counts since it came up. */
export interface LinkRow {
  readonly id: string;
  readonly peerId: string;
  readonly peerName: string;
  readonly address: string;
  readonly direction: string;
  /** `join`, `mesh` or `direct`; empty where it is not known. */
  readonly purpose: string;
  /** What is wrong with it: `silent`, `stalled`, or nothing. */
  readonly trouble: string;
  /** 0 while it is unknown. */
  readonly rttMs: number;
  readonly streams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** In ms since 1970. */
  readonly since: number;
}

export interface StreamRow {
  readonly id: string;
  /** `socket`, `relayed` or `opening`. */
  readonly kind: string;
  /** `in`, `out` or `through`. */
  readonly direction: string;
  /** What was dialled; empty for circuits of others. */
  readonly service: string;
  readonly peerId: string;
  readonly peerName: string;
  /** Ids of the nodes between. */
  readonly via: readonly string[];
  /** -1 for circuits of others. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait for a reader or for the link. */
  readonly waiting: number;
  /** For how long nothing has moved, in whole seconds. */
  readonly idleS: number;
  /** When it was opened, in ms since 1970, in whole seconds. */
  readonly since: number;
}

export interface MemberRow {
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  /** Names of what it may do. */
  readonly rights: readonly string[];
  readonly since: number;
  readonly until: number;
  readonly isReachable: boolean;
}

/** The tables whose rows are compared from one snapshot to the next. */
export interface Tables {
  readonly nodes: readonly NodeRow[];
  readonly edges: readonly EdgeRow[];
  readonly services: readonly ServiceRow[];
  readonly links: readonly LinkRow[];
  readonly streams: readonly StreamRow[];
  readonly members: readonly MemberRow[];
}

export type TableName = keyof Tables;

export const TABLE_NAMES: readonly TableName[] = ['nodes', 'edges', 'services', 'links', 'streams', 'members'];

/** Numbers of the whole node. */
export interface Totals {
  /** How many there are: the tables have at most {@link MAX_ROWS}. */
  readonly counts: Readonly<Record<TableName, number>>;
  readonly links: number;
  /** Open streams, in all directions. */
  readonly streams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Circuits of others that pass through it, and bytes that they hold. */
  readonly relayed: number;
  readonly relayHeldBytes: number;
  readonly warnings: number;
}

export interface Snapshot extends Tables {
  /** In ms since 1970. */
  readonly at: number;
  readonly self: SelfRow;
  readonly totals: Totals;
}

/** The longest tables that a page gets. */
export const MAX_ROWS: Readonly<Record<TableName, number>> = {
  nodes: 4_000,
  edges: 16_000,
  services: 20_000,
  links: 1_024,
  streams: 1_000,
  members: 4_000,
};

export type EventLevel = 'good' | 'plain' | 'bad';

export interface EventRow {
  /** Grows by one with each event. */
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly level: EventLevel;
  readonly text: string;
}

/** Rows that are new or differ, and ids of those that are gone. */
export interface TableChange<Row> {
  readonly set: readonly Row[];
  readonly gone: readonly string[];
}

export type TableChanges = { readonly [Name in TableName]?: TableChange<Tables[Name][number]> };

/** The first message of the live stream, and one after a reader was too slow. */
export interface FullUpdate {
  readonly snapshot: Snapshot;
  readonly events: readonly EventRow[];
}

/** Every other message. */
export interface Update {
  readonly at: number;
  readonly self: SelfRow;
  readonly totals: Totals;
  readonly tables: TableChanges;
  readonly events: readonly EventRow[];
}
