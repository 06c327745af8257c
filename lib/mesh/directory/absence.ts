// Explains why a service is not found, for the reader of the error. Reads a bounded part of what is known, since a program may
// dial many names that do not exist.

import { type NodeId, splitInstance } from '../../address.js';
import { type StarlaneError, starlaneError } from '../../errors.js';
import type { NodeRole } from '../../options/options.js';
import { NodeFlag, type NodeRecord, type ShardRecord } from '../../wire/records.js';
import type { ServiceInstance } from './service.js';

/** The most names and services of others that are read. */
const MAX_NAMES = 2_000;
const MAX_ENTRIES = 10_000;
/** The most names of each kind in the text. */
const MAX_NAMED = 3;

/** What this node knows. */
interface KnownServices {
  readonly table: {
    readonly nameCount: number;
    find(service: string, port?: number): readonly ServiceInstance[];
    lookUp(name: string, port?: number): readonly ServiceInstance[];
    names(): Iterable<string>;
  };
  /** Records of all known nodes, including unreachable ones and those in other envs. */
  readonly records: { nodes(): Iterable<NodeRecord>; shardsOf(nodeId: NodeId): readonly ShardRecord[] };
  readonly links: Iterable<{ readonly peerId: NodeId; readonly role: NodeRole }>;
  /** The number of other nodes that are reachable. */
  readonly reachable: number;
  isReachable(nodeId: NodeId): boolean;
  sharesEnv(envDigests: readonly string[]): boolean;
  /** Returns instances that a rule of this node hides, or whose decision is pending. */
  hidden(): Iterable<ServiceInstance>;
  /** Why the last link ended or did not come up. */
  readonly lastFailure: Error | undefined;
}

/** Returns ERR_STARLANE_NOT_FOUND with an explanation. Its cause is the last failure of a link, when no link is up. */
export function explainAbsence(service: string, port: number | undefined, known: KnownServices): StarlaneError {
  const reasons: string[] = [];
  const links = [...known.links];
  const failure = links.length === 0 ? known.lastFailure : undefined;
  if (links.length === 0) {
    reasons.push(
      failure === undefined ? 'no link is up' : `no link is up, and the last one failed: ${failure.message}`,
    );
  } else
    reasons.push(
      `${counted(known.reachable, 'other node')} and ${counted(known.table.nameCount, 'service')} are known`,
    );
  reasons.push(...offersOf(service, port, known));
  const clients = links.filter(({ role }) => role === 'client').map(({ peerId }) => peerId);
  if (clients.length > 0) {
    const [are, them] = clients.length === 1 ? ['is a client', 'it binds'] : ['are clients', 'they bind'];
    reasons.push(`${named(clients)} ${are}, and nobody finds what ${them}`);
  }
  const similar = similarNames(service, known.table.names());
  if (similar.length > 0) reasons.push(`similar: ${named(similar)}`);
  return starlaneError('ERR_STARLANE_NOT_FOUND', reasons.join('; '), failure);
}

/** Names instances that exist, and why they do not count. */
function offersOf(service: string, port: number | undefined, known: KnownServices): string[] {
  const reasons: string[] = [];
  const fitting = known.table.lookUp(service, port).length;
  if (fitting > 0) reasons.push(`the selector takes none of ${counted(fitting, 'known instance')}`);
  else {
    const ports = new Set(known.table.find(service).map((instance) => String(instance.port)));
    if (ports.size > 0) reasons.push(`it is bound at port ${named([...ports])}, not at ${port}`);
    else reasons.push(...instancesOf(service, known));
  }
  const hiding = new Set<NodeId>();
  let left = MAX_ENTRIES;
  for (const instance of known.hidden()) {
    if (left-- === 0) break;
    if (instance.service === service) hiding.add(instance.nodeId);
  }
  if (hiding.size > 0) reasons.push(`the option allow of this node hides that of ${named([...hiding])}`);
  return [...reasons, ...offersElsewhere(service, known)];
}

/** Says which instances the service has, of which one was meant by its name. */
function instancesOf(name: string, { table }: KnownServices): string[] {
  const split = splitInstance(name);
  const all = split === undefined ? [] : table.find(split.service);
  if (split === undefined || all.length === 0) return [];
  const names = new Set<string>();
  for (const { instance } of all.slice(0, MAX_NAMES)) if (instance !== undefined) names.add(instance);
  if (names.has(split.instance)) {
    const ports = all.filter(({ instance }) => instance === split.instance).map(({ port }) => String(port));
    return [`instance ${split.instance} of ${split.service} is bound at port ${named([...new Set(ports)])}`];
  }
  const there = names.size === 0 ? 'none with a name' : named([...names].sort());
  return [`${split.service} has no instance ${split.instance}, but ${there}`];
}

/** Names nodes that offer it in another env or out of reach. */
function offersElsewhere(service: string, { records, isReachable, sharesEnv }: KnownServices): string[] {
  const inOtherEnv: NodeId[] = [];
  const outOfReach: NodeId[] = [];
  const draining: NodeId[] = [];
  let left = MAX_ENTRIES;
  for (const { nodeId, envDigests, flags } of records.nodes()) {
    if (left-- <= 0) break;
    const drains = (flags & NodeFlag.DRAIN) !== 0;
    const reached = drains ? draining : undefined;
    const list = !sharesEnv(envDigests) ? inOtherEnv : isReachable(nodeId) ? reached : outOfReach;
    if (list === undefined || (flags & NodeFlag.LEAVING) !== 0) continue;
    for (const { services } of records.shardsOf(nodeId)) {
      left -= services.length;
      if (services.some((entry) => entry.service === service)) {
        list.push(nodeId);
        break;
      }
    }
  }
  const reasons: string[] = [];
  if (inOtherEnv.length > 0) reasons.push(`${named(inOtherEnv)} offers it in another env`);
  if (draining.length > 0) reasons.push(`${named(draining)} offers it, and drains`);
  if (outOfReach.length > 0) reasons.push(`${named(outOfReach)} offers it, and cannot be reached`);
  return reasons;
}

/** Returns names that may have been meant, the most similar first. */
export function similarNames(wanted: string, names: Iterable<string>): string[] {
  const found: Array<{ name: string; apart: number }> = [];
  const lower = wanted.toLowerCase();
  const most = wanted.length < 5 ? 1 : 2;
  let left = MAX_NAMES;
  for (const name of names) {
    if (left-- === 0) break;
    if (name === wanted) continue;
    const other = name.toLowerCase();
    const isPart = Math.min(lower.length, other.length) >= 3 && (lower.startsWith(other) || other.startsWith(lower));
    const apart = distance(lower, other, most);
    if (apart <= most || isPart) found.push({ name, apart });
  }
  return found.sort((a, b) => a.apart - b.apart).map(({ name }) => name);
}

/** Returns the edit distance of two names, or any number above `most` when it is larger. */
function distance(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 1; at <= one.length; at++) {
    const next = [at];
    for (let index = 1; index <= other.length; index++) {
      const changed = row[index - 1] + Number(one[at - 1] !== other[index - 1]);
      next.push(Math.min(changed, row[index] + 1, next[index - 1] + 1));
    }
    if (Math.min(...next) > most) return most + 1;
    row = next;
  }
  return row[other.length];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function named(what: readonly string[]): string {
  const first = what.slice(0, MAX_NAMED).join(', ');
  return what.length > MAX_NAMED ? `${first} and ${what.length - MAX_NAMED} more` : first;
}
