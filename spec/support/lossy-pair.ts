// Two Duplexes like the ends of a TCP connection over a path that delays and loses, by a clock that a spec moves: what is lost is
// sent again, and all behind it waits. The path is that of the simulation.

import { Duplex } from 'node:stream';
import { type PathConditions, Paths, type Place } from '../../bench/simulation/paths.js';
import { Random } from '../../bench/simulation/random.js';
import type { FakeClock } from './fake-clock.js';

type WriteCallback = (error?: Error | null) => void;

/** What may be on its way before a writer has to wait. */
const BUFFER_BYTES = 128 * 1024;

export interface LossyConditions extends PathConditions {
  readonly bytesPerMs: number;
  readonly seed: number;
}

export class LossyEnd extends Duplex {
  private other: LossyEnd | undefined;
  private waiting: WriteCallback | undefined;
  private underway = 0;
  private freeAtMs = 0;
  private arrivalMs = 0;

  constructor(
    private readonly clock: FakeClock,
    private readonly paths: Paths,
    private readonly places: readonly [Place, Place],
    private readonly bytesPerMs: number,
  ) {
    super({ allowHalfOpen: true });
  }

  join(other: LossyEnd): void {
    this.other = other;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    const { clock, paths, places } = this;
    const now = clock.now();
    this.freeAtMs = Math.max(this.freeAtMs, now) + chunk.length / this.bytesPerMs;
    const tookMs = paths.latencyMs(...places) + paths.lateMs(...places, chunk.length);
    this.arrivalMs = Math.max(this.arrivalMs, this.freeAtMs + tookMs);
    this.underway += chunk.length;
    const bytes = Buffer.from(chunk);
    clock.setTimeout(() => this.arrive(bytes), this.arrivalMs - now);
    if (this.underway > BUFFER_BYTES) this.waiting = callback;
    else callback();
  }

  override _final(callback: WriteCallback): void {
    callback();
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    callback(error);
    const { other } = this;
    if (other !== undefined) setImmediate(() => other.destroy());
  }

  private arrive(bytes: Buffer): void {
    this.underway -= bytes.length;
    if (this.other?.destroyed === false) this.other.push(bytes);
    if (this.underway > BUFFER_BYTES) return;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }
}

export function lossyPair(
  clock: FakeClock,
  { bytesPerMs, seed, ...conditions }: LossyConditions,
): [LossyEnd, LossyEnd] {
  const paths = new Paths('uniform', new Random(seed), conditions);
  const place = (index: number): Place => ({ index, x: 0, y: 0, extraMs: 0, side: 0 });
  const [here, there] = [place(0), place(1)];
  const near = new LossyEnd(clock, paths, [here, there], bytesPerMs);
  const far = new LossyEnd(clock, paths, [there, here], bytesPerMs);
  near.join(far);
  far.join(near);
  return [near, far];
}
