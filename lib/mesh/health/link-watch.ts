// Whether the links of this node live. Any byte proves life; an idle link is pinged.
//
//   UP ── 2/3 of the timeout silent ──> SUSPECT ── what does a bare connect to the peer find? ──> dead
//    ^                                    │  refused: at once; silence or no address: after the timeout;
//    └────────── any byte ────────────────┘  a kernel that answers for a stopped process (STALLED): after three
//
// All times grow with the local health, on a long path with its round trip, and by as much as this process was late itself.
// Nothing is judged before what has arrived is read: a timer runs ahead of the data that came while the event loop was blocked.

import { type NodeId, parseLinkAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { stretchOf } from '../../mux/liveness/keepalive.js';
import { debug } from '../../util/runtime/debug.js';
import type { Timers } from '../../util/timers.js';
import type { MeshLink } from '../ports/mesh-link.js';
import type { ProbeResult } from '../ports/mesh-network.js';
import { LocalHealth } from './local-health.js';
import { OwnLag } from './own-lag.js';

const log = debug('link');

const TICK_MS = 500;
/** Between two ticks while all links are well: each wake-up costs a resting process more than the work that it does. */
const CALM_TICKS = 5;
const MIN_TICK_MS = 10;
/** A ping is due this much earlier or later than keepAliveMs says, so that nodes do not come in step. */
const JITTER = 0.05;
const ACCEPTED_SHARE = 0.85;
/** A ping may go out this much before it is due, with those that are due. */
const EARLY = 0.5;
const STALLED_FACTOR = 3;

export interface LinkWatchSetup {
  readonly timers: Timers;
  /** From 0 up to 1. */
  random(): number;
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  /** Connects without a handshake. */
  probe(address: string, timeoutMs: number): Promise<ProbeResult>;
  /** Link addresses that a node announces. */
  addressesOf(nodeId: NodeId): readonly string[];
}

export interface LinkWatchOwner {
  /** Silent for two thirds of the timeout, or heard again: for new circuits of this node to go another way, if any. */
  onSuspect(link: MeshLink, isSuspect: boolean): void;
  /** Its process stands still while its kernel answers, or is heard again: for others to go another way. */
  onStalled(link: MeshLink, isStalled: boolean): void;
  /** This node itself is in trouble, or out of it. */
  onOverload(isOverloaded: boolean): void;
}

interface Watched {
  readonly link: MeshLink;
  heardMs: number;
  /** How much of the silence was ours. */
  excusedMs: number;
  /** Silence after which a ping is due; drawn anew after each. */
  idleMs: number;
  isPinged: boolean;
  isSuspect: boolean;
  isStalled: boolean;
  /** What the probe of a suspect has found, once it has. */
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

  /** Round trips that are measured now are those of this process. */
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

  stop(): void {
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
    for (const watched of this.watched.values())
      if (!watched.isPinged && this.silentMs(watched, now) >= watched.idleMs * EARLY) this.ping(watched);
  }

  /** How long nothing has to be looked at, in ms. */
  private restMs(now: number): number {
    let restMs = CALM_TICKS * this.lag.tickMs;
    for (const watched of this.watched.values()) {
      if (watched.isPinged || watched.isSuspect) return 0;
      restMs = Math.min(restMs, watched.idleMs - this.silentMs(watched, now));
    }
    return restMs;
  }

  /** One turn of the event loop to read what has arrived, and one more for what a TLS socket has to decrypt. */
  private judgeSoon(): void {
    if (this.isJudging) return;
    this.isJudging = true;
    const { clock } = this.setup.timers;
    clock.setImmediate(() =>
      clock.setImmediate(() => {
        this.isJudging = false;
        this.judge();
      }),
    );
  }

  private judge(): void {
    const now = this.setup.timers.now();
    for (const watched of [...this.watched.values()]) {
      const silentMs = this.silentMs(watched, now);
      // Another one's end may have ended this one, and the health may have changed what is due.
      if (!this.watched.has(watched.link) || !this.isDue(watched, silentMs)) continue;
      if (!watched.isSuspect) this.suspect(watched, now);
      else if (silentMs >= this.deadAfterMs(watched)) this.kill(watched, silentMs);
      else this.stall(watched);
    }
  }

  /** Whether there is anything to be decided about a link. */
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

  /** How long nothing was heard that is not our own fault; notices that something was. */
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
    // Its end is told by onUnlink.
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
    // The answer to a question that is settled by now.
    if (!watched.isSuspect || watched.heardMs !== since) return;
    watched.found = found;
    log('%s %s: %s', watched.link.peerId, address, found);
    if (found === 'refused' && this.watched.has(watched.link)) this.judgeSoon();
  }

  private kill({ link, found, probed }: Watched, silentMs: number): void {
    const what = probed === undefined ? 'no address to try' : `${probed}: ${FINDINGS[found ?? 'silent']}`;
    link.destroy(starlaneError('ERR_STARLANE_KEEPALIVE', `${Math.round(silentMs)} ms, ${what}`));
  }

  /** The accepting end pings first: a node that many have joined then pings all of them at once, in place of answering each. */
  private idleMs({ direction }: MeshLink): number {
    const share = direction === 'inbound' ? ACCEPTED_SHARE : 1;
    return this.setup.keepAliveMs * share * (1 + JITTER * (2 * this.setup.random() - 1));
  }
}

const FINDINGS: Readonly<Record<ProbeResult, string>> = {
  refused: 'nobody listens there any more',
  open: 'its kernel answers, it does not',
  silent: 'no answer either',
};

/**
 * An address that surely is that of the peer: the one by which it was reached, or one that it announces on the machine
 * that the link comes from. A refusal at any other, say its 127.0.0.1, would say nothing about it.
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
