// What a node asks others: a query, the round trip to a node, and the path of a dial with the share of each hop. Used by `node.query` and the
// command.

import { isNodeId, type NodeId, parseServiceAddress } from '../../address.js';
import { QUERY_PORT } from '../../circuit/bindings.js';
import { codeOf, netError, optionError, starlaneError } from '../../errors.js';
import { nearest } from '../../mesh/directory/selector.js';
import { checkWaitOptions, waitWithin } from '../../util/deadline.js';
import { sharedTimers } from '../../util/timers.js';
import type { Node } from '../node.js';
import type { AnswerPath, Answers, HealthAnswer, HopAnswer } from './answers.js';
import { MAX_SAMPLES, PINGS_MS } from './hop.js';
import { ask, bodyOf, type DialNode, QUERY_MS, QueryConnection, type QueryOptions } from './request.js';
import { nameOf } from './sources.js';

/** How many ids of members an error lists. */
const MAX_LISTED = 5;

type WithoutQuery<Path extends string> = Path extends `${infer Bare}?${string}` ? Bare : Path;
/** The type of the answer to a path. */
export type AnswerTo<Path extends string> =
  WithoutQuery<Path> extends AnswerPath ? Answers[WithoutQuery<Path>] : unknown;

/**
 * Returns the node that a target names: `@nodeId` (a port is ignored), the name of a member, or a service, of which it is the nearest
 * instance.
 * @throws ENOTFOUND; ERR_STARLANE_ARGUMENT when several members have the name; ERR_STARLANE_ADDRESS
 */
export function nodeOf(node: Node, target: string): NodeId {
  if (target.startsWith('@')) {
    const [id] = target.slice(1).split(':');
    if (isNodeId(id)) return id;
    throw starlaneError('ERR_STARLANE_ADDRESS', `${target} is no node`);
  }
  const named = node.members().filter(({ name }) => name === target);
  if (named.length === 1) return named[0].id;
  if (named.length > 1) {
    const ids = named.slice(0, MAX_LISTED).map(({ id }) => `@${id}`);
    throw starlaneError('ERR_STARLANE_ARGUMENT', `several members are called ${target}: ${ids.join(', ')}`);
  }
  const links = node.links().filter(({ peerName }) => peerName === target);
  if (links.length === 1) return links[0].peerId;
  const where = parseServiceAddress(target);
  if (where.kind === 'node') return where.nodeId;
  if (where.kind === 'port') return node.id;
  const found = node.queries.sources.mesh.table.find(where.service, where.port);
  if (found.length === 0)
    throw netError('ENOTFOUND', 'query', { address: target }, new Error('no node or service of that name is known'));
  return (nearest(found) ?? found[0]).nodeId;
}

/**
 * Asks a node. Resolves with the answer as plain JSON; answers.ts has the types.
 * @throws as {@link Node.query}
 */
export async function queryNode<Path extends string>(
  node: Node,
  target: string,
  path: Path,
  options?: QueryOptions,
): Promise<AnswerTo<Path>> {
  const checked = checkOptions(options);
  if (typeof target !== 'string' || target === '')
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'target must be a text');
  if (typeof path !== 'string' || !/^\/[\x21-\x7e]*$/.test(path)) {
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'path must begin with a slash, and have no spaces');
  }
  return (await ask(nodeOf(node, target), path, sharedTimers, dialOf(node), checked)) as AnswerTo<Path>;
}

export interface PingOptions extends QueryOptions {
  /** 1 to 100. Default 4. */
  samples?: number | undefined;
}

/** Round trips between two nodes, over the path that circuits take. */
export interface PingAnswer {
  readonly nodeId: NodeId;
  readonly name?: string | undefined;
  /** The relays on the way, nearest first. */
  readonly via: readonly NodeId[];
  readonly samplesMs: readonly number[];
  readonly minMs: number;
  readonly meanMs: number;
  readonly maxMs: number;
  /** By how much the clock of the node is ahead of that here, as far as half of the smallest round trip tells. */
  readonly clockAheadMs: number;
  readonly health: HealthAnswer;
}

const DEFAULT_SAMPLES = 4;
const MAX_PINGS = 100;

/**
 * Measures the round trip to a node, or to the node of a service, `samples` times over one circuit.
 * @throws as {@link queryNode}
 */
export async function pingNode(node: Node, target: string, options: PingOptions = {}): Promise<PingAnswer> {
  const { samples = DEFAULT_SAMPLES, ...query } = options;
  if (!(Number.isInteger(samples) && samples >= 1 && samples <= MAX_PINGS)) {
    throw optionError('samples', `must be an integer from 1 to ${MAX_PINGS}`);
  }
  const { timeoutMs = QUERY_MS, signal } = checkOptions(query);
  const nodeId = nodeOf(node, target);
  const untilMs = sharedTimers.now() + timeoutMs;
  const connection = QueryConnection.to(nodeId, sharedTimers, dialOf(node), timeoutMs);
  try {
    const samplesMs: number[] = [];
    let health: HealthAnswer | undefined;
    let clockAheadMs = 0;
    // The first round trip makes the circuit.
    for (let turn = 0; turn <= samples; turn++) {
      const began = sharedTimers.now();
      const beganAt = node.queries.sources.now();
      const { status, body } = await connection.get('/v1/health', { timeoutMs: Math.max(1, untilMs - began), signal });
      const took = sharedTimers.now() - began;
      const answer = bodyOf(nodeId, '/v1/health', status, body) as HealthAnswer;
      if (turn === 0) continue;
      if (health === undefined || took < Math.min(...samplesMs)) {
        health = answer;
        clockAheadMs = Math.round(answer.timeMs - beganAt - took / 2);
      }
      samplesMs.push(took);
    }
    const name = nameOf(node.queries.sources, nodeId);
    return {
      nodeId,
      ...(name === undefined ? {} : { name }),
      via: connection.via,
      samplesMs,
      minMs: Math.min(...samplesMs),
      meanMs: samplesMs.reduce((sum, ms) => sum + ms, 0) / samples,
      maxMs: Math.max(...samplesMs),
      clockAheadMs,
      health: health as HealthAnswer,
    };
  } finally {
    connection.close();
  }
}

/** One node on a path, and the link by which the path goes on from it. */
export interface TraceHop {
  readonly nodeId: NodeId;
  readonly name?: string | undefined;
  /** The round trip over the link to the next node, the smallest of some pings. Null for the last node, and where it is not known. */
  readonly rttMs: number | null;
  /** What this link is of the whole, 0 to 1. */
  readonly share: number | null;
  /** Why there are no figures. */
  readonly error?: { readonly code?: string | undefined; readonly message: string } | undefined;
}

export interface TraceAnswer {
  readonly target: string;
  /** This node first, then the relays, then the destination. */
  readonly hops: readonly TraceHop[];
  /** The smallest round trip over the whole path, measured by itself. */
  readonly totalMs: number;
  /** 'ping': by queries to the destination. 'dial': it answers none, and this is what the dial took, with all that the nodes did for it. */
  readonly measuredBy: 'ping' | 'dial';
  /** What the links do not account for: time in the nodes, and hops without figures. Null when the query took another path. */
  readonly unaccountedMs: number | null;
}

/**
 * Dials a service, a port or a node as its user would, ends the circuit, and asks each node on its path how far the next one is. A node
 * that does not answer is shown without figures.
 * @param target what `node.dial` takes, or the name of a member
 * @throws what the dial fails with, and ERR_STARLANE_ADDRESS
 */
export async function trace(node: Node, target: string, options?: QueryOptions): Promise<TraceAnswer> {
  const { timeoutMs = QUERY_MS, signal } = checkOptions(options);
  const untilMs = sharedTimers.now() + timeoutMs;
  const left = (): number => Math.max(1, untilMs - sharedTimers.now());
  const dialled = await dialPath(node, target, left(), signal);
  const path = [node.id, ...dialled.via, dialled.nodeId];
  const isLocal = path.length === 2 && path[0] === path[1];
  const nodes = isLocal ? [node.id] : path;
  // Each hop has its own time, so that a silent one costs no other its figures.
  const [total, ...hops] = await Promise.all([
    pingNode(node, `@${dialled.nodeId}`, { timeoutMs: left(), signal, samples: MAX_SAMPLES }).catch(
      (error) => error as Error,
    ),
    ...nodes.slice(0, -1).map((from, index) => hopOf(node, from, nodes[index + 1], left(), signal)),
  ]);
  const isPinged = !(total instanceof Error);
  const totalMs = isPinged ? total.minMs : dialled.tookMs;
  const last: TraceHop = { nodeId: dialled.nodeId, ...namedOf(node, dialled.nodeId), rttMs: null, share: null };
  const shown = isLocal
    ? []
    : hops.map((hop) => ({ ...hop, share: hop.rttMs === null ? null : Math.min(1, hop.rttMs / totalMs) }));
  const isSamePath = !isPinged || String(total.via) === String(dialled.via);
  const accounted = hops.reduce((sum, { rttMs }) => sum + (rttMs ?? 0), 0);
  return {
    target,
    hops: [...shown, isPinged ? last : { ...last, error: errorOf(total) }],
    totalMs,
    measuredBy: isPinged ? 'ping' : 'dial',
    unaccountedMs: isSamePath ? Math.max(0, totalMs - accounted) : null,
  };
}

async function hopOf(
  node: Node,
  from: NodeId,
  to: NodeId,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<TraceHop> {
  const named = { nodeId: from, ...namedOf(node, from) };
  try {
    let answer: HopAnswer;
    if (from === node.id) answer = await node.queries.meter.describe(to, MAX_SAMPLES);
    else {
      const path = `/v1/hop?to=${to}&samples=${MAX_SAMPLES}` as const;
      // Pings that are not answered must not look like a node that does not answer.
      const limitMs = Math.min(timeoutMs, QUERY_MS + PINGS_MS);
      answer = (await ask(from, path, sharedTimers, dialOf(node), { timeoutMs: limitMs, signal })) as HopAnswer;
    }
    const rttMs = typeof answer.link?.rttMs === 'number' ? answer.link.rttMs : null;
    if (rttMs !== null) return { ...named, rttMs, share: null };
    const message = answer.link === null ? 'it has no link to the next node now' : 'its pings were not answered';
    return { ...named, rttMs, share: null, error: { message } };
  } catch (error) {
    return { ...named, rttMs: null, share: null, error: errorOf(error as Error) };
  }
}

/** Returns the path of a dial, and how long the dial took. */
async function dialPath(
  node: Node,
  target: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<{ nodeId: NodeId; via: readonly NodeId[]; tookMs: number }> {
  const began = sharedTimers.now();
  // A node without a port, or the name of a member that no service has: its port of queries stands for it.
  const isMember = (): boolean => node.members().some(({ name }) => name === target);
  const isNode = /^@[^:]*$/.test(target) || (!node.serviceMap().has(target) && isMember());
  const address = isNode ? `@${nodeOf(node, target)}:${QUERY_PORT}` : target;
  const socket = node.dial(address, { timeoutMs });
  try {
    return await waitWithin(sharedTimers, { signal }, (resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        const { id, via } = socket.peer as { id: NodeId; via: NodeId[] };
        resolve({ nodeId: id, via, tookMs: sharedTimers.now() - began });
      });
      return undefined;
    });
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}

function dialOf(node: Node): DialNode {
  return (address, timeoutMs) => node.dial(address, { timeoutMs });
}

function namedOf(node: Node, nodeId: NodeId): { name?: string } {
  const name = nameOf(node.queries.sources, nodeId);
  return name === undefined ? {} : { name };
}

function errorOf(error: Error): NonNullable<TraceHop['error']> {
  return { code: codeOf(error), message: error.message };
}

function checkOptions(options: unknown): QueryOptions {
  return checkWaitOptions('query', options as QueryOptions | undefined);
}
