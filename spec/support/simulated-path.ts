// A path in virtual time, for the model of a sender: a bottleneck with a rate and a queue, a round trip, losses that are sent again one
// round trip later while all behind them waits, and ends that are busy for a while. The sender always has more to send.

import { PathModel } from '../../lib/mux/send/path-model.js';

export interface PathConditions {
  mibPerS: number;
  rttMs: number;
  /** Packets lost, 0 to 1. */
  loss?: number;
  /** How long both ends stall, every `stallEveryMs` on average. */
  stallMs?: number;
  stallEveryMs?: number;
  /** The peer sends as much as this side. */
  isTwoWay?: boolean;
}

const MIB = 1024 * 1024;
const PACKET_BYTES = 1448;
/** What kernels and sockets take without a limit by the model. */
const BUFFER_BYTES = 4 * MIB;

interface Marker {
  readonly opaque: number;
  arrivesAt: number;
}

export class SimulatedPath {
  readonly model = new PathModel();
  now = 0;
  sent = 0;
  /** Bytes that the peer has read, by the times in ms at which it did. */
  private readonly arrivals: Array<{ at: number; bytes: number }> = [];
  private readonly answers: Marker[] = [];
  private freeAt = 0;
  private inOrderAt = 0;
  private nextStallAt = Number.POSITIVE_INFINITY;
  private state: number;
  conditions: PathConditions;
  /** Nothing passes before this. */
  private darkUntil = 0;

  constructor(conditions: PathConditions, seed = 1) {
    this.conditions = conditions;
    this.state = seed * 0x9e37_79b9 + 1;
    // A session pings at its start, while nothing is on its way.
    this.model.onIdleAnswer(conditions.rttMs, 0);
    if (conditions.stallEveryMs !== undefined) this.nextStallAt = conditions.stallEveryMs;
  }

  /** Sends and receives for so long. */
  run(forMs: number): void {
    const end = this.now + forMs;
    while (this.now < end) {
      this.fill();
      const next = this.answers.length > 0 ? this.answers[0].arrivesAt : end;
      this.now = Math.min(Math.max(this.now, next), end);
      if (this.now >= this.nextStallAt) this.stall();
      while (this.answers.length > 0 && this.answers[0].arrivesAt <= this.now) {
        const answer = this.answers.shift() as Marker;
        this.model.onAnswer(answer.opaque, this.sent, this.now, this.conditions.isTwoWay ? this.sent : 0);
      }
    }
  }

  /** Nothing passes for so long; what was on its way arrives behind that, as a kernel would send it again. */
  darken(forMs: number): void {
    this.darkUntil = this.now + forMs;
    for (const answer of this.answers)
      answer.arrivesAt = Math.max(answer.arrivesAt, this.darkUntil + this.conditions.rttMs);
    this.freeAt = Math.max(this.freeAt, this.darkUntil);
    this.inOrderAt = Math.max(this.inOrderAt, this.darkUntil);
  }

  /** MiB a second that have arrived in the last `overMs`. */
  mibPerS(overMs: number): number {
    let bytes = 0;
    for (let index = this.arrivals.length - 1; index >= 0; index--) {
      const { at, bytes: count } = this.arrivals[index];
      if (at > this.now) continue;
      if (at <= this.now - overMs) break;
      bytes += count;
    }
    return bytes / MIB / (overMs / 1000);
  }

  /** What a small message would take now beyond the round trip: the queue ahead of it, in ms. */
  get queueMs(): number {
    return Math.max(0, this.freeAt - this.now);
  }

  /** As a session fills a batch. */
  private fill(): void {
    const { model } = this;
    const room = (): number => Math.min(model.room(this.sent), BUFFER_BYTES - this.onItsWay);
    if (room() <= 0 && !model.takeTurn()) return;
    do {
      this.send(model.frameBytes);
      if (model.isProbeDue(this.sent)) {
        const opaque = model.probe(this.sent, this.now);
        this.answers.push({ opaque, arrivesAt: this.inOrderAt + this.conditions.rttMs / 2 });
      }
    } while (room() > 0);
  }

  private get onItsWay(): number {
    return (Math.max(0, this.freeAt - this.now) * this.conditions.mibPerS * MIB) / 1000;
  }

  private send(bytes: number): void {
    this.sent += bytes;
    const { mibPerS, rttMs, loss = 0 } = this.conditions;
    const packetMs = (PACKET_BYTES * 1000) / (mibPerS * MIB);
    // In local variables: fast links send tens of millions of packets.
    let freeAt = Math.max(this.freeAt, this.now, this.darkUntil);
    let { inOrderAt } = this;
    for (let left = bytes; left > 0; left -= PACKET_BYTES) {
      freeAt += left < PACKET_BYTES ? (left * 1000) / (mibPerS * MIB) : packetMs;
      let arrivesAt = freeAt + rttMs / 2;
      while (loss > 0 && this.random() < loss) arrivesAt += rttMs;
      if (arrivesAt > inOrderAt) inOrderAt = arrivesAt;
    }
    this.freeAt = freeAt;
    this.inOrderAt = inOrderAt;
    this.arrivals.push({ at: this.inOrderAt, bytes });
  }

  private stall(): void {
    const { stallMs = 0, stallEveryMs = 0 } = this.conditions;
    this.now += stallMs * (0.5 + this.random());
    this.nextStallAt = this.now + stallEveryMs * (0.5 + this.random());
  }

  private random(): number {
    this.state = (Math.imul(this.state ^ (this.state >>> 15), 0x2c1b_3c6d) + 0x6d2b_79f5) | 0;
    const mixed = Math.imul(this.state ^ (this.state >>> 12), 0x297a_2d39);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000;
  }
}
