// Which hosts a command names: members by name, `tag:NAME` for all members with a tag, and `@nodeId`.

import { isNodeId, type NodeId } from '../../address.js';
import type { Context } from '../command.js';
import { ExitCode, Failure, usage } from '../failure.js';
import { type Asker, withAccess } from '../inspect/ask.js';
import type { Overlay } from '../run/overlay.js';
import { HostClient } from './host-client.js';

/** Hosts of one command at most. */
const MAX_HOSTS = 1_000;

export interface Host {
  /** For people: the name of the member, or `@nodeId`. */
  readonly name: string;
  readonly client: HostClient;
}

interface Named {
  readonly id: NodeId;
  readonly name: string;
  readonly tags: readonly string[];
}

/** Runs `work` with the hosts, over the node that runs here or one for this purpose. @throws Failure */
export async function withHosts<T>(
  context: Context,
  wanted: readonly string[] | undefined,
  work: (hosts: readonly Host[]) => Promise<T>,
): Promise<T> {
  if (wanted === undefined || wanted.length === 0)
    throw usage('--to: needs hosts: names of members, tag:NAME, or @nodeId, with commas between');
  return withAccess(context, async (asker, { overlay }) => {
    const hosts = await hostsOf(asker, overlay, wanted);
    return work(hosts);
  });
}

/** Runs `work` with one host. `where` names its place in errors. @throws Failure */
export async function withHost<T>(
  context: Context,
  where: string,
  word: string,
  work: (host: Host) => Promise<T>,
): Promise<T> {
  return withAccess(context, async (asker, { overlay }) => {
    const [host, other] = await hostsOf(asker, overlay, [word], where);
    if (other !== undefined) throw usage(`${where}: ${word} names several hosts`);
    return work(host);
  });
}

async function hostsOf(
  asker: Asker,
  overlay: Overlay,
  wanted: readonly string[],
  where = '--to',
): Promise<readonly Host[]> {
  const members: readonly Named[] = wanted.every((word) => word.startsWith('@'))
    ? []
    : (await asker.ask('/v1/members')).members;
  const found = new Map<NodeId, string>();
  for (const word of wanted)
    for (const { id, name } of namedBy(word, members, where)) if (!found.has(id)) found.set(id, name);
  if (found.size > MAX_HOSTS) throw usage(`--to: names ${found.size} hosts, more than ${MAX_HOSTS}`);
  return [...found].map(([id, name]) => ({ name, client: new HostClient(overlay, id) }));
}

/** @throws Failure when there is no such host, or several members have the name */
function namedBy(word: string, members: readonly Named[], where: string): ReadonlyArray<Pick<Named, 'id' | 'name'>> {
  if (word.startsWith('@')) {
    const id = word.slice(1);
    if (!isNodeId(id)) throw usage(`${where}: ${word} is no id of a node`);
    return [{ id, name: word }];
  }
  const isTag = word.startsWith('tag:');
  const found = members.filter(({ name, tags }) => (isTag ? tags.includes(word.slice('tag:'.length)) : name === word));
  if (found.length === 0)
    throw new Failure(`${where}: no member ${isTag ? 'has' : 'is called'} ${word}`, ExitCode.NOT_FOUND);
  if (found.length > 1 && !isTag)
    throw usage(`${where}: several members are called ${word}: ${found.map(({ id }) => `@${id}`).join(', ')}`);
  return [...found].sort((a, b) => (a.name < b.name ? -1 : 1));
}
