// How many bytes may be on their way to the peer at once. Windows bound each stream, but many of them add up to megabytes
// in the buffers of both kernels, and every small message queues up behind those.
//
// Pings sent in line with the data tell when the peer has read that far (any yamux peer answers them). The limit follows
// the time that takes: it shrinks when the queue takes longer than the target, and grows while the target is kept and
// the limit is what holds the data back. What the idle link takes cannot be seen through a queue, so now and then the
// queue is let run dry for one answer, as BBR does. Pure: time is an argument.

/** The target is twice the round trip of the idle link plus this, in ms: what a process needs to take its turns. */
const TARGET_SLACK_MS = 0.3;
/** Where it begins, in bytes: as much as a local link needs. */
const FIRST_LIMIT_BYTES = 1024 * 1024;
const MIN_LIMIT_BYTES = 128 * 1024;
const MAX_LIMIT_BYTES = 64 * 1024 * 1024;
/** A probe goes with every so many parts of the limit: the answers keep the data moving. */
const PROBES_PER_LIMIT = 4;
/** Probes without an answer, at most: a peer that never answers is sent data all the same. */
const MAX_PROBES = 256;
/** One answer changes the limit by this factor at most: single late answers say little. */
const MAX_STEP = 1.25;
/** The queue runs dry for one answer this often while the limit holds data back, in ms. */
const DRAIN_INTERVAL_MS = 5000;
/** Small messages may go beyond the limit by this: they are what it is kept for. In bytes. */
const SMALL_SLACK_BYTES = 64 * 1024;
/** A peer that does not answer for this long is not held to the limit, in ms. */
export const ANSWER_TIMEOUT_MS = 2000;
/** Opaque values of probes have this bit, other pings do not. */
const PROBE_BIT = 0x8000_0000;

interface Probe {
  readonly opaque: number;
  /** Bytes sent before it. */
  readonly mark: number;
  readonly sentAt: number;
  /** So little was on its way that the answer tells what the link itself takes. */
  readonly isClean: boolean;
}

export class InFlight {
  private limit = FIRST_LIMIT_BYTES;
  private acknowledged = 0;
  private lastMark = 0;
  private nextOpaque = 0;
  private readonly probes: Probe[] = [];
  private isLimiting = false;
  private isSuspended = false;
  private mayServe = true;
  private isDraining = false;
  private nextDrainAt = 0;

  /** Bytes of bulk that may follow after `sent` bytes since the start. */
  room(sent: number): number {
    if (this.isSuspended) return Number.MAX_SAFE_INTEGER;
    const room = this.limitNow - (sent - this.acknowledged);
    if (room <= 0) this.isLimiting = true;
    return room;
  }

  /** As {@link room}, for small messages. */
  smallRoom(sent: number): number {
    return this.isSuspended ? Number.MAX_SAFE_INTEGER : this.limitNow + SMALL_SLACK_BYTES - (sent - this.acknowledged);
  }

  /** Once for every answer: one frame of bulk may go whatever the room, so that small messages cannot shut it out. */
  takeTurn(): boolean {
    const may = this.mayServe;
    this.mayServe = false;
    return may;
  }

  /** Whether a probe should follow after `sent` bytes. */
  isProbeDue(sent: number): boolean {
    return this.probes.length < MAX_PROBES && sent - this.lastMark >= this.limitNow / PROBES_PER_LIMIT;
  }

  /** The opaque value of the ping to send after `sent` bytes. */
  probe(sent: number, now: number): number {
    const opaque = (PROBE_BIT | this.nextOpaque) >>> 0;
    this.nextOpaque = (this.nextOpaque + 1) & ~PROBE_BIT;
    this.lastMark = sent;
    this.probes.push({ opaque, mark: sent, sentAt: now, isClean: sent - this.acknowledged <= MIN_LIMIT_BYTES });
    return opaque;
  }

  /**
   * The peer has answered a ping: how long that took in ms, or -1 when it was none of ours.
   * @param leastMs the smallest recent round trip of the link in ms, 0 while there is none
   */
  onAnswer(opaque: number, now: number, leastMs: number): number {
    const index = this.probes.findIndex((probe) => probe.opaque === opaque);
    if (index < 0) return -1;
    const { mark, sentAt, isClean } = this.probes[index];
    // Answers come in order; what was sent before an answered one has arrived as well.
    this.probes.splice(0, index + 1);
    this.acknowledged = mark;
    this.isSuspended = false;
    this.mayServe = true;
    const tookMs = Math.max(now - sentAt, 0.001);
    if (isClean) {
      if (this.isDraining) this.nextDrainAt = now + DRAIN_INTERVAL_MS;
      this.isDraining = false;
      return tookMs;
    }
    if (now >= this.nextDrainAt && this.isLimiting) this.isDraining = true;
    // No queue makes an answer early: the smallest is the nearest to what the link itself takes.
    const baseMs = leastMs > 0 ? Math.min(leastMs, tookMs) : tookMs;
    if (!this.isDraining) this.adapt(tookMs, 2 * baseMs + TARGET_SLACK_MS);
    return tookMs;
  }

  /** No answers within {@link ANSWER_TIMEOUT_MS}: the limit is off until one comes. True when that is so at `now`. */
  checkAnswers(now: number): boolean {
    if (this.probes.length > 0 && now - this.probes[0].sentAt >= ANSWER_TIMEOUT_MS) this.isSuspended = true;
    return this.isSuspended;
  }

  get isWaiting(): boolean {
    return this.probes.length > 0;
  }

  get limitBytes(): number {
    return this.limit;
  }

  private get limitNow(): number {
    return this.isDraining ? MIN_LIMIT_BYTES : this.limit;
  }

  private adapt(tookMs: number, targetMs: number): void {
    const factor = Math.min(MAX_STEP, Math.max(1 / MAX_STEP, targetMs / tookMs));
    if (factor > 1 && !this.isLimiting) return;
    this.isLimiting = false;
    this.limit = Math.round(Math.min(MAX_LIMIT_BYTES, Math.max(MIN_LIMIT_BYTES, this.limit * factor)));
  }
}
