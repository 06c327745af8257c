// A network that is made at once: links such as nodes would have come to, and a database that all of them share. Starting
// one node after the other floods every record as often as the node learns of another neighbour; ten thousand of them
// would take an hour.
//
//   links, all messages dropped  ->  each learns of its neighbours and writes its record  ->  all learn all records
//   ->  messages pass again, databases are compared and found equal

import {
  ACCEPT_ANY_BELOW,
  CLIENT_TARGET,
  MAX_CLIENTS,
  RANDOM_PICKS,
  TARGET,
} from '../../lib/mesh/neighbours/degree.js';
import type { MeshRecord } from '../../lib/wire/records.js';
import type { SimNode } from './sim-node.js';
import type { World } from './world.js';

/** Nodes that are looked at to find a near one. */
const LOOKED_AT = 8;
/** Until an idle node begins to send, and its links are measured. */
const LISTEN_MS = 4_000;
/** Until its links are in its record. */
const WRITE_MS = 4_000;
const GREET_MS = 2_000;

export async function startWarm(world: World, seeds: readonly string[]): Promise<void> {
  const { loop, nodes } = world;
  for (const node of nodes) node.start();
  await loop.run(100);
  world.isMuted = true;
  makeLinks(world);
  await loop.run(LISTEN_MS);
  for (const node of nodes) {
    for (const link of node.run?.links.values() ?? []) shortcutOf(node).learn(shortcutOf(link.other.node).ownRecords());
  }
  await loop.run(WRITE_MS);
  const records: MeshRecord[] = [];
  for (const node of nodes) records.push(...shortcutOf(node).ownRecords());
  for (const record of records) world.verify(record);
  for (const node of nodes) {
    shortcutOf(node).learn(records);
    await loop.run(0);
  }
  // Each knows its peers by their certificates only.
  const certificates = [...(world.members?.all ?? [])];
  for (const node of nodes) for (const certificate of certificates) node.run?.book?.add(certificate);
  world.isMuted = false;
  for (const node of nodes) shortcutOf(node).greetAgain();
  for (const node of nodes) node.setup.seeds = seeds;
  await loop.run(GREET_MS);
}

function shortcutOf(node: SimNode): NonNullable<SimNode['run']>['plane']['shortcut'] {
  if (node.run === undefined) throw new Error('a node does not run');
  return node.run.plane.shortcut;
}

function makeLinks(world: World): void {
  const { random, nodes } = world;
  const known = nodes.filter(({ isKnown }) => isKnown);
  const reachable = known.filter(({ host }) => host.isReachable);
  const degrees = new Map<SimNode, number>(nodes.map((node) => [node, 0]));
  const clients = new Map<SimNode, number>(known.map((node) => [node, 0]));
  const count = (of: Map<SimNode, number>, node: SimNode): void => void of.set(node, (of.get(node) as number) + 1);
  for (const node of random.sample(nodes, nodes.length)) {
    // The clients of a node do not count as links to nodes that relay.
    const [theirs, limit] = node.isKnown ? [degrees, ACCEPT_ANY_BELOW] : [clients, MAX_CLIENTS];
    const target = node.isKnown ? TARGET : CLIENT_TARGET;
    for (let made = 0; made < RANDOM_PICKS || (degrees.get(node) as number) < target; made++) {
      const found = new Set<SimNode>();
      const wanted = made < RANDOM_PICKS ? 1 : LOOKED_AT;
      for (let tries = 0; tries < 20 * wanted && found.size < wanted; tries++) {
        const peer = random.pick(reachable);
        const takesIt = (theirs.get(peer) as number) < limit;
        if (peer !== node && takesIt && node.linkTo(peer) === undefined) found.add(peer);
      }
      const [peer] = [...found].sort(
        (a, b) => world.paths.latencyMs(node.host, a.host) - world.paths.latencyMs(node.host, b.host),
      );
      if (peer === undefined) break;
      world.link(node, peer);
      const link = node.linkTo(peer);
      if (made < RANDOM_PICKS && link !== undefined) shortcutOf(node).choose(link);
      count(degrees, node);
      count(theirs, peer);
    }
  }
}
