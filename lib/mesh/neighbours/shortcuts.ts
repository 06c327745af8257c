// Direct links on demand: a node that is busy with another through relays makes a link of its own to it. Such a link is
// neither announced nor used for gossip, or every busy pair would show in everybody's directory; new circuits between
// the two take it, those that run stay where they are, and it ends when it is not used any more.
//
// Only 'peer' and 'router' make them by themselves. A 'server' makes no links by itself and a 'client' keeps to its
// relays; both have them when their user asks, and take those of others.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { NodeRole } from '../../options/options.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { inTime } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timed, Timer } from '../../util/timers.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import type { MeshLink } from '../ports/mesh-link.js';
import type { MeshNetwork } from '../ports/mesh-network.js';
import type { MeshView } from '../ports/mesh-view.js';
import { PeerTraffic, type Traffic } from './peer-traffic.js';
import { dialStaggered } from './staggered-dial.js';

const log = debug('link');

const MAX_LINKS = 64;
const IDLE_MS = 120_000;
const TICK_MS = 10_000;
/** Upgrades at a time, and explicit ones that wait for their turn. */
const PARALLEL = 4;
const MAX_WAITING = 64;
const MAX_TRIED = 3;
const UPGRADE_TIMEOUT_MS = 15_000;
/** Between two upgrades to one node that fail. */
const BACK_OFF: BackOff = { minMs: 60_000, maxMs: 3_600_000 };
/** A way through relays that takes this much longer, in ms. */
const DETOUR_MS = 30;
const PROBE_TIMEOUT_MS = 2_000;
const MAX_REMEMBERED = 1_024;

export interface ShortcutsSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly view: MeshView;
  readonly role: NodeRole;
}

interface Shortcut {
  readonly link: MeshLink;
  usedMs: number;
}

/** What is remembered of a destination. */
interface Destination {
  failures: number;
  /** No upgrade by itself before. */
  untilMs: number;
  /** The round trip of a direct link or a bare connect; undefined: not known. */
  directRttMs: number | undefined;
}

export class Shortcuts implements Timed {
  private readonly links = new Map<NodeId, Shortcut>();
  private readonly upgrades = new Map<NodeId, Promise<MeshLink>>();
  private readonly destinations = new RecentMap<NodeId, Destination>(MAX_REMEMBERED);
  private readonly traffic = new PeerTraffic();
  private readonly queue: Array<() => void> = [];
  private readonly aborter = new AbortController();
  private running = 0;
  private timer: Timer | undefined;

  constructor(private readonly setup: ShortcutsSetup) {}

  /** How many shortcuts stand. */
  get size(): number {
    return this.links.size;
  }

  /** What this node has had to do with another through relays. Not for what went over a link to it. */
  note(dst: NodeId, traffic: Traffic): void {
    const { environment, role } = this.setup;
    if ((role !== 'peer' && role !== 'router') || this.aborter.signal.aborted) return;
    const isBusy = this.traffic.note(dst, traffic, environment.timers.now());
    if (!isBusy && (traffic.relayRttMs ?? 0) <= DETOUR_MS) return;
    if (this.running >= PARALLEL || this.upgrades.has(dst) || this.linkTo(dst) !== undefined) return;
    if (environment.timers.now() < this.destination(dst).untilMs || this.addresses(dst).length === 0) return;
    if (this.setup.view.isBanned(dst)) return;
    if (isBusy) this.upgrade(dst).catch(() => {});
    else void this.compare(dst, traffic.relayRttMs as number);
  }

  /**
   * The link to a node, of whatever kind, or a shortcut that is made for it.
   * @throws ERR_STARLANE_LINK_LIMIT, ERR_STARLANE_ADDRESS when it announces none, ERR_STARLANE_RECORD when it is banned, or what the last dial has failed with
   */
  async request(dst: NodeId, signal?: AbortSignal): Promise<MeshLink> {
    const standing = this.linkTo(dst);
    if (standing !== undefined) return standing;
    signal?.throwIfAborted();
    const upgrade = this.upgrades.get(dst) ?? this.upgrade(dst);
    if (signal === undefined) return upgrade;
    // Another may wait for the same: the signal ends the waiting only.
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      upgrade.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  /** Whether to take a shortcut that a peer makes. */
  mayAccept(peerId: NodeId): boolean {
    return this.linkTo(peerId) !== undefined || this.hasRoom();
  }

  /** A link is up, of whatever purpose. */
  onLink(link: MeshLink): void {
    this.traffic.forget(link.peerId);
    if (link.purpose !== 'direct') return;
    this.makeRoom(0);
    this.links.set(link.peerId, { link, usedMs: this.setup.environment.timers.now() });
    this.timer ??= this.setup.environment.timers.schedule(TICK_MS, this);
  }

  onUnlink(link: MeshLink): void {
    const { peerId, rttMs } = link;
    if (this.links.get(peerId)?.link !== link) return;
    this.links.delete(peerId);
    if (rttMs > 0) this.destination(peerId).directRttMs = rttMs;
  }

  /** A link has become one of a stronger purpose. */
  onPromoted(link: MeshLink): void {
    if (this.links.get(link.peerId)?.link === link) this.links.delete(link.peerId);
  }

  /** Makes no more, and leaves those that stand. */
  stop(): void {
    this.aborter.abort(starlaneError('ERR_STARLANE_CLOSED'));
    for (const turn of this.queue.splice(0)) turn();
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    for (const shortcut of [...this.links.values()]) {
      if (shortcut.link.streams > 0) shortcut.usedMs = now;
      else if (now - shortcut.usedMs >= IDLE_MS) shortcut.link.close();
    }
    if (this.links.size > 0) this.timer = this.setup.environment.timers.schedule(TICK_MS, this);
  }

  private upgrade(dst: NodeId): Promise<MeshLink> {
    const upgrade = this.make(dst).finally(() => this.upgrades.delete(dst));
    this.upgrades.set(dst, upgrade);
    return upgrade;
  }

  private async make(dst: NodeId): Promise<MeshLink> {
    const { environment, network, view } = this.setup;
    const { timers } = environment;
    await this.turn();
    try {
      this.aborter.signal.throwIfAborted();
      // It may have come up while this one waited.
      const standing = this.linkTo(dst);
      if (standing !== undefined) return standing;
      const addresses = this.addresses(dst);
      if (view.isBanned(dst)) throw starlaneError('ERR_STARLANE_RECORD', `${dst} has told forged records`);
      if (addresses.length === 0) throw starlaneError('ERR_STARLANE_ADDRESS', `${dst} announces none`);
      if (!this.makeRoom(this.running - 1))
        throw starlaneError('ERR_STARLANE_LINK_LIMIT', `${MAX_LINKS} direct links are in use`);
      const link = await inTime(
        timers,
        UPGRADE_TIMEOUT_MS,
        addresses[0] as string,
        (late) => {
          const dial = (address: string, signal: AbortSignal): Promise<MeshLink> =>
            network.dial(address, { purpose: 'direct', expect: dst, signal });
          return dialStaggered(timers, addresses, dial, late);
        },
        this.aborter.signal,
      );
      this.destination(dst).failures = 0;
      return link;
    } catch (error) {
      log('%s: no direct link: %s', dst, (error as Error).message);
      this.putOff(dst);
      throw error;
    } finally {
      this.done();
    }
  }

  /** Whether the way through relays is a detour: a bare connect shows what a direct link would take. */
  private async compare(dst: NodeId, relayRttMs: number): Promise<void> {
    const { environment, network } = this.setup;
    const destination = this.destination(dst);
    if (destination.directRttMs === undefined) {
      const since = environment.timers.now();
      const address = this.addresses(dst)[0] as string;
      this.running++;
      const found = await network.probe(address, PROBE_TIMEOUT_MS).catch(() => 'silent');
      this.done();
      if (found !== 'open') {
        this.putOff(dst);
        return;
      }
      destination.directRttMs = environment.timers.now() - since;
    }
    if (relayRttMs - destination.directRttMs <= DETOUR_MS || this.aborter.signal.aborted) return;
    if (!this.upgrades.has(dst) && this.linkTo(dst) === undefined) this.upgrade(dst).catch(() => {});
  }

  private putOff(dst: NodeId): void {
    const { random, timers } = this.setup.environment;
    const destination = this.destination(dst);
    destination.untilMs = timers.now() + backOffMs(destination.failures++, BACK_OFF, random);
  }

  private addresses(dst: NodeId): readonly string[] {
    const { listenAddresses } = this.setup.network;
    const { addresses = [] } = this.setup.view.node(dst) ?? {};
    return addresses.filter((address) => !listenAddresses.includes(address)).slice(0, MAX_TRIED);
  }

  private linkTo(nodeId: NodeId): MeshLink | undefined {
    for (const link of this.setup.network.links()) if (link.peerId === nodeId && link.isUp) return link;
    return undefined;
  }

  private hasRoom(): boolean {
    return this.links.size + this.running < MAX_LINKS || this.idlest() !== undefined;
  }

  /** With as many shortcuts as may be, the one that was used longest ago goes. */
  private makeRoom(coming: number): boolean {
    if (this.links.size + coming < MAX_LINKS) return true;
    const idlest = this.idlest();
    idlest?.link.close();
    return idlest !== undefined;
  }

  private idlest(): Shortcut | undefined {
    let idlest: Shortcut | undefined;
    for (const shortcut of this.links.values()) {
      if (shortcut.link.streams === 0 && (idlest === undefined || shortcut.usedMs < idlest.usedMs)) idlest = shortcut;
    }
    return idlest;
  }

  private destination(dst: NodeId): Destination {
    let destination = this.destinations.get(dst);
    if (destination === undefined) {
      destination = { failures: 0, untilMs: 0, directRttMs: undefined };
      this.destinations.set(dst, destination);
    }
    return destination;
  }

  private async turn(): Promise<void> {
    if (this.running >= PARALLEL) {
      if (this.queue.length >= MAX_WAITING) throw starlaneError('ERR_STARLANE_LINK_LIMIT', 'too many upgrades wait');
      await new Promise<void>((resolve) => this.queue.push(resolve));
    }
    this.running++;
  }

  private done(): void {
    this.running--;
    this.queue.shift()?.();
  }
}
