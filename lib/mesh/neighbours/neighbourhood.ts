// Who this node is linked to: seeds, links that it makes by itself, links of others that it takes or gives up, and the
// search for parts of the network that it does not see. What each of them is for stands in its file.

import type { NodeId } from '../../address.js';
import type { NodeRole } from '../../options/options.js';
import type { BackOff } from '../../util/back-off.js';
import type { MeshEnvironment, MeshLink, MeshNetwork, MeshView } from '../ports.js';
import { Candidates } from './candidates.js';
import { RANDOM_KEPT } from './degree.js';
import { MeshDialer } from './dialer.js';
import { type Applicant, LinkAdmission } from './link-admission.js';
import { Neighbours } from './neighbours.js';
import { PartitionWatch, ReachHistory } from './partition-watch.js';
import { PeerBook } from './peer-book.js';
import { Refill } from './refill.js';
import { Rotation } from './rotation.js';
import { SeedWatch } from './seeds.js';

export type { Applicant } from './link-admission.js';

export interface NeighbourhoodOptions {
  /**
   * 'peer' and 'router' make links by themselves; 'client' as well, but three at most, to nodes that carry on what it
   * cannot; 'server' has those of its seeds, of its user, and of the peers that come to it.
   */
  readonly role: NodeRole;
  readonly seeds: readonly string[];
  /** Between two dials of an address or a seed. */
  readonly backOff: BackOff;
}

export interface NeighbourhoodOwner {
  /** A seed could not be joined and will be tried again, or this node has more links than it can tell of. */
  onWarning(error: Error): void;
}

export interface NeighbourhoodSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly view: MeshView;
  readonly options: NeighbourhoodOptions;
  readonly owner: NeighbourhoodOwner;
}

export class Neighbourhood {
  readonly book = new PeerBook();
  readonly neighbours: Neighbours;
  private readonly dialer: MeshDialer;
  private readonly admission: LinkAdmission;
  private readonly seeds: SeedWatch;
  private readonly refill: Refill | undefined;
  private readonly history: ReachHistory;
  private readonly rotation: Rotation | undefined;
  private readonly partitions: PartitionWatch | undefined;

  constructor(private readonly setup: NeighbourhoodSetup) {
    const { environment, network, view, options, owner } = setup;
    const { role, seeds, backOff } = options;
    const { book } = this;
    const neighbours = new Neighbours(environment.identity.nodeId, view);
    const dialer = new MeshDialer(environment, network, backOff, () => this.refill?.consider());
    const history = new ReachHistory(environment, view);
    const isClient = role === 'client';
    this.neighbours = neighbours;
    this.dialer = dialer;
    this.history = history;
    const reserved = (): number => Math.max(0, RANDOM_KEPT - neighbours.chosen('random'));
    this.admission = new LinkAdmission({
      environment,
      neighbours,
      view,
      reserved: role === 'peer' || role === 'router' ? reserved : () => 0,
      onWarning: (error) => owner.onWarning(error),
    });
    this.seeds = new SeedWatch({
      environment,
      network,
      view,
      dialer,
      neighbours,
      seeds,
      isClient,
      backOff,
      onWarning: (error) => owner.onWarning(error),
    });
    if (role === 'server') return;
    const candidates = new Candidates({ environment, network, view, dialer, neighbours, book });
    const refill = new Refill({ environment, neighbours, candidates, dialer, book, isClient });
    this.refill = refill;
    if (isClient) return;
    this.rotation = new Rotation({
      environment,
      neighbours,
      candidates,
      view,
      history,
      dial: (candidate, choice) => refill.dial(candidate, choice),
    });
    this.partitions = new PartitionWatch({ environment, view, dialer, neighbours, book, seeds: this.seeds, history });
  }

  /** Mesh links to nodes that carry gossip on. */
  get degree(): number {
    return this.neighbours.degree;
  }

  /** Seeds that are kept joined. */
  get seedCount(): number {
    return this.seeds.size;
  }

  /** An address that the user has joined. It is asked again like a seed, as others may be there as well. */
  addJoined(address: string): void {
    this.seeds.addJoined(address);
  }

  removeJoined(address: string): void {
    this.seeds.removeJoined(address);
  }

  start(): void {
    this.seeds.start();
    if (this.partitions !== undefined) this.history.start();
    this.rotation?.start();
    this.partitions?.start();
    this.refill?.consider();
  }

  /** Makes, sheds and tries nothing any more. Links stay. */
  stop(): void {
    this.seeds.stop();
    this.refill?.stop();
    this.history.stop();
    this.rotation?.stop();
    this.partitions?.stop();
    this.admission.stop();
    this.dialer.stop();
  }

  /** A link is up, of whatever purpose. */
  onLink(link: MeshLink): void {
    this.neighbours.add(link, this.setup.environment.timers.now());
    this.dialer.onLink(link);
    this.meet(link);
    this.onPromoted();
  }

  /** A link has become one of a stronger purpose. */
  onPromoted(): void {
    this.admission.onLink();
    this.refill?.consider();
  }

  /** A link is up no more. */
  onUnlink(link: MeshLink): void {
    const neighbour = this.neighbours.remove(link);
    if (neighbour === undefined) return;
    this.dialer.onUnlink(link);
    this.meet(link);
    this.seeds.onUnlink(link, this.setup.environment.timers.now() - neighbour.upSinceMs);
    this.refill?.consider();
  }

  /** A node is reached that was not before, or says that it listens elsewhere. */
  onReachable(nodeId: NodeId): void {
    this.book.onHeard(nodeId, this.setup.view.node(nodeId)?.addresses ?? []);
    this.refill?.onNews();
  }

  /** Whether to take a link that a peer makes. */
  mayAccept(applicant: Applicant): boolean {
    return this.admission.mayAccept(applicant);
  }

  /**
   * The links that go into the own record. To be asked again when a link comes, goes or is promoted, and when the first
   * record of a peer arrives.
   */
  announced(): MeshLink[] {
    return this.admission.announced();
  }

  private meet({ address, direction, peerAddresses, peerId }: MeshLink): void {
    const dialled = direction === 'outbound' && address !== 'attached' ? [address] : [];
    this.book.onMet(peerId, [...dialled, ...peerAddresses], this.setup.environment.timers.now());
  }
}
