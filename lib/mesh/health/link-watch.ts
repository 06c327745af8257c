// Whether the links of this node are alive. Any byte proves it; an idle link is pinged.
//
//   UP ── silent for 2/3 of the timeout ──> SUSPECT ── what does a bare connect to the peer find? ──> dead
//    ^                                        │  refused: at once; silence or no address: after the timeout;
//    └──────────────── any byte ──────────────┘  a kernel that answers for a stopped process (STALLED): after three
//
// All times grow with the local health, with the round trip of a long path, and by the time that this process was late itself.
// A link is judged only after the data that has arrived is read: timers run before data that came while the loop was blocked.

import { type NodeId, parseLinkAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { stretchOf } from '../../mux/liveness/keepalive.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { MeshLink, ProbeResult } from '../ports.js';
import { LocalHealth } from './local-health.js';

const log = debug('link');

const TICK_MS = 500;
/**
 * Between two ticks while all links are well: each wake-up costs a resting process more than the work that it does. A shorter block of the
 * event loop may go unseen then, which does no harm: a round trip is the smallest of half a minute, and input is read before a link is judged.
 */
const CALM_TICKS = 5;
const MIN_TICK_MS = 10;
/** The share by which a ping is earlier or later than keepAliveMs, so that nodes do not fall into step. */
const JITTER = 0.05;
/** The end that accepted a link pings first: a hub then pings all its links at once, instead of answering each alone. */
const ACCEPTED_SHARE = 0.85;
/** A ping may be sent this share of its time early, with others that are due. */
const EARLY = 0.5;
/** The most pings that are sent early in one tick: a hub with a thousand links spreads them. */
const MAX_EARLY = 16;
const STALLED_FACTOR = 3;

interface LinkWatchSetup {
  readonly timers: Timers;
  /** Returns a number from 0 up to 1. */
  random(): number;
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  /** Connects without a handshake. */
  probe(address: string, timeoutMs: number): Promise<ProbeResult>;
  /** Link addresses that a node announces. */
  addressesOf(nodeId: NodeId): readonly string[];
}

export interface LinkWatchOwner {
  /** Called when a link was silent for two thirds of the timeout, or is alive again: new circuits of this node avoid a suspect. */
  onSuspect(link: MeshLink, isSuspect: boolean): void;
  /** Called when the process of a peer stands still while its kernel answers, or is alive again: others should avoid the link. */
  onStalled(link: MeshLink, isStalled: boolean): void;
  /** Called when this node is overloaded, or no longer. */
  onOverload(isOverloaded: boolean): void;
}

interface Watched {
  readonly link: MeshLink;
  heardMs: number;
  /** The part of the silence in which this process was late. */
  excusedMs: number;
  /** Silence after which a ping is due; drawn again after each. */
  idleMs: number;
  isPinged: boolean;
  isSuspect: boolean;
  isStalled: boolean;
  /** The result of the probe of a suspect, once there is one. */
  found: ProbeResult | undefined;
  probed: string | undefined;
}

export class LinkWatch {
  readonly health: LocalHealth;
  private readonly lag: OwnLag;
  private readonly watched = new Map<MeshLink, Watched>();
  private isJudging = false;

  constructor(
    private readonly setup: LinkWatchSetup,
    private readonly owner: LinkWatchOwner,
  ) {
    const { keepAliveMs, keepAliveTimeoutMs } = setup;
    const tickMs = Math.min(TICK_MS, Math.floor(Math.min(keepAliveMs, keepAliveTimeoutMs / 3) / 4));
    this.lag = new OwnLag(setup.timers, Math.max(MIN_TICK_MS, tickMs), this);
    this.health = new LocalHealth(owner);
  }

  /** Whether this process is late, so that round trips measured now say nothing about links. */
  get isLagging(): boolean {
    return this.lag.isLagging;
  }

  isSuspect(link: MeshLink): boolean {
    return this.watched.get(link)?.isSuspect ?? false;
  }

  isStalled(link: MeshLink): boolean {
    return this.watched.get(link)?.isStalled ?? false;
  }

  /** Watches a link that is up. */
  onLink(link: MeshLink): void {
    this.watched.set(link, {
      link,
      heardMs: link.lastHeardMs,
      excusedMs: 0,
      idleMs: this.idleMs(link),
      isPinged: false,
      isSuspect: false,
      isStalled: false,
      found: undefined,
      probed: undefined,
    });
    this.lag.start();
  }

  onUnlink(link: MeshLink): void {
    this.watched.delete(link);
    if (this.watched.size === 0) this.lag.stop();
  }

  dispose(): void {
    this.watched.clear();
    this.lag.stop();
  }

  /** @internal */
  onTick(now: number, lateMs: number): number {
    this.health.onTick(now, lateMs);
    if (lateMs > this.lag.tickMs) for (const watched of this.watched.values()) watched.excusedMs += lateMs;
    let isDue = false;
    let isPingDue = false;
    for (const watched of this.watched.values()) {
      const silentMs = this.silentMs(watched, now);
      if (silentMs >= watched.idleMs && !watched.isPinged) isPingDue = true;
      if (this.isDue(watched, silentMs)) isDue = true;
    }
    if (isPingDue) this.pingIdle(now);
    if (isDue) this.judgeSoon();
    return this.restMs(now);
  }

  /** Pings all links that would be due within the same interval: they share a wake-up, and so do many of their answers. */
  private pingIdle(now: number): void {
    let early = MAX_EARLY;
    for (const watched of this.watched.values()) {
      if (watched.isPinged) continue;
      const silentMs = this.silentMs(watched, now);
      if (silentMs >= watched.idleMs) this.ping(watched);
      else if (silentMs >= watched.idleMs * EARLY && early-- > 0) this.ping(watched);
    }
  }

  /** How long nothing has to be looked at, in ms. */
  private restMs(now: number): number {
    let restMs = CALM_TICKS * this.lag.tickMs;
    for (const watched of this.watched.values()) {
      if (watched.isPinged || watched.isSuspect) return 0;
      const dueMs = Math.min(watched.idleMs, (2 * this.timeoutMs(watched)) / 3);
      restMs = Math.min(restMs, dueMs - this.silentMs(watched, now));
    }
    return restMs;
  }

  /** One turn of the event loop to read what has arrived, and one more for what a TLS socket has to decrypt. */
  private judgeSoon(): void {
    if (this.isJudging) return;
    this.isJudging = true;
    const { timers } = this.setup;
    timers.afterInput(() =>
      timers.afterInput(() => {
        this.isJudging = false;
        this.judge();
      }),
    );
  }

  private judge(): void {
    const now = this.setup.timers.now();
    for (const watched of [...this.watched.values()]) {
      const silentMs = this.silentMs(watched, now);
      // The end of another link may have ended this one, and the health may have changed the timeouts.
      if (!this.watched.has(watched.link) || !this.isDue(watched, silentMs)) continue;
      if (!watched.isSuspect) this.suspect(watched, now);
      else if (silentMs >= this.deadAfterMs(watched)) this.kill(watched, silentMs);
      else this.stall(watched);
    }
  }

  /** Whether a link must be judged. */
  private isDue(watched: Watched, silentMs: number): boolean {
    const timeoutMs = this.timeoutMs(watched);
    if (!watched.isSuspect) return silentMs >= (2 * timeoutMs) / 3;
    if (silentMs >= this.deadAfterMs(watched)) return true;
    return watched.found === 'open' && !watched.isStalled && silentMs >= timeoutMs;
  }

  private deadAfterMs(watched: Watched): number {
    if (watched.found === 'refused') return 0;
    return this.timeoutMs(watched) * (watched.found === 'open' ? STALLED_FACTOR : 1);
  }

  private timeoutMs({ link }: Watched): number {
    return this.setup.keepAliveTimeoutMs * this.health.scale * stretchOf(link.rttMs);
  }

  /** Returns how long a link has been silent, without the time in which this process was late. Also notices new data. */
  private silentMs(watched: Watched, now: number): number {
    const { link } = watched;
    if (link.lastHeardMs > watched.heardMs) {
      watched.heardMs = link.lastHeardMs;
      watched.excusedMs = 0;
      watched.isPinged = false;
      if (watched.isSuspect) this.revive(watched);
    }
    return now - watched.heardMs - watched.excusedMs;
  }

  private ping(watched: Watched): void {
    watched.isPinged = true;
    watched.idleMs = this.idleMs(watched.link);
    // The end of the link is reported to onUnlink.
    watched.link.ping().catch(() => {});
  }

  private suspect(watched: Watched, now: number): void {
    const { link } = watched;
    watched.isSuspect = true;
    watched.found = undefined;
    watched.probed = undefined;
    log('%s %s: suspect', link.peerId, link.address);
    this.health.onSuspect(now, link.peerId, this.watched.size);
    this.owner.onSuspect(link, true);
    void this.probe(watched);
  }

  private stall(watched: Watched): void {
    watched.isStalled = true;
    log('%s %s: stalled', watched.link.peerId, watched.link.address);
    this.owner.onStalled(watched.link, true);
  }

  private revive(watched: Watched): void {
    const { link, isStalled } = watched;
    watched.isSuspect = false;
    watched.isStalled = false;
    watched.found = undefined;
    log('%s %s: heard again', link.peerId, link.address);
    if (isStalled) this.owner.onStalled(link, false);
    this.owner.onSuspect(link, false);
  }

  private async probe(watched: Watched): Promise<void> {
    const { setup } = this;
    const address = dialableAddress(watched.link, setup.addressesOf(watched.link.peerId));
    if (address === undefined) return;
    const since = watched.heardMs;
    watched.probed = address;
    const found = await setup.probe(address, setup.keepAliveTimeoutMs / 3).catch((): ProbeResult => 'silent');
    // The link is alive again, or was suspected once more.
    if (!watched.isSuspect || watched.heardMs !== since) return;
    watched.found = found;
    log('%s %s: %s', watched.link.peerId, address, found);
    if (found === 'refused' && this.watched.has(watched.link)) this.judgeSoon();
  }

  private kill({ link, found, probed }: Watched, silentMs: number): void {
    const what = probed === undefined ? 'no address to try' : `${probed}: ${FINDINGS[found ?? 'silent']}`;
    link.destroy(starlaneError('ERR_STARLANE_KEEPALIVE', `${Math.round(silentMs)} ms, ${what}`));
  }

  private idleMs({ direction }: MeshLink): number {
    const share = direction === 'inbound' ? ACCEPTED_SHARE : 1;
    return this.setup.keepAliveMs * share * (1 + JITTER * (2 * this.setup.random() - 1));
  }
}

const FINDINGS: Readonly<Record<ProbeResult, string>> = {
  refused: 'nothing listens there any more',
  open: 'the kernel answers, the process does not',
  silent: 'no answer either',
};

/**
 * Returns an address that certainly belongs to the peer: the one that was dialled, or one that it announces on the machine
 * from which the link comes. A refusal at another one, such as its 127.0.0.1, would prove nothing.
 */
function dialableAddress(link: MeshLink, announced: readonly string[]): string | undefined {
  const { address, direction } = link;
  if (address === 'attached') return undefined;
  if (direction === 'outbound') return address;
  const host = hostOf(address);
  if (host === undefined) return undefined;
  return [...link.peerAddresses, ...announced].find((candidate) => hostOf(candidate) === host);
}

function hostOf(address: string): string | undefined {
  try {
    return parseLinkAddress(address).host;
  } catch {
    return undefined;
  }
}

/** A blocked event loop rarely blocks once: after a late tick, this many come at the shortest interval. */
const ALERT_TICKS = 10;
/** When this process is later than this, a measured round trip says more about it than about the peer. */
const RTT_LAG_MS = 50;

/**
 * Measures whether this process is late: one ticker for all links of a node. A late tick means that the event loop was
 * blocked, and that data which arrived meanwhile may still be unread (libuv runs timers before it reads).
 */
class OwnLag implements Timed {
  private timer: Timer | undefined;
  private isRunning = false;
  private dueMs = 0;
  private lastLateMs = 0;
  /** Ticks left at the shortest interval. */
  private alertTicks = 0;

  constructor(
    private readonly timers: Timers,
    /** The shortest interval. */
    readonly tickMs: number,
    /** `onTick` returns how long nothing needs attention, in ms. */
    private readonly owner: { onTick(now: number, lateMs: number): number },
  ) {}

  /** Whether the last tick was late, or the next one is late already. */
  get isLagging(): boolean {
    if (!this.isRunning) return false;
    return this.lastLateMs > RTT_LAG_MS || this.timers.now() - this.dueMs > RTT_LAG_MS;
  }

  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.lastLateMs = 0;
    this.alertTicks = 0;
    this.schedule(this.tickMs);
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
    this.isRunning = false;
  }

  onDeadline(now: number): void {
    this.lastLateMs = Math.max(0, now - this.dueMs);
    if (this.lastLateMs > RTT_LAG_MS) this.alertTicks = ALERT_TICKS;
    else if (this.alertTicks > 0) this.alertTicks--;
    this.timer = undefined;
    const restMs = this.owner.onTick(now, this.lastLateMs);
    // The owner may have stopped it, or stopped and started it.
    if (!this.isRunning || this.timer !== undefined) return;
    this.schedule(this.alertTicks > 0 ? this.tickMs : Math.max(this.tickMs, restMs));
  }

  private schedule(waitMs: number): void {
    // From now, not from the time of the tick: the work of the tick is not lateness.
    this.dueMs = this.timers.now() + waitMs;
    this.timer = this.timers.schedule(waitMs, this);
  }
}
