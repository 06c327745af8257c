// A node of the simulation over all its lives: a machine, a key, and at any time at most one process with a control plane.

import { type NodeId, nodeIdFromPublicKey } from '../../lib/address.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { LinkPurpose } from '../../lib/link/link-purpose.js';
import type { NodeRole } from '../../lib/options/options.js';
import { Capability, envDigests, type Message } from '../../lib/wire/messages.js';
import type { MeshRecord } from '../../lib/wire/records.js';
import type { Plane, PlaneMaker } from './plane.js';
import type { Random } from './random.js';
import type { KeyPair } from './signatures.js';
import type { SimHost } from './sim-host.js';
import type { SimLink } from './sim-link.js';
import { SimLinks, type SimLinksOwner } from './sim-links.js';
import type { SimMembers } from './sim-members.js';
import { SimNetwork, type Wide } from './sim-network.js';
import { SimProcess } from './sim-process.js';
import { Traffic } from './traffic.js';

/** How long the links of a node that leaves stay up, so that its last words get out, in ms. */
const LAST_WORDS_MS = 200;

/** Clocks of processes differ by up to that much. */
const MAX_SKEW_MS = 1e9;

const MAX_WARNINGS = 100;

/** What a node needs of its world. */
export interface NodeWorld extends Wide {
  readonly makePlane: PlaneMaker;
  /** Called for all links that come up and go. */
  readonly watcher: LinkWatcher | undefined;
  /** Messages of control planes are thrown away. */
  readonly isMuted: boolean;
  /** Undefined: the network has a secret. */
  readonly members: SimMembers | undefined;
  verify(record: MeshRecord): boolean;
}

export interface NodeSetup {
  readonly wide: NodeWorld;
  readonly host: SimHost;
  readonly keys: KeyPair;
  readonly random: Random;
  readonly role: NodeRole;
  readonly relay: boolean;
  readonly env: readonly string[];
  /** Used from the next start on. */
  seeds: readonly string[];
}

/** One process with all that is in it. */
export interface Run {
  readonly bootId: string;
  readonly process: SimProcess;
  readonly links: SimLinks;
  readonly plane: Plane;
  readonly book: MemberBook | undefined;
  readonly startedAtMs: number;
}

export interface LinkWatcher {
  onLink(node: SimNode, link: SimLink): void;
  onUnlink(node: SimNode, link: SimLink, reason: Error | undefined): void;
  /** `node` has applied the initial sync of the other end of the link. */
  onSynced?(node: SimNode, link: SimLink): void;
  /** A node or a service has disappeared from the view of `node`. */
  onGone?(node: SimNode, what: string): void;
  /** Something that `node` warns of: a seed that could not be joined, for one. */
  onWarning?(node: SimNode, error: Error): void;
}

export class SimNode implements SimLinksOwner {
  readonly nodeId: NodeId;
  readonly traffic = new Traffic();
  /** The last ones. */
  readonly warnings: Error[] = [];
  /** Services that it binds in every run. */
  readonly services = new Map<string, { readonly service: string; readonly port: number }>();
  run: Run | undefined;
  /** It leaves, or its machine is dead without notice: it does not count for the others. */
  isLeaving = false;
  /** When it began to drain, in ms; undefined while it does not. */
  drainsSinceMs: number | undefined;
  /** The last epoch that was written to its state file. */
  private keptEpoch = 0;
  private lastBook: MemberBook | undefined;

  constructor(readonly setup: NodeSetup) {
    this.nodeId = nodeIdFromPublicKey(setup.keys.publicKey);
  }

  get node(): SimNode {
    return this;
  }

  get host(): SimHost {
    return this.setup.host;
  }

  get isLive(): boolean {
    return this.run !== undefined && !this.isLeaving;
  }

  /** Others know of it, and it passes on what they publish: all but clients. */
  get isKnown(): boolean {
    return this.setup.role !== 'client';
  }

  /** Starts a process. @param seeds instead of its own */
  start(): Run {
    if (this.run !== undefined) throw new Error('it runs already');
    const { wide, host, keys, random, role, relay, env, seeds } = this.setup;
    host.isUp = true;
    this.isLeaving = false;
    this.drainsSinceMs = undefined;
    const process = new SimProcess(wide.loop, random.between(0, MAX_SKEW_MS));
    const bootId = random.uuid();
    const book = wide.members?.bookOf(keys, this.lastBook);
    this.lastBook = book;
    const capabilities = book === undefined ? 0 : Capability.MEMBERS;
    const { publicKey } = keys;
    const self = { nodeId: this.nodeId, publicKey, bootId, role, envDigests: envDigests(env), capabilities };
    const identity = { ...self, sign: (bytes: Uint8Array) => keys.sign(bytes) };
    const links = new SimLinks(process, host, identity, wide.paths, this, book);
    host.links = links;
    const chance = random.fork();
    const plane = wide.makePlane({
      environment: {
        identity,
        timers: links.timers,
        random: () => chance.next(),
        verify: (record) => wide.verify(record),
        warn: (error) => {
          this.warnings.push(error);
          if (this.warnings.length > MAX_WARNINGS) this.warnings.shift();
          wide.watcher?.onWarning?.(this, error);
        },
      },
      network: new SimNetwork(wide, links),
      role,
      relay,
      env,
      seeds: seeds.filter((seed) => seed !== host.address),
      members: book,
      firstEpoch: this.keptEpoch + 1,
      onEpoch: (epoch) => {
        this.keptEpoch = epoch;
      },
      onSynced: (link) => {
        links.onSynced(link as SimLink);
        wide.watcher?.onSynced?.(this, link as SimLink);
      },
      onGone: (what) => wide.watcher?.onGone?.(this, what),
    });
    this.run = { bootId, process, links, plane, book, startedAtMs: wide.loop.now };
    for (const { service, port } of this.services.values()) plane.bind(service, port);
    plane.start();
    return this.run;
  }

  bind(service: string, port = 0): void {
    this.services.set(`${service}:${port}`, { service, port });
    this.run?.plane.bind(service, port);
  }

  unbind(service: string, port = 0): void {
    if (this.services.delete(`${service}:${port}`)) this.run?.plane.unbind(service, port);
  }

  /** Takes no more circuits of other nodes, and publishes that. */
  drain(): void {
    if (this.run === undefined || this.isLeaving || this.drainsSinceMs !== undefined) return;
    this.drainsSinceMs = this.setup.wide.loop.now;
    this.run.plane.drain();
  }

  /** Closes gracefully: publishes that it leaves, closes its links, ends. */
  leave(): void {
    const { run } = this;
    if (run === undefined || this.isLeaving) return;
    this.isLeaving = true;
    run.plane.leave();
    this.setup.wide.loop.call(LAST_WORDS_MS, () => {
      if (this.run !== run) return;
      run.plane.stop();
      run.links.close();
      this.setup.wide.loop.call(LAST_WORDS_MS, () => {
        if (this.run === run) this.endProcess(false);
      });
    });
  }

  /** The process is killed; the kernel of its machine notifies every peer. */
  crash(): void {
    this.endProcess(false);
  }

  /** The machine is gone at once, without notice to any peer. */
  die(): void {
    this.host.isUp = false;
    this.endProcess(true);
  }

  /** A state file that is lost: the next life begins at epoch 1 again. */
  forget(): void {
    this.keptEpoch = 0;
  }

  linkTo(peer: SimNode): SimLink | undefined {
    return this.run?.links.get(peer.nodeId);
  }

  // --- its links ---

  objection(link: SimLink): string | undefined {
    return this.run?.plane.objection(link);
  }

  onLink(link: SimLink): void {
    this.run?.plane.onLink(link);
    this.setup.wide.watcher?.onLink(this, link);
  }

  onPromoted(link: SimLink): void {
    this.run?.plane.onPromoted(link);
  }

  onMessage(link: SimLink, message: Message): void {
    this.run?.plane.onMessage(link, message);
  }

  onUnblocked(link: SimLink): void {
    this.run?.plane.onUnblocked(link);
  }

  onUnlink(link: SimLink, reason: Error | undefined): void {
    this.run?.plane.onUnlink(link, reason);
    this.setup.wide.watcher?.onUnlink(this, link, reason);
  }

  private endProcess(isMachineGone: boolean): void {
    const { run } = this;
    if (run === undefined) return;
    run.process.end();
    run.links.abandon(isMachineGone);
    if (this.host.links === run.links) this.host.links = undefined;
    this.run = undefined;
    this.isLeaving = false;
  }
}

/** A link that is there from the start. */
export type StandingLink = readonly [one: SimNode, other: SimNode, purpose: LinkPurpose];
