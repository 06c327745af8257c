import { nowMs } from './clock.mjs';

const BIN_MS = 10;
const MOST_BINS = 60_000;
/** Until so many bytes have arrived, a transfer counts as starting up. */
export const START_BYTES = 4 * 1024 * 1024;

/** When how many bytes arrived, in a resolution of BIN_MS; between processes it goes as plain data. */
export class Arrivals {
  /** @param {{ fromMs: number, bins: Float64Array, startedMs: number }} [data] */
  constructor(
    { fromMs, bins, startedMs } = { fromMs: nowMs(), bins: new Float64Array(MOST_BINS), startedMs: Number.NaN },
  ) {
    this.fromMs = fromMs;
    this.bins = bins;
    /** When START_BYTES had arrived; NaN before. */
    this.startedMs = startedMs;
    this.bytes = bins.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** @param {number} bytes that arrive now */
  add(bytes) {
    const now = nowMs();
    const index = Math.floor((now - this.fromMs) / BIN_MS);
    if (index >= this.bins.length) throw new Error('the run is longer than what is kept of it');
    this.bins[index] += bytes;
    if (this.bytes < START_BYTES && this.bytes + bytes >= START_BYTES) this.startedMs = now;
    this.bytes += bytes;
  }

  /**
   * Returns the rate in Mbit/s between two moments of the monotonic clock; of the bins that are cut, their share.
   *
   * @param {number} beginMs
   * @param {number} endMs
   */
  mbitPerS(beginMs, endMs) {
    const begin = (beginMs - this.fromMs) / BIN_MS;
    const end = (endMs - this.fromMs) / BIN_MS;
    let bytes = 0;
    for (let i = Math.max(0, Math.floor(begin)); i < Math.min(end, this.bins.length); i++) {
      bytes += this.bins[i] * (Math.min(i + 1, end) - Math.max(i, begin));
    }
    return (bytes * 8) / 1000 / (endMs - beginMs);
  }

  toData() {
    return { fromMs: this.fromMs, bins: this.bins, startedMs: this.startedMs };
  }
}
