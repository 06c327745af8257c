// Which nodes this one is linked to: seeds, links that it makes itself, links of others that it accepts or sheds, and the
// search for parts of the network that it does not see. Each part has a file of its own.

import type { NodeId } from '../../address.js';
import type { NodeRole } from '../../options/options.js';
import type { BackOff } from '../../util/back-off.js';
import type { MeshEnvironment, MeshLink, MeshNetwork, MeshView } from '../ports.js';
import { Candidates } from './candidates.js';
import { MeshDialer } from './dialer.js';
import { LinkAdmission } from './link-admission.js';
import { Neighbours } from './neighbours.js';
import { PartitionWatch, ReachabilityHistory } from './partition-watch.js';
import { PeerBook } from './peer-book.js';
import { Refill } from './refill.js';
import { Rotation } from './rotation.js';
import { SeedWatch } from './seeds.js';

interface NeighbourhoodOptions {
  /**
   * 'peer' and 'router' make links by themselves; 'client' as well, but three at most, to nodes that pass on what it
   * cannot; 'server' has the links of its seeds and its user, and those that its peers make.
   */
  readonly role: NodeRole;
  readonly seeds: readonly string[];
  /** Pause between two dials of an address or a seed. */
  readonly backOff: BackOff;
}

/** What the parts of a neighbourhood share. */
export interface NeighbourhoodContext {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly view: MeshView;
  readonly options: NeighbourhoodOptions;
  readonly neighbours: Neighbours;
  readonly dialer: MeshDialer;
  readonly book: PeerBook;
}

export class Neighbourhood {
  readonly book = new PeerBook();
  readonly neighbours: Neighbours;
  readonly admission: LinkAdmission;
  readonly seeds: SeedWatch;
  private readonly dialer: MeshDialer;
  private readonly refill: Refill | undefined;
  private readonly history: ReachabilityHistory;
  private readonly rotation: Rotation | undefined;
  private readonly partitions: PartitionWatch | undefined;

  constructor(
    private readonly setup: Pick<NeighbourhoodContext, 'environment' | 'network' | 'view'> & {
      readonly options: NeighbourhoodOptions;
    },
  ) {
    const { environment, network, view, options } = setup;
    const { role, backOff } = options;
    const neighbours = new Neighbours(environment.identity.nodeId, view);
    const dialer = new MeshDialer(environment, network, backOff, () => this.refill?.consider());
    const context: NeighbourhoodContext = { ...setup, neighbours, dialer, book: this.book };
    this.neighbours = neighbours;
    this.dialer = dialer;
    this.history = new ReachabilityHistory(environment, view);
    this.admission = new LinkAdmission(context);
    this.seeds = new SeedWatch(context);
    if (role === 'server') return;
    const candidates = new Candidates(context);
    this.refill = new Refill(context, candidates);
    if (role === 'client') return;
    this.rotation = new Rotation(context, candidates, this.refill, this.history);
    this.partitions = new PartitionWatch(context, this.seeds, this.history);
  }

  start(): void {
    this.seeds.start();
    if (this.partitions !== undefined) this.history.start();
    if (!this.neighbours.isDraining) {
      this.rotation?.start();
      this.partitions?.start();
    }
    this.refill?.consider();
  }

  /** Seeks no more links, unless there is none. Links stay up. */
  drain(): void {
    this.neighbours.isDraining = true;
    this.rotation?.dispose();
    this.partitions?.dispose();
  }

  /** Called when a linked peer has announced that it drains. */
  onPeerDrains(): void {
    this.refill?.consider();
  }

  /** Ends all activity. Links stay up. */
  dispose(): void {
    this.seeds.dispose();
    this.refill?.dispose();
    this.history.dispose();
    this.rotation?.dispose();
    this.partitions?.dispose();
    this.admission.dispose();
    this.dialer.dispose();
  }

  /** Called when a link of any purpose is up. */
  onLink(link: MeshLink): void {
    this.neighbours.add(link, this.setup.environment.timers.now());
    this.dialer.onLink(link);
    this.meet(link);
    this.onPromoted();
  }

  /** Called when a link has got a stronger purpose. */
  onPromoted(): void {
    this.admission.onLink();
    this.refill?.consider();
  }

  onUnlink(link: MeshLink): void {
    const neighbour = this.neighbours.remove(link);
    if (neighbour === undefined) return;
    this.dialer.onUnlink(link);
    this.meet(link);
    this.seeds.onUnlink(link, this.setup.environment.timers.now() - neighbour.upSinceMs);
    this.refill?.consider();
  }

  /** Called when a node has become reachable. */
  onReachable(nodeId: NodeId): void {
    this.book.onAnnounced(nodeId, this.setup.view.node(nodeId)?.addresses ?? []);
    this.refill?.onNewNodes();
  }

  private meet({ address, direction, peerAddresses, peerId }: MeshLink): void {
    const dialled = direction === 'outbound' && address !== 'attached' ? [address] : [];
    this.book.onMet(peerId, [...dialled, ...peerAddresses], this.setup.environment.timers.now());
  }
}
