// What SYNCED promises: the link has passed on all that its other end held when it came up. The
// other oracles look at a network at rest, where anti-entropy has long repaired what the first exchange of a link has lost;
// this one looks at each link at that moment.

import { areConflicting, compareVersions } from '../../lib/mesh/records/order.js';
import type { MeshRecord } from '../../lib/wire/records.js';
import { label, viewOf } from './oracles.js';
import type { SimLink } from './sim-link.js';
import type { LinkWatcher, SimNode } from './sim-node.js';
import type { World } from './world.js';

/** Complaints that are kept. */
const MAX_COMPLAINTS = 20;

export class SyncOracle implements LinkWatcher {
  readonly complaints: string[] = [];
  /** How many links it has looked at. */
  checks = 0;
  /** What an end held when its link came up. */
  private readonly held = new WeakMap<SimLink, readonly MeshRecord[]>();

  constructor(private readonly world: World) {}

  onLink(node: SimNode, link: SimLink): void {
    // A client passes nothing on, and a shortcut carries no gossip.
    if (node.isKnown && link.purpose !== 'direct') this.held.set(link, [...viewOf(node).records()]);
  }

  onUnlink(): void {}

  onSynced(node: SimNode, link: SimLink): void {
    const held = this.held.get(link.other);
    if (held === undefined || link.purpose === 'direct') return;
    this.held.delete(link.other);
    this.checks++;
    for (const record of this.lackingOf(node, link, held)) this.complain(node, link, record);
  }

  /** What the other end has, and had when the link came up, and this one lacks. */
  private lackingOf(node: SimNode, link: SimLink, held: readonly MeshRecord[]): MeshRecord[] {
    const view = viewOf(node);
    const peer = link.other.node;
    if (peer.run === undefined) return [];
    const theirs = viewOf(peer);
    return held.filter((record) => {
      const mine = view.recordOf(record.key);
      // A node knows its own records best. Nodes that have left are forgotten soon, at one end before the other.
      if (record.nodeId === node.nodeId || theirs.hasLeft(record.nodeId) || view.hasLeft(record.nodeId)) return false;
      // What the other end has forgotten meanwhile, and services of an earlier run.
      if (theirs.recordOf(record.key) === undefined) return false;
      const run = view.recordOf(record.nodeId)?.bootId;
      if (run !== undefined && run !== record.bootId && record.key !== record.nodeId) return false;
      if (view.isParked(record)) return false;
      return mine === undefined || (compareVersions(mine, record) < 0 && !areConflicting(mine, record));
    });
  }

  private complain(node: SimNode, { peerId }: SimLink, record: MeshRecord): void {
    if (this.complaints.length >= MAX_COMPLAINTS) return;
    const ms = Math.round(this.world.loop.now);
    this.complaints.push(`${label(node)} is synced with ${peerId} at ${ms} ms, and lacks ${record.key} of it`);
  }
}
