// Pings of one session: what the user asks for, the round trip that windows grow by, and whether the peer still lives.

import { starlaneError } from '../../errors.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { Keepalive, Verdict } from './keepalive.js';

// The round trip of a link in microseconds: the smallest sample of the last half to whole minute, since a loaded link answers
// late by its own queues and windows must not grow to fill those.

/** Samples older than twice this say nothing about the link's path any more. */
const PERIOD_MS = 30_000;

export class RoundTrip {
  /** The smallest of the current period and of the one before, 0 for none. */
  private currentUs = 0;
  private beforeUs = 0;
  private periodStart = 0;

  /** `rttMs` measured at `now`, both in ms. */
  sample(rttMs: number, now: number): void {
    const us = Math.max(1, Math.round(rttMs * 1000));
    if (this.currentUs === 0) this.periodStart = now;
    if (now - this.periodStart > PERIOD_MS) {
      this.beforeUs = now - this.periodStart > 2 * PERIOD_MS ? 0 : this.currentUs;
      this.currentUs = us;
      this.periodStart = now;
    } else if (this.currentUs === 0 || us < this.currentUs) this.currentUs = us;
  }

  /** Microseconds, 0 before the first sample. */
  get us(): number {
    return this.beforeUs === 0 ? this.currentUs : Math.min(this.currentUs, this.beforeUs);
  }
}

// How much later than usual the answers of a peer may come. A path that loses packets delivers them all the same: a kernel sends
// what was lost again, after a round trip or when its timer has run out, and all behind it waits. Who gives up before that takes a
// live peer for dead. The estimate is that of RFC 6298, but for one thing: it falls slowly, as losses are rare and their lesson
// has to last until the next one.

/** Later than that, an answer says more about a process that was busy than about the path, in ms. */
const MAX_APART_MS = 1_000;
/** What is assumed of a path after the first sample, as a share of it. */
const FIRST_SHARE = 1 / 4;
/** Shares of a new sample: in the smoothed round trip, in a variation that rises, and in one that falls. */
const SMOOTHED_SHARE = 1 / 8;
const RISING_SHARE = 1 / 4;
const FALLING_SHARE = 1 / 32;
const VARIATIONS = 2;

/** An answer that is still to come from a peer that is well takes no longer than this: three or four losses one after the other. */
const ANSWER_ROUND_TRIPS = 3;
const ANSWER_LATENESSES = 10;

/** How long an answer may take over a way with this round trip, in ms. `lateMs`: what one loss delays it by. */
export function answerMs(roundTripMs: number, lateMs: number): number {
  return ANSWER_ROUND_TRIPS * roundTripMs + ANSWER_LATENESSES * lateMs;
}

export class Lateness {
  private smoothedMs = 0;
  private variationMs = 0;

  /** A round trip that was measured, in ms. Also one that a loss has delayed: those count most. */
  sample(rttMs: number): void {
    if (this.smoothedMs === 0) {
      this.smoothedMs = rttMs;
      this.variationMs = rttMs * FIRST_SHARE;
      return;
    }
    const apartMs = Math.min(Math.abs(rttMs - this.smoothedMs), MAX_APART_MS);
    const share = apartMs > this.variationMs ? RISING_SHARE : FALLING_SHARE;
    this.variationMs += (apartMs - this.variationMs) * share;
    this.smoothedMs += Math.min(rttMs - this.smoothedMs, MAX_APART_MS) * SMOOTHED_SHARE;
  }

  /**
   * In ms: about what one loss delays an answer by, where there are losses. Where there are none, it falls from half of a round trip
   * to next to nothing in some minutes.
   */
  get ms(): number {
    return VARIATIONS * this.variationMs;
  }
}

/** Round trips measured one after the other at the start: the first are slow, as nothing is compiled or cached yet. */
export const FIRST_SAMPLES = 32;
/** The round trip is measured again when a window is about to grow and the last sample is older than this. */
const SAMPLE_INTERVAL_MS = 1000;
/**
 * A link that encrypts answers later by this when both ends are at work, in microseconds, and is no slower for it: a turn of their
 * event loops decrypts up to 2 MiB, and its writes leave once a turn. Bulk filled 0.87 of what node:tls does without it.
 */
const ENCRYPTED_TURNS_US = 350;
/** The high bit marks the pings of PathModel. */
const MAX_OPAQUE = 0x7fff_ffff;
/** Pings of users that may be unanswered at once. */
const MAX_PENDING_PINGS = 256;

export interface LivenessHost {
  sendPing(opaque: number): void;
  /** The peer was silent for longer than the keepalive timeout. */
  onSilent(silentMs: number): void;
}

interface PendingPing {
  readonly sentAt: number;
  readonly resolve: ((rttMs: number) => void) | null;
  readonly reject: ((error: Error) => void) | null;
}

export class Liveness implements Timed {
  private readonly pending = new Map<number, PendingPing>();
  private readonly keepalive: Keepalive;
  private readonly roundTrip = new RoundTrip();
  private readonly turnsUs: number;
  private nextOpaque = 0;
  private timer: Timer | null = null;
  private samplesLeft = FIRST_SAMPLES;
  private lastSampleAt = 0;
  private sampling = false;
  private samplingOpaque = 0;
  private stopped = false;

  /**
   * @param idleMs silence after which the peer is pinged, in ms; 0 for no keepalive
   * @param timeoutMs silence after which it counts as gone, in ms; longer on a long path, see keepalive.ts
   * @param isEncrypted whether the link encrypts what passes over it
   */
  constructor(
    private readonly timers: Timers,
    private readonly host: LivenessHost,
    private readonly idleMs: number,
    timeoutMs: number,
    isEncrypted: boolean,
  ) {
    this.turnsUs = isEncrypted ? ENCRYPTED_TURNS_US : 0;
    this.keepalive = new Keepalive(idleMs, timeoutMs, timers.now());
  }

  start(): void {
    this.sample();
    if (this.idleMs > 0) this.watch();
  }

  stop(reason: Error): void {
    this.stopped = true;
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const ping of waiting) ping.reject?.(reason);
  }

  /** Bytes of the peer have arrived. */
  heard(): void {
    this.keepalive.heard(this.timers.now());
  }

  /** When the last byte of the peer arrived, in ms. */
  get lastHeardMs(): number {
    return this.keepalive.lastHeardMs;
  }

  /** The time that the peer took to answer, in ms. */
  ping(): Promise<number> {
    if (this.pending.size >= MAX_PENDING_PINGS) {
      return Promise.reject(starlaneError('ERR_STARLANE_STREAM_LIMIT', `${MAX_PENDING_PINGS} pings are unanswered`));
    }
    return new Promise((resolve, reject) => this.send(resolve, reject));
  }

  /** The peer has answered a ping: the time it took in ms. -1 for answers to nothing, which are ignored as in hashicorp/yamux. */
  onPong(opaque: number): number {
    const ping = this.pending.get(opaque);
    if (ping === undefined) return -1;
    this.pending.delete(opaque);
    const now = this.timers.now();
    const tookMs = now - ping.sentAt;
    this.onSample(tookMs);
    ping.resolve?.(tookMs);
    if (ping.resolve !== null) return tookMs;
    this.sampling = false;
    this.lastSampleAt = now;
    if (--this.samplesLeft > 0) this.sample();
    return tookMs;
  }

  /** A round trip measured elsewhere, in ms. */
  onSample(rttMs: number): void {
    this.roundTrip.sample(rttMs, this.timers.now());
    this.keepalive.onRoundTrip(this.rttMs);
  }

  /**
   * The smallest recent round trip in microseconds, with what it takes longer between processes at work; 0 before the first.
   * Measured again by the way when it is old.
   */
  get workingRttUs(): number {
    if (this.timers.now() - this.lastSampleAt > SAMPLE_INTERVAL_MS) this.sample();
    return this.roundTrip.us === 0 ? 0 : this.roundTrip.us + this.turnsUs;
  }

  /** The smallest recent round trip in ms, 0 before the first. */
  get rttMs(): number {
    return this.roundTrip.us / 1000;
  }

  onDeadline(now: number): void {
    this.timer = null;
    const verdict = this.keepalive.check(now);
    if (verdict === Verdict.SILENT) {
      this.confirmSilence();
      return;
    }
    if (verdict === Verdict.PING) this.sampleNow();
    this.watch();
  }

  /**
   * Bytes that came while this process was busy are read after its timers have run: one turn of the event loop to read
   * them, and one more for what a TLS socket has to decrypt.
   */
  private confirmSilence(): void {
    const { clock } = this.timers;
    clock.setImmediate(() =>
      clock.setImmediate(() => {
        if (this.stopped) return;
        const now = this.timers.now();
        if (this.keepalive.isSilent(now)) this.host.onSilent(this.keepalive.silentMs(now));
        else this.watch();
      }),
    );
  }

  private watch(): void {
    this.timer = this.timers.schedule(this.keepalive.nextCheckMs(this.timers.now()), this);
  }

  private sample(): void {
    if (!this.sampling) this.sampleNow();
  }

  private sampleNow(): void {
    // A peer that answers no pings must not make the table grow.
    if (this.sampling) this.pending.delete(this.samplingOpaque);
    this.sampling = true;
    this.samplingOpaque = this.nextOpaque;
    this.send(null, null);
  }

  private send(resolve: PendingPing['resolve'], reject: PendingPing['reject']): void {
    const opaque = this.nextOpaque;
    this.nextOpaque = (opaque + 1) & MAX_OPAQUE;
    this.pending.set(opaque, { sentAt: this.timers.now(), resolve, reject });
    this.host.sendPing(opaque);
  }
}
