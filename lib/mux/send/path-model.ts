// Limits how much is on its way to the peer at once: what the path holds, and little more.
//
// Windows bound each stream, but many streams add up to megabytes in the buffers of both kernels and of the path, and every small
// message queues behind those. A program cannot see how much its kernel has not sent yet. So pings are sent in line with the
// data (any yamux peer answers them), and their answers show how much has arrived, how fast, and how long it took:
//
//   limit = gain x delivery rate x round trip without a queue + room for bursts
//
// The model is that of BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 2016; the rate samples are those
// of draft-cheng-iccrg-delivery-rate-estimation): the highest recent delivery rate, and the round trip of an empty path. Neither a
// long round trip nor a loss lowers the limit, only a lower rate does; the congestion control of the kernel still controls the path.
// After a loss, the kernel of the peer holds back what came behind it, so deliveries come in bursts, and the limit grows with the
// mean burst, as that of BBR does for aggregated acknowledgements. The turns of busy event loops are such bursts too, so the
// same rule serves a local link. Pure: time is an argument.

import { WindowedMax, WindowedMin } from '../../util/windowed-extreme.js';

/** The limit before anything is known, in bytes: what a local link needs. It costs a slow link half a second, once. */
const FIRST_LIMIT_BYTES = 256 * 1024;
const MIN_LIMIT_BYTES = 16 * 1024;
/** The least limit is higher where it takes no longer than this, in ms: a busy peer reads everything that has come at once. */
const FAST_LIMIT_BYTES = 128 * 1024;
const FAST_MS = 2;
const MAX_LIMIT_BYTES = 128 * 1024 * 1024;
/** The factor on what the path holds. The part above 1 finds a higher rate; otherwise it waits in the queue of the path. */
const GAIN = 1.15;
/**
 * The factor at the start, while the rate grows. With cubic the kernel does not pace, so more than twice what the path holds overflows
 * a queue of one bandwidth-delay product. BBR, which paces, uses 2 / ln 2.
 */
const SEARCH_GAIN = 1.7;
/** The search ends when the rate has not grown by this factor for {@link SEARCH_ROUNDS} round trips. */
const GROWTH = 1.25;
const SEARCH_ROUNDS = 3;
/** After the search, answers say nothing about the round trip for this many times the duration of the last one. */
const SETTLE_ANSWERS = 2;
/** The highest rate is remembered for this many smallest round trips, and at least for this many ms; up to twice as long. */
const MEMORY_ROUND_TRIPS = 10;
const MIN_MEMORY_MS = 100;
/** A rate is measured over at least this time, in ms: the turns of event loops distort shorter times. */
const MIN_SAMPLE_MS = 2;
/** The mean rate is taken over this many smallest round trips, and at least over this many ms. */
const MEAN_ROUND_TRIPS = 4;
const MEAN_MS = 10;
/** With this share of the limit in flight, or this many round trips of data, the rate is not low for lack of data. */
const FULL_SHARE = 0.75;
const FULL_ROUND_TRIPS = 1.5;
/** Bursts count up to this many round trips of data: a loss costs one, the loss of its retransmission another. */
const MAX_BURST_ROUND_TRIPS = 4;
/**
 * Bursts count only up to half a round trip if the peer sends at least this share of what this side sends, on a path longer than
 * {@link FAST_MS}: answers then wait behind its data and come in clumps, each clump releases a clump of data, and both sides would grow the
 * queue of the other (Zhang, Shenker and Clark, "Observations on the Dynamics of a Congestion Control Algorithm: the Effects of
 * Two-Way Traffic", SIGCOMM 1991).
 */
const TWO_WAY_SHARE = 0.25;
const MAX_BURST_TWO_WAY = 0.5;
/** The share of a round trip in the mean of the largest bursts: one late turn of an event loop in ten round trips is no burst. */
const BURST_WEIGHT = 0.25;
/** The factor on that mean: bursts vary. */
const BURST_GAIN = 4;
/** The least time of the turns of two busy event loops, in ms, however fast an idle link answers. */
const TURNS_MS = 0.4;

/** The limit is divided into this many parts, and a probe follows each: the answers keep the data moving. */
const PROBES_PER_LIMIT = 16;
/** There are fewer probes where a part takes less than this, in ms, but at least this many. */
const PROBE_MS = 0.2;
const MIN_PROBES_PER_LIMIT = 4;
/** The most probes without an answer. */
const MAX_PROBES = 256;
/** Small messages may exceed the limit by this or by the limit itself, in bytes: the limit exists for their sake. */
const SMALL_SLACK_BYTES = 64 * 1024;
const SMALL_CLEAN_SHARE = 0.2;
/** A frame of bulk is as long as the distance of probes, but takes no longer than this in ms, within these bounds in bytes. */
const MAX_FRAME_MS = 5;
const MIN_FRAME_BYTES = 2 * 1024;
const MAX_FRAME_BYTES = 64 * 1024;

/**
 * The smallest round trip is measured again after this time, in ms (BBR: 10 s): only this share of what the path holds is sent until
 * answers have met no queue.
 */
const ROUND_TRIP_MEMORY_MS = 10_000;
const CLEAN_SHARE = 0.7;
/**
 * The round trip is measured again early when all answers take longer than this many smallest round trips and the rate has fallen to
 * this share of its peak. While the rate has not fallen, answers wait in a queue, and draining it would only cost. No queue is as long
 * as the second bound: beyond it, the rate does not matter.
 */
const LONG_ROUND_TRIPS = 1.6;
const SLOWED = 0.8;
const TOO_LONG_ROUND_TRIPS = 2.6;
/** It is measured early no more often than this, in ms, and half as often after each time without a change, until all was calm. */
const MIN_SUSPICION_MS = 500;
const CALM_MS = 1_000;
/** The round trip has changed when it is longer by this factor. */
const CHANGED = 1.25;
/** It is the mean of this many answers without a queue: where packets are lost, most answers wait for a retransmission. */
const CLEAN_ANSWERS = 4;
/** The share of a single answer. */
const SINGLE_SHARE = 0.25;
/** The mean counts up to this many smallest round trips: longer answers come from busy ends. */
const MOST_EMPTY = 2.5;

/** The bit of the opaque values of probes; other pings do not have it. */
const PROBE_BIT = 0x8000_0000;

interface Probe {
  readonly opaque: number;
  /** Bytes sent before it. */
  readonly mark: number;
  readonly sentAt: number;
  /** What was known to have arrived by then, since when that was known, and when the last answered probe was sent. */
  readonly delivered: number;
  readonly deliveredAt: number;
  readonly firstSentAt: number;
  /** So little was on its way that the answer shows the round trip of the path itself. */
  readonly isClean: boolean;
  /** The user had less to send than was allowed, so the rate may be lower than that of the path. */
  readonly isStarved: boolean;
}

export class PathModel {
  private limit = FIRST_LIMIT_BYTES;
  private delivered = 0;
  private deliveredAt = 0;
  private firstSentAt = 0;
  private lastMark = 0;
  private nextOpaque = 0;
  private probes: Probe[] = [];
  private mayServe = true;
  private hasSentSmall = false;

  /** What had arrived at two moments: one {@link MIN_SAMPLE_MS} to twice that ago, the other after it. */
  private earlier = { at: 0, delivered: 0 };
  private later = this.earlier;
  /** In bytes per ms. */
  private readonly rate = new WindowedMax();
  private lastRate = 0;
  private meanRate = 0;
  /** The highest {@link rate} since the last measurement of the round trip. */
  private peakRate = 0;
  /** Bytes of the largest burst beyond the rate: the mean over round trips, and that of this round trip. */
  private meanBurst = 0;
  private largestBurst = 0;
  private isTwoWay = false;
  /** What the peer had sent when this round trip began. */
  private receivedMark = 0;
  /** What has arrived in the present burst, and since when. */
  private burstBytes = 0;
  private burstSince = 0;

  /** The smallest round trip, and the last time that one as short was measured. */
  private minMs = 0;
  private minAt = 0;
  /** The time of answers without a queue: longer than the smallest round trip where packets are lost. */
  private emptyMs = 0;
  private readonly recentMs = new WindowedMin();
  private isDraining = false;
  /** The number of answers without a queue since then, and their times in sum. */
  private cleanAnswers = 0;
  private cleanMs = 0;
  private leastCleanMs = 0;
  private suspicionMs = MIN_SUSPICION_MS;
  private nextSuspicionAt = 0;
  /** Since when no answer was suspiciously late. */
  private calmSince = 0;

  /** Whether the user has ever had as much to send as was allowed. */
  private isRateKnown = false;
  private isSearching = true;
  /** The rate from which growth is measured, and the round trips since it was reached. */
  private searchRate = 0;
  private roundsSince = 0;
  private roundMark = 0;

  /** Up to here, all data has been sent. */
  private starvedMark = -1;
  /** Whether there was nothing to send at some moment since the last answer. */
  private ranDrySince = false;

  /** Returns how many bytes of bulk may follow after `sent` bytes since the start. */
  room(sent: number): number {
    return this.limitNow - (sent - this.delivered);
  }

  /** Returns the same as {@link room}, for small messages. */
  smallRoom(sent: number): number {
    // While the path drains, small messages must not fill it either.
    const slack = this.isDraining ? this.cleanBytes * SMALL_CLEAN_SHARE : this.limit;
    return this.room(sent) + Math.min(SMALL_SLACK_BYTES, slack);
  }

  /** The longest frame of bulk that does not hold up small messages behind it, in bytes. */
  get frameBytes(): number {
    const timely = this.meanRate > 0 ? this.meanRate * MAX_FRAME_MS : MAX_FRAME_BYTES;
    return Math.min(MAX_FRAME_BYTES, Math.max(MIN_FRAME_BYTES, Math.min(this.probeBytes, timely))) >>> 0;
  }

  /**
   * Takes the turn of one frame of bulk that may leave without room. False when it was taken before. There is a turn in every round
   * trip, and at every answer after small messages were sent, so that those cannot shut bulk out.
   */
  takeTurn(): boolean {
    const may = this.mayServe;
    this.mayServe = false;
    this.hasSentSmall = false;
    return may;
  }

  /** A small message was sent. */
  sentSmall(): void {
    this.hasSentSmall = true;
  }

  /** No data waits any more. */
  ranDry(): void {
    this.ranDrySince = true;
  }

  /** Returns whether a probe should follow after `sent` bytes. */
  isProbeDue(sent: number): boolean {
    return sent - this.lastMark >= this.probeBytes && this.probes.length < MAX_PROBES;
  }

  /** Returns the opaque value of the ping to send after `sent` bytes. */
  probe(sent: number, now: number): number {
    const opaque = (PROBE_BIT | this.nextOpaque) >>> 0;
    this.nextOpaque = (this.nextOpaque + 1) & ~PROBE_BIT;
    this.lastMark = sent;
    if (this.probes.length === 0) {
      // A new flight: the time before it says nothing about the path.
      this.deliveredAt = now;
      this.firstSentAt = now;
      this.earlier = { at: now, delivered: this.delivered };
      this.later = this.earlier;
    }
    const { delivered, deliveredAt, firstSentAt } = this;
    const isClean = this.rate.value > 0 && sent - delivered <= this.cleanBytes * 1.25;
    const isStarved = this.isDraining || this.starvedMark >= delivered;
    this.probes.push({ opaque, mark: sent, sentAt: now, delivered, deliveredAt, firstSentAt, isClean, isStarved });
    return opaque;
  }

  /**
   * The peer has answered a ping after `sent` bytes and has sent `received` bytes itself. Returns how long the answer took in ms, or -1
   * when the ping was no probe.
   */
  onAnswer(opaque: number, sent: number, now: number, received = 0): number {
    const index = this.probes.findIndex((probe) => probe.opaque === opaque);
    if (index < 0) return -1;
    const probe = this.probes[index];
    // Answers come in order: the probes before an answered one have arrived as well.
    this.probes.splice(0, index + 1);
    if (this.isStarving(sent)) this.starvedMark = sent;
    else if (!probe.isStarved) this.isRateKnown = true;
    this.ranDrySince = false;
    const tookMs = Math.max(now - probe.sentAt, 0.001);
    const arrivedBytes = probe.mark - this.delivered;
    this.onRoundTrip(tookMs, now, probe.isClean);
    this.onDelivered(probe, sent, received, tookMs, now);
    if (this.hasSentSmall && !this.isDraining) this.mayServe = true;
    this.setLimit(arrivedBytes);
    return tookMs;
  }

  /** The peer has answered a ping that was sent apart from data: the round trip of an idle path, in ms. */
  onIdleAnswer(tookMs: number, now: number): void {
    if (this.probes.length > 0) {
      if (tookMs <= this.minMs) this.onRoundTrip(tookMs, now, false);
      return;
    }
    // Nothing is on its way, so there is no queue: nothing has to be held back to measure the round trip again.
    if (now - this.minAt > ROUND_TRIP_MEMORY_MS) {
      this.minMs = tookMs;
      this.minAt = now;
    }
    if (this.emptyMs > 0 && tookMs > this.emptyMs) this.emptyMs += (tookMs - this.emptyMs) * SINGLE_SHARE;
    this.onRoundTrip(tookMs, now, true);
  }

  get isWaiting(): boolean {
    return this.probes.length > 0;
  }

  /** When the oldest probe without an answer was sent, in ms. */
  get waitingSince(): number {
    return this.probes[0]?.sentAt ?? Number.POSITIVE_INFINITY;
  }

  get limitBytes(): number {
    return this.limitNow;
  }

  /** Returns whether the user has nothing more to send, though more is allowed. */
  private isStarving(sent: number): boolean {
    const held = this.isRateKnown ? this.rate.value * this.minMs : Number.POSITIVE_INFINITY;
    return this.ranDrySince && sent - this.delivered < Math.min(FULL_SHARE * this.limitNow, FULL_ROUND_TRIPS * held);
  }

  private get limitNow(): number {
    return this.isDraining ? this.cleanBytes : this.limit;
  }

  /** With no more than this on its way, there is no queue. */
  private get cleanBytes(): number {
    if (this.rate.value === 0) return FIRST_LIMIT_BYTES;
    return Math.max(MIN_LIMIT_BYTES, Math.min(this.lastRate, this.rate.value) * this.minMs * CLEAN_SHARE);
  }

  /** Whether answers wait behind bulk of the peer, see {@link TWO_WAY_SHARE}. */
  private get isClumped(): boolean {
    return this.isTwoWay && this.minMs > FAST_MS;
  }

  /** The distance of probes, in bytes. */
  private get probeBytes(): number {
    const limit = this.limitNow;
    return Math.max(limit / PROBES_PER_LIMIT, Math.min(limit / MIN_PROBES_PER_LIMIT, this.meanRate * PROBE_MS));
  }

  private get memoryMs(): number {
    return Math.max(MEMORY_ROUND_TRIPS * this.minMs, MIN_MEMORY_MS);
  }

  private onRoundTrip(tookMs: number, now: number, isClean: boolean): void {
    this.recentMs.add(tookMs, now, Math.max(2 * this.minMs, 1));
    if (tookMs <= this.minMs || this.minMs === 0) {
      this.minMs = tookMs;
      this.minAt = now;
    }
    if (tookMs < this.emptyMs) this.emptyMs -= (this.emptyMs - tookMs) * SINGLE_SHARE;
    else if (this.emptyMs === 0) this.emptyMs = tookMs;
    this.emptyMs = Math.min(this.emptyMs, MOST_EMPTY * this.minMs);
    if (this.isDraining) {
      if (isClean) this.onCleanAnswer(tookMs, now);
      return;
    }
    const tookRoundTrips = this.recentMs.value / (this.emptyMs + TURNS_MS);
    const hasSlowed = this.rate.value < SLOWED * this.peakRate;
    const isSuspicious = tookRoundTrips > (hasSlowed ? LONG_ROUND_TRIPS : TOO_LONG_ROUND_TRIPS);
    if (isSuspicious) this.calmSince = now;
    else if (now - this.calmSince > Math.max(CALM_MS, 2 * MEMORY_ROUND_TRIPS * this.emptyMs)) {
      this.suspicionMs = MIN_SUSPICION_MS;
      this.nextSuspicionAt = 0;
    }
    const isOld = now - this.minAt > ROUND_TRIP_MEMORY_MS;
    // The search builds a queue itself.
    if (this.isSearching || (!isOld && !(isSuspicious && now >= this.nextSuspicionAt))) return;
    this.isDraining = true;
    this.cleanAnswers = 0;
    this.cleanMs = 0;
  }

  private onCleanAnswer(tookMs: number, now: number): void {
    this.cleanMs += tookMs;
    this.leastCleanMs = this.cleanAnswers === 0 ? tookMs : Math.min(this.leastCleanMs, tookMs);
    if (++this.cleanAnswers < CLEAN_ANSWERS) return;
    const meanMs = this.cleanMs / CLEAN_ANSWERS;
    this.isDraining = false;
    this.peakRate = this.rate.value;
    // Answers that wait behind data of the peer look like a longer path: only a little of that counts at a time.
    const mostEmpty = this.isClumped ? CHANGED : MOST_EMPTY;
    const hasChanged = !this.isClumped && this.leastCleanMs > this.minMs * CHANGED;
    this.suspicionMs = hasChanged ? MIN_SUSPICION_MS : Math.min(2 * this.suspicionMs, ROUND_TRIP_MEMORY_MS);
    this.nextSuspicionAt = now + Math.max(this.suspicionMs, MEMORY_ROUND_TRIPS * meanMs);
    if (hasChanged) {
      // A difference of less than a millisecond may come from busy processes: it has to show again.
      this.minMs = Math.min(this.leastCleanMs, Math.max(2 * this.minMs, this.leastCleanMs - 1));
      // The rate that was found before belongs to another path, or to a limit that was too low.
      this.isSearching = true;
      this.searchRate = this.rate.value;
      this.roundsSince = 0;
    } else if (this.isClumped) this.minMs = Math.min(Math.max(this.leastCleanMs, this.minMs), this.minMs * CHANGED);
    this.minAt = now;
    this.emptyMs = Math.min(meanMs, mostEmpty * this.minMs);
  }

  private onDelivered(probe: Probe, sent: number, received: number, tookMs: number, now: number): void {
    const elapsedMs = Math.max(now - probe.deliveredAt, probe.sentAt - probe.firstSentAt);
    const rate =
      elapsedMs >= MIN_SAMPLE_MS
        ? (probe.mark - probe.delivered) / elapsedMs
        : (probe.mark - this.earlier.delivered) / Math.max(now - this.earlier.at, elapsedMs, 0.001);
    if (now - this.later.at >= MIN_SAMPLE_MS) {
      this.earlier = this.later;
      this.later = { at: now, delivered: probe.mark };
    }
    if (!probe.isStarved || rate > this.rate.value) {
      this.lastRate = rate;
      this.rate.add(rate, now, this.memoryMs);
      this.peakRate = Math.max(this.peakRate, this.rate.value);
    }
    this.countBurst(probe.mark - this.delivered, now);
    const sinceMs = Math.max(0, now - this.deliveredAt);
    const memoryMs = Math.max(MEAN_MS, MEAN_ROUND_TRIPS * this.minMs);
    this.meanRate += (probe.mark - this.delivered - this.meanRate * sinceMs) / (memoryMs + sinceMs);
    this.delivered = probe.mark;
    this.deliveredAt = now;
    this.firstSentAt = probe.sentAt;
    if (probe.delivered < this.roundMark) {
      if (this.isSearching) this.search(tookMs, now);
      return;
    }
    this.isTwoWay = received - this.receivedMark > TWO_WAY_SHARE * (probe.mark - this.roundMark);
    this.receivedMark = received;
    this.roundMark = probe.mark;
    this.meanBurst += (this.largestBurst - this.meanBurst) * BURST_WEIGHT;
    this.largestBurst = 0;
    this.mayServe = true;
    // A user who sends less than half of the allowed bytes does not find a higher rate.
    if (!probe.isStarved || sent - probe.mark < this.limit / 2) this.roundsSince++;
    if (this.isSearching) this.search(tookMs, now);
  }

  private search(tookMs: number, now: number): void {
    if (this.rate.value >= this.searchRate * GROWTH) {
      this.searchRate = this.rate.value;
      this.roundsSince = 0;
    }
    if (this.roundsSince <= SEARCH_ROUNDS) return;
    this.isSearching = false;
    // The queue of the search drains by itself: answers stay late until then.
    this.nextSuspicionAt = Math.max(this.nextSuspicionAt, now + SETTLE_ANSWERS * tookMs);
  }

  /** `bytes` have arrived: updates by how much a part of a round trip has exceeded the rate. */
  private countBurst(bytes: number, now: number): void {
    const elapsedMs = now - this.burstSince;
    if (this.burstBytes <= this.rate.value * elapsedMs || elapsedMs > this.minMs / 2) {
      this.burstBytes = 0;
      this.burstSince = now;
    }
    this.burstBytes += bytes;
    const excess = this.burstBytes - this.rate.value * (now - this.burstSince);
    this.largestBurst = Math.max(this.largestBurst, excess);
  }

  private setLimit(arrivedBytes: number): void {
    const rate = this.rate.value;
    if (rate === 0) return;
    const { minMs, emptyMs } = this;
    const heldMs = this.isSearching ? SEARCH_GAIN * minMs : GAIN * emptyMs;
    // There is one answer for each probe: two at once are no burst.
    const burst = BURST_GAIN * Math.max(0, this.meanBurst - 2 * this.probeBytes);
    const mostBurst = this.meanRate * (this.isClumped ? MAX_BURST_TWO_WAY : MAX_BURST_ROUND_TRIPS) * minMs;
    const limit = rate * heldMs + this.meanRate * TURNS_MS + Math.min(burst, mostBurst);
    // A sender that has little to send does not measure the path.
    const least = this.isRateKnown ? Math.max(MIN_LIMIT_BYTES, Math.min(FAST_LIMIT_BYTES, rate * FAST_MS)) : this.limit;
    // It at most doubles in a round trip, as the window of TCP in slow start: a jump would leave as one burst and overflow a queue.
    const most = Math.min(MAX_LIMIT_BYTES, Math.max(FIRST_LIMIT_BYTES, this.limit + arrivedBytes));
    this.limit = Math.round(Math.min(most, Math.max(least, limit)));
  }
}
