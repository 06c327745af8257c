// Direct links on demand: a node that has much traffic with another through relays makes a direct link to it. Such a link is
// neither announced nor used for gossip, or every busy pair would cost a flood. New circuits between the two nodes use it,
// running ones stay on their path, and it is closed when it has been idle for a while.
//
// Only 'peer' and 'router' make them by themselves. A 'server' makes no links by itself and a 'client' keeps to its relays;
// both make them when their user requests it, and accept those of others.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { NodeRole } from '../../options/options.js';
import { type BackOff, backOffMs } from '../../util/back-off.js';
import { Deadline, inTime, waitWithin } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timers } from '../../util/timers.js';
import type { MeshEnvironment, MeshLink, MeshNetwork, MeshView } from '../ports.js';

const log = debug('link');

const MAX_LINKS = 64;
const IDLE_MS = 120_000;
const TICK_MS = 10_000;
/** Upgrades at a time, and requested ones that may wait. */
const PARALLEL = 4;
const MAX_WAITING = 64;
const MAX_TRIED = 3;
const UPGRADE_TIMEOUT_MS = 15_000;
/** Pause after a failed upgrade to a node. */
const BACK_OFF: BackOff = { minMs: 60_000, maxMs: 3_600_000 };
/** A path through relays is a detour when its round trip is longer by more than this, in ms. */
const DETOUR_MS = 30;
const PROBE_TIMEOUT_MS = 2_000;
const MAX_REMEMBERED = 1_024;

interface Shortcut {
  readonly link: MeshLink;
  usedMs: number;
}

/** What is known of a destination. */
interface Destination {
  failures: number;
  /** No automatic upgrade before this time. */
  untilMs: number;
  /** The round trip of a direct link or a bare connect; undefined while unknown. */
  directRttMs: number | undefined;
}

export class Shortcuts {
  private readonly links = new Map<NodeId, Shortcut>();
  private readonly upgrades = new Map<NodeId, Promise<MeshLink>>();
  private readonly destinations = new RecentMap<NodeId, Destination>(MAX_REMEMBERED);
  private readonly traffic = new PeerTraffic();
  private readonly queue: Array<() => void> = [];
  private readonly aborter = new AbortController();
  private running = 0;
  private readonly deadline: Deadline;

  constructor(
    private readonly setup: {
      readonly environment: MeshEnvironment;
      readonly network: MeshNetwork;
      readonly view: MeshView;
      readonly role: NodeRole;
    },
  ) {
    this.deadline = new Deadline(setup.environment.timers, (now) => this.check(now));
  }

  /** The number of shortcuts that are up. */
  get size(): number {
    return this.links.size;
  }

  /** Counts traffic with another node through relays. */
  note(dst: NodeId, traffic: Traffic): void {
    const { environment, role } = this.setup;
    if ((role !== 'peer' && role !== 'router') || this.aborter.signal.aborted) return;
    const isBusy = this.traffic.note(dst, traffic, environment.timers.now());
    if (!isBusy && (traffic.relayRttMs ?? 0) <= DETOUR_MS) return;
    if (this.running >= PARALLEL || this.upgrades.has(dst) || this.linkTo(dst) !== undefined) return;
    if (environment.timers.now() < this.destination(dst).untilMs || this.addresses(dst).length === 0) return;
    if (this.setup.view.isBanned(dst) || !this.setup.view.isMember(dst)) return;
    if (isBusy) this.upgrade(dst).catch(() => {});
    else void this.compare(dst, traffic.relayRttMs as number);
  }

  /**
   * Returns the link to a node, of any purpose, or makes a shortcut.
   * @throws ERR_STARLANE_LINK_LIMIT, ERR_STARLANE_ADDRESS when the node announces no address, ERR_STARLANE_RECORD when it is banned, ERR_STARLANE_CERTIFICATE when it is no
   * member, or
   * the error of the last dial
   */
  async request(dst: NodeId, signal?: AbortSignal): Promise<MeshLink> {
    const standing = this.linkTo(dst);
    if (standing !== undefined) return standing;
    signal?.throwIfAborted();
    const upgrade = this.upgrades.get(dst) ?? this.upgrade(dst);
    if (signal === undefined) return upgrade;
    // Other callers may wait for the same upgrade: the signal ends only this wait.
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      upgrade.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  /** Whether to accept a shortcut that a peer makes. */
  mayAccept(peerId: NodeId): boolean {
    return this.linkTo(peerId) !== undefined || this.hasRoom();
  }

  /** Called when a link of any purpose is up. */
  onLink(link: MeshLink): void {
    this.traffic.forget(link.peerId);
    if (link.purpose !== 'direct') return;
    this.makeRoom(0);
    this.links.set(link.peerId, { link, usedMs: this.setup.environment.timers.now() });
    if (!this.deadline.isSet) this.deadline.set(TICK_MS);
  }

  onUnlink(link: MeshLink): void {
    const { peerId, rttMs } = link;
    if (this.links.get(peerId)?.link !== link) return;
    this.links.delete(peerId);
    if (rttMs > 0) this.destination(peerId).directRttMs = rttMs;
  }

  /** Called when a link has got a stronger purpose. */
  onPromoted(link: MeshLink): void {
    if (this.links.get(link.peerId)?.link === link) this.links.delete(link.peerId);
  }

  /** Makes no more shortcuts. Those that are up stay. */
  dispose(): void {
    this.aborter.abort(starlaneError('ERR_STARLANE_CLOSED'));
    for (const turn of this.queue.splice(0)) turn();
    this.deadline.clear();
  }

  private check(now: number): void {
    for (const shortcut of [...this.links.values()]) {
      if (shortcut.link.streams > 0) shortcut.usedMs = now;
      else if (now - shortcut.usedMs >= IDLE_MS) shortcut.link.close();
    }
    if (this.links.size > 0) this.deadline.set(TICK_MS);
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
      // A link may have come up during the wait.
      const standing = this.linkTo(dst);
      if (standing !== undefined) return standing;
      const addresses = this.addresses(dst);
      if (view.isBanned(dst)) throw starlaneError('ERR_STARLANE_RECORD', `${dst} has sent forged records`);
      if (!view.isMember(dst)) throw starlaneError('ERR_STARLANE_CERTIFICATE', dst);
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

  /** Finds out whether the path through relays is a detour: a bare connect shows the round trip of a direct link. */
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

  /** Closes the shortcut that was used longest ago, when there are as many as allowed. */
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

const STEP_MS = 10_000;
const STEPS = 6;
const MAX_PEERS = 1_024;

/** Above any of these within a minute, a direct link pays. */
const MANY_BYTES = 1024 * 1024;
const MANY_OPENS = 10;
const MANY_LIVE = 3;

/** Opens and bytes since the last call; `live` and `relayRttMs` are current values. */
export interface Traffic {
  readonly opens?: number;
  readonly bytes?: number;
  readonly live?: number;
  readonly relayRttMs?: number;
}

interface Usage {
  step: number;
  readonly opens: number[];
  readonly bytes: number[];
  live: number;
}

/** Traffic through relays by destination: opens and bytes of the last minute, in steps of ten seconds, and live circuits. */
class PeerTraffic {
  private readonly peers = new RecentMap<NodeId, Usage>(MAX_PEERS);

  /** Counts traffic; true when it is much. */
  note(dst: NodeId, { opens = 0, bytes = 0, live }: Traffic, now: number): boolean {
    const step = Math.floor(now / STEP_MS);
    let usage = this.peers.get(dst);
    if (usage === undefined) {
      usage = { step, opens: new Array(STEPS).fill(0), bytes: new Array(STEPS).fill(0), live: 0 };
      this.peers.set(dst, usage);
    }
    for (let missed = Math.min(step - usage.step, STEPS); missed > 0; missed--) {
      usage.opens.pop();
      usage.opens.unshift(0);
      usage.bytes.pop();
      usage.bytes.unshift(0);
    }
    usage.step = step;
    (usage.opens[0] as number) += opens;
    (usage.bytes[0] as number) += bytes;
    if (live !== undefined) usage.live = live;
    return sum(usage.bytes) > MANY_BYTES || sum(usage.opens) > MANY_OPENS || usage.live > MANY_LIVE;
  }

  forget(dst: NodeId): void {
    this.peers.delete(dst);
  }
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

const STAGGER_MS = 250;

/**
 * Dials several addresses of one node, each a little after the one before: an address that does not answer costs a quarter of
 * a second instead of its timeout. The first link wins, and the other dials are aborted.
 */
function dialStaggered(
  timers: Timers,
  addresses: readonly string[],
  dial: (address: string, signal: AbortSignal) => Promise<MeshLink>,
  signal: AbortSignal,
): Promise<MeshLink> {
  return waitWithin(timers, { signal }, (resolve, reject) => {
    const aborter = new AbortController();
    let next = 0;
    let underway = 0;
    let failure: unknown = starlaneError('ERR_STARLANE_ADDRESS', 'there is none to dial');
    const attempt = async (address: string): Promise<void> => {
      underway++;
      try {
        resolve(await dial(address, aborter.signal));
      } catch (error) {
        underway--;
        failure = error;
        if (!aborter.signal.aborted) proceed();
      }
    };
    const proceed = (): void => {
      const address = addresses[next++];
      if (address !== undefined) {
        stagger.set(STAGGER_MS);
        void attempt(address);
      } else if (underway === 0) reject(failure);
    };
    const stagger = new Deadline(timers, proceed);
    proceed();
    return () => {
      stagger.clear();
      aborter.abort(signal.reason);
    };
  });
}
