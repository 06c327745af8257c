// What a node answers to queries, as plain JSON: one interface for each resource below /v1. Times end in `Ms`; a moment is in ms since 1970
// by the clock of the node that answers. Later versions add fields, and change none.

import type { NodeId } from '../../address.js';
import type { LinkInfo } from '../../link/link.js';
import type { LinkPurpose } from '../../link/link-purpose.js';
import type { NodeRole } from '../../options/options.js';
import type { NodeStats } from '../stats.js';

/** The resources, and the type of the answer of each. */
export interface Answers {
  '/v1/health': HealthAnswer;
  /** Status 503 while the node is not ready. */
  '/v1/ready': ReadyAnswer;
  /** `?to=<node id>`, `&samples=<1 to 5>`. */
  '/v1/hop': HopAnswer;
  '/v1/stats': NodeStats;
  '/v1/links': LinksAnswer;
  /** Filtered by what lists/filters.ts reads: `?service=web*`, `&meta.region=eu` and more; `&limit=`, `&after=`. */
  '/v1/services': ServicesAnswer;
  '/v1/routes': RoutesAnswer;
  /** Filtered by what lists/filters.ts reads: `?tag=edge`, `&service=web*` and more; `&limit=`, `&after=`. */
  '/v1/nodes': NodesAnswer;
  '/v1/topology': TopologyAnswer;
  '/v1/members': MembersAnswer;
  /** `?stalled=true`, `&forMs=<ms>`, `?limit=`, `?service=`, `?peer=<node id>`. */
  '/v1/streams': StreamsAnswer;
  '/v1/relay': RelayAnswer;
}

export type AnswerPath = keyof Answers;

/** The body of every answer with a status from 400 on, but 503 of /v1/ready. */
export interface ErrorAnswer {
  readonly error: {
    /** EACCES (403), ENOENT (404), ERR_STARLANE_ARGUMENT (400, 405, 413), EAGAIN (429, 503), ERR_STARLANE_QUERY (500). */
    readonly code: string;
    readonly message: string;
  };
}

export type NodeState = NodeStats['state'];

export interface HealthAnswer {
  readonly id: NodeId;
  /** The name of the node as a member. */
  readonly name?: string | undefined;
  readonly alive: true;
  readonly state: NodeState;
  readonly role: NodeRole;
  /** Of the package. */
  readonly version: string;
  /** Of the protocol between nodes. */
  readonly protocol: number;
  /** Of this interface. */
  readonly api: number;
  readonly uptimeMs: number;
  /** The time of day, to compare clocks. */
  readonly timeMs: number;
}

/** How one neighbour was asked whether it reaches this node. */
export interface ReadyCheck {
  readonly peerId: NodeId;
  readonly ok: boolean;
  /** 'neighbour': it has measured its own link, and knows a route. 'ping': it does not answer queries, and has answered a ping. */
  readonly how: 'neighbour' | 'ping';
  /** As it has measured it. */
  readonly rttMs?: number | undefined;
  readonly error?: string | undefined;
}

export interface ReadyAnswer {
  readonly id: NodeId;
  readonly ready: boolean;
  /** Why it is not ready. */
  readonly reason?: string | undefined;
  readonly state: NodeState;
  /** Addresses that the node keeps joined, seeds included. Without any, it needs no link. */
  readonly joins: number;
  readonly links: number;
  readonly checks: readonly ReadyCheck[];
}

/** One hop of a path: how far it is from the node that answers to `to`. */
export interface HopAnswer {
  readonly id: NodeId;
  readonly name?: string | undefined;
  readonly to: NodeId;
  /** Null when there is no link to that node. */
  readonly link: HopLink | null;
  /** Null when there is no route. */
  readonly route: { readonly nextHop: NodeId; readonly hops: number; readonly costMs: number } | null;
}

export interface HopLink {
  /** Pings over the link, measured for this answer; fewer than were asked for when some were not answered in time. */
  readonly samplesMs: readonly number[];
  /** The smallest of them; null when there is none. */
  readonly rttMs: number | null;
  /** How long ago the last byte of the peer came. */
  readonly heardMs: number;
  readonly suspect: boolean;
  readonly stalled: boolean;
}

export interface LinkAnswer extends LinkInfo {
  readonly purpose: LinkPurpose;
  readonly role: NodeRole;
  /** Smoothed, by the pings of this node; null until one was answered. */
  readonly smoothedRttMs: number | null;
  /** How much later an answer may come where packets are lost. */
  readonly lateMs: number;
  /** Bytes of frames that the transport has not taken. */
  readonly queuedBytes: number;
  /** Bytes that have come and that readers have not taken. */
  readonly unreadBytes: number;
  /** How long ago the last byte of the peer came. */
  readonly heardMs: number;
  /** The peer has been silent for a while. */
  readonly suspect: boolean;
  /** The process of the peer stands still while its kernel answers. */
  readonly stalled: boolean;
  /** False: it shares no env with the one who asks, who does not see its address. */
  readonly sharesEnv: boolean;
}

export interface LinksAnswer {
  readonly id: NodeId;
  readonly links: readonly LinkAnswer[];
}

export interface ServiceAnswer {
  readonly service: string;
  readonly port: number;
  readonly nodeId: NodeId;
  readonly nodeName?: string | undefined;
  readonly weight: number;
  readonly meta?: unknown;
  /** The name of the instance, if it has one. */
  readonly instance?: string | undefined;
  readonly local: boolean;
  readonly costMs: number;
  readonly hops: number;
}

/** A list that may be cut at `?limit=`: `total` counts what there is, of what the query asks for. */
interface Limited {
  readonly total: number;
  readonly truncated: boolean;
}

/** A list of which `?after=` has the next page. */
interface Paged extends Limited {
  /** What `after` of the query for the next page is; missing on the last one. */
  readonly next?: string | undefined;
}

export interface ServicesAnswer extends Paged {
  readonly id: NodeId;
  readonly services: readonly ServiceAnswer[];
}

export interface RouteAnswer {
  readonly nodeId: NodeId;
  readonly name?: string | undefined;
  readonly nextHop: NodeId;
  readonly hops: number;
  readonly costMs: number;
}

export interface RoutesAnswer extends Limited {
  readonly id: NodeId;
  readonly routes: readonly RouteAnswer[];
}

export interface NodeAnswer {
  readonly id: NodeId;
  /** In its certificate as a member, or of your own PKI on a link. */
  readonly name?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  /** The node that answers. */
  readonly self: boolean;
  /** Known of the node that answers and of the peers of its links, else missing: records do not have it. */
  readonly role?: NodeRole | undefined;
  /** Where others reach it, as it says. Empty where it shares no env with the one who asks, and for those who may not see everything. */
  readonly addresses: readonly string[];
  readonly relay: boolean;
  readonly draining: boolean;
  readonly overloaded: boolean;
  /** It has published that it ends. */
  readonly leaving: boolean;
  /** False: it shares no env with the one who asks. */
  readonly sharesEnv: boolean;
  readonly reachable: boolean;
  /** Null without a route. */
  readonly hops: number | null;
  readonly costMs: number | null;
  /** As it announces them. `costMs` null: not to be used. Empty for those who may not see everything. */
  readonly links: ReadonlyArray<{ readonly peerId: NodeId; readonly costMs: number | null }>;
}

export interface NodesAnswer extends Paged {
  readonly id: NodeId;
  readonly nodes: readonly NodeAnswer[];
}

export interface TopologyNode {
  readonly id: NodeId;
  readonly name?: string | undefined;
  readonly self: boolean;
  readonly role?: NodeRole | undefined;
  readonly relay: boolean;
  readonly draining: boolean;
  readonly overloaded: boolean;
  readonly reachable: boolean;
  readonly hops: number | null;
  /** Instances that it offers in envs of the one who asks. */
  readonly services: number;
  /** False for a peer that announces nothing, such as a client, of which only its own link is known. */
  readonly announced: boolean;
}

export interface TopologyEdge {
  /** `a` is the lower id. */
  readonly a: NodeId;
  readonly b: NodeId;
  /** The higher one of what the two ends announce; null when it is not to be used, or only one end announces it. */
  readonly costMs: number | null;
  /** Whether both ends announce it, so that circuits of others may take it. */
  readonly mutual: boolean;
  /** A link of the node that answers. */
  readonly own: boolean;
}

export interface TopologyAnswer extends Limited {
  readonly id: NodeId;
  readonly nodes: readonly TopologyNode[];
  readonly edges: readonly TopologyEdge[];
}

export interface MemberAnswer {
  readonly id: NodeId;
  readonly name: string;
  readonly tags: readonly string[];
  readonly rights: { readonly relay: boolean; readonly offer: readonly string[]; readonly issue: boolean };
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly reachable: boolean;
}

export interface MembersAnswer extends Limited {
  readonly id: NodeId;
  /** Empty for a node without credentials. */
  readonly members: readonly MemberAnswer[];
}

export interface StreamAnswer {
  /** Unique at the node for as long as the stream is open. */
  readonly key: string;
  /** 'socket': it ends at this node. 'relayed': a circuit of others. 'opening': a circuit of others that is not open yet. */
  readonly kind: 'socket' | 'relayed' | 'opening';
  /** Empty for a bare port, and for circuits of others, which relays do not read. */
  readonly service: string;
  /** The virtual port that was dialled; null for circuits of others. */
  readonly port: number | null;
  /** The node at the other end; for circuits of others the one that has dialled. */
  readonly peerId: NodeId;
  readonly peerName?: string | undefined;
  /** 'out': dialled here. */
  readonly direction: 'in' | 'out' | 'through';
  /** The nodes in between, nearest first. */
  readonly via: readonly NodeId[];
  readonly relayed: boolean;
  /** The peer of the link that carries it; for circuits of others, that of the link it came by. Null: this node dials itself. */
  readonly link: NodeId | null;
  /** For circuits of others: the peer of the next link. */
  readonly nextLink?: NodeId | undefined;
  readonly ageMs: number;
  /** Bytes of the user, counted at this end; null for circuits of others. */
  readonly bytesIn: number | null;
  readonly bytesOut: number | null;
  /** Bytes that have come and that the reader has not taken; for circuits of others, those that wait to go back to the dialler. */
  readonly waitingIn: number;
  /** Bytes written that have not left; for circuits of others, those that wait to go on to the destination. */
  readonly waitingOut: number;
  /**
   * For how long nothing has moved in either direction, as far as queries have watched: at least that long. 0 when this query is the
   * first to look at it.
   */
  readonly idleMs: number;
}

export interface StreamsAnswer extends Limited {
  readonly id: NodeId;
  /** Those with the most bytes that wait first. */
  readonly streams: readonly StreamAnswer[];
}

export interface RelayAnswer {
  readonly id: NodeId;
  readonly enabled: boolean;
  readonly draining: boolean;
  readonly circuits: number;
  readonly pending: number;
  readonly opened: number;
  readonly refused: number;
  readonly lost: number;
  readonly bytes: number;
  readonly heldBytes: number;
  readonly poolBytes: number;
  /** What each neighbour has through this node: circuits that it has opened, and bytes held for circuits over its link. */
  readonly neighbours: ReadonlyArray<{
    readonly peerId: NodeId;
    readonly circuits: number;
    readonly sources: number;
    readonly heldBytes: number;
  }>;
}

/**
 * The server-sent events of /v1/events: the name is `event`, `data` is JSON of this type. `lost` counts events that were dropped as the
 * reader was slow.
 */
export interface EventAnswers {
  hello: HealthAnswer;
  link: LinkInfo;
  unlink: LinkInfo & { readonly reason?: { readonly code?: string | undefined; readonly message: string } | undefined };
  service: ServiceAnswer;
  unservice: ServiceAnswer;
  warning: { readonly code: string; readonly message: string };
  drain: { readonly id: NodeId };
  lost: { readonly events: number };
}

export type EventName = keyof EventAnswers;
