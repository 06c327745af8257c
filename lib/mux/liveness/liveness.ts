// Pings of one session and what they measure: the round trip by which windows grow, how late answers may come, and whether the peer
// is still alive.

import { starlaneError } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { MuxSession } from '../session.js';
import { Keepalive, Verdict } from './keepalive.js';

/** Round trips that are measured in a row at the start: the first are slow, as nothing is compiled or cached yet. */
export const FIRST_SAMPLES = 32;
/** The round trip is measured again when a window is about to grow and the last sample is older than this. */
const SAMPLE_INTERVAL_MS = 1000;
/**
 * How much later an encrypted link answers while both ends are busy, in microseconds, though it is no slower: a turn of their event
 * loops decrypts up to 2 MiB, and writes leave once a turn. Without this, bulk reached 0.87 of the rate of node:tls.
 */
const ENCRYPTED_TURNS_US = 350;
/** The high bit marks pings of PathModel. */
const MAX_OPAQUE = 0x7fff_ffff;
/** Pings that may be unanswered at once. */
const MAX_PENDING_PINGS = 256;

interface PendingPing {
  readonly sentAt: number;
  readonly resolve: ((rttMs: number) => void) | null;
  readonly reject: ((error: Error) => void) | null;
}

export class Liveness {
  private readonly pending = new Map<number, PendingPing>();
  private readonly keepalive: Keepalive;
  private readonly roundTrip = new RoundTrip();
  private readonly turnsUs: number;
  private nextOpaque = 0;
  private readonly nextCheck: Deadline;
  private samplesLeft = FIRST_SAMPLES;
  private lastSampleAt = 0;
  private sampling = false;
  private samplingOpaque = 0;
  private isStopped = false;

  /**
   * @param idleMs silence after which the peer is pinged, in ms; 0 for no keepalive
   * @param timeoutMs silence after which the peer counts as gone, in ms; longer on a long path, see keepalive.ts
   * @param isEncrypted whether the link encrypts its bytes
   */
  constructor(
    private readonly timers: Timers,
    private readonly session: Pick<MuxSession, 'sendPing' | 'onSilent'>,
    private readonly idleMs: number,
    timeoutMs: number,
    isEncrypted: boolean,
  ) {
    this.nextCheck = new Deadline(timers, (now) => this.check(now));
    this.turnsUs = isEncrypted ? ENCRYPTED_TURNS_US : 0;
    this.keepalive = new Keepalive(idleMs, timeoutMs, timers.now());
  }

  start(): void {
    this.sample();
    if (this.idleMs > 0) this.watch();
  }

  stop(reason: Error): void {
    this.isStopped = true;
    this.nextCheck.clear();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const ping of waiting) ping.reject?.(reason);
  }

  /** Bytes of the peer have arrived. */
  onReceived(): void {
    this.keepalive.onReceived(this.timers.now());
  }

  /** When the last byte of the peer arrived, in ms. */
  get lastReceivedMs(): number {
    return this.keepalive.lastReceivedMs;
  }

  /** Resolves with the time that the peer took to answer, in ms. */
  ping(): Promise<number> {
    if (this.pending.size >= MAX_PENDING_PINGS) {
      return Promise.reject(starlaneError('ERR_STARLANE_STREAM_LIMIT', `${MAX_PENDING_PINGS} pings are unanswered`));
    }
    return new Promise((resolve, reject) => this.send(resolve, reject));
  }

  /**
   * The peer has answered a ping. Returns the time it took in ms, or -1 for an answer to no ping, which is ignored as in
   * hashicorp/yamux.
   */
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

  /** A round trip was measured, in ms. */
  onSample(rttMs: number): void {
    this.roundTrip.sample(rttMs, this.timers.now());
    this.keepalive.onRoundTrip(this.rttMs);
  }

  /**
   * Returns the smallest recent round trip in microseconds, plus what it takes longer while both ends are busy; 0 before the first
   * one is measured. Sends a ping to measure it again when the last sample is old.
   */
  measureWorkingRttUs(): number {
    if (this.timers.now() - this.lastSampleAt > SAMPLE_INTERVAL_MS) this.sample();
    return this.roundTrip.us === 0 ? 0 : this.roundTrip.us + this.turnsUs;
  }

  /** The smallest recent round trip in ms, 0 before the first one is measured. */
  get rttMs(): number {
    return this.roundTrip.us / 1000;
  }

  private check(now: number): void {
    const verdict = this.keepalive.check(now);
    if (verdict === Verdict.SILENT) {
      this.confirmSilence();
      return;
    }
    if (verdict === Verdict.PING) this.sampleNow();
    this.watch();
  }

  /**
   * Confirms that the peer is silent. Bytes that came while this process was busy are read after its timers have run: one turn of
   * the event loop to read them, and one more for what a TLS socket has to decrypt.
   */
  private confirmSilence(): void {
    const { timers } = this;
    timers.afterInput(() =>
      timers.afterInput(() => {
        if (this.isStopped) return;
        const now = timers.now();
        if (this.keepalive.isSilent(now)) this.session.onSilent(this.keepalive.silentMs(now));
        else this.watch();
      }),
    );
  }

  private watch(): void {
    this.nextCheck.set(this.keepalive.nextCheckMs(this.timers.now()));
  }

  private sample(): void {
    if (!this.sampling) this.sampleNow();
  }

  private sampleNow(): void {
    // The table must not grow with a peer that answers no pings.
    if (this.sampling) this.pending.delete(this.samplingOpaque);
    this.sampling = true;
    this.samplingOpaque = this.nextOpaque;
    this.send(null, null);
  }

  private send(resolve: PendingPing['resolve'], reject: PendingPing['reject']): void {
    const opaque = this.nextOpaque;
    this.nextOpaque = (opaque + 1) & MAX_OPAQUE;
    this.pending.set(opaque, { sentAt: this.timers.now(), resolve, reject });
    this.session.sendPing(opaque);
  }
}

/** Samples older than twice this say nothing about the path of the link any more. */
const PERIOD_MS = 30_000;

/**
 * The round trip of a link: the smallest sample of the last half to whole minute. A loaded link answers late because of its own
 * queues, and windows must not grow to fill those.
 */
export class RoundTrip {
  /** The smallest sample of the current period and of the one before, 0 for none. */
  private currentUs = 0;
  private beforeUs = 0;
  private periodStart = 0;

  /** Adds a round trip of `rttMs`, measured at `now`, both in ms. */
  sample(rttMs: number, now: number): void {
    const us = Math.max(1, Math.round(rttMs * 1000));
    if (this.currentUs === 0) this.periodStart = now;
    if (now - this.periodStart > PERIOD_MS) {
      this.beforeUs = now - this.periodStart > 2 * PERIOD_MS ? 0 : this.currentUs;
      this.currentUs = us;
      this.periodStart = now;
    } else if (this.currentUs === 0 || us < this.currentUs) this.currentUs = us;
  }

  /** The round trip in microseconds, 0 before the first sample. */
  get us(): number {
    return this.beforeUs === 0 ? this.currentUs : Math.min(this.currentUs, this.beforeUs);
  }
}

/** An answer that is later than this says more about a process that was busy than about the path, in ms. */
const MAX_APART_MS = 1_000;
/** The variation that is assumed after the first sample, as a share of it. */
const FIRST_SHARE = 1 / 4;
/** The share of a new sample in the smoothed round trip, in a rising variation, and in a falling one. */
const SMOOTHED_SHARE = 1 / 8;
const RISING_SHARE = 1 / 4;
const FALLING_SHARE = 1 / 32;
const VARIATIONS = 2;

/** The answer of a live peer takes no longer than this: three or four losses in a row. */
const ANSWER_ROUND_TRIPS = 3;
const ANSWER_LATENESSES = 10;

/** Returns how long an answer may take on a path with this round trip, in ms. `lateMs`: the delay by one loss. */
export function answerMs(roundTripMs: number, lateMs: number): number {
  return ANSWER_ROUND_TRIPS * roundTripMs + ANSWER_LATENESSES * lateMs;
}

/**
 * How much later than usual the answers of a peer may come. A path that loses packets still delivers them: a kernel retransmits after
 * a round trip, or when its timer expires, and everything behind the lost packet waits. A shorter timeout takes a live peer for dead.
 * The estimate is that of RFC 6298 with one difference: it falls slowly, since losses are rare and the estimate has to last until
 * the next one.
 */
export class Lateness {
  private smoothedMs = 0;
  private variationMs = 0;

  /** Adds a measured round trip, in ms. Round trips that a loss has delayed count most. */
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

  /** The smoothed round trip in ms; 0 before the first sample. */
  get averageMs(): number {
    return this.smoothedMs;
  }

  /**
   * About the delay of an answer by one loss, in ms. On a path without losses it falls from half a round trip to almost nothing
   * within minutes.
   */
  get ms(): number {
    return VARIATIONS * this.variationMs;
  }
}
