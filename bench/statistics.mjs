/**
 * The middle value; the mean of the middle two of an even number.
 *
 * @param {number[]} values
 * @returns {number}
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Times in milliseconds, kept without an allocation each, for percentiles; beyond `capacity` the oldest are overwritten. */
export class Samples {
  /** @param {number} [capacity] */
  constructor(capacity = 1 << 20) {
    this.values = new Float64Array(capacity);
    this.count = 0;
  }

  /** @param {number} value */
  add(value) {
    this.values[this.count % this.values.length] = value;
    this.count += 1;
  }

  clear() {
    this.count = 0;
  }

  /**
   * @param {number[]} percents 0..100, e.g. [50, 99]
   * @returns {number[]} the values at those percentiles (nearest rank); NaN without samples
   */
  percentiles(percents) {
    const sorted = this.values.slice(0, Math.min(this.count, this.values.length)).sort();
    return percents.map((percent) =>
      sorted.length === 0 ? Number.NaN : sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)],
    );
  }
}

/**
 * @typedef {object} WindowEvents
 * @property {() => void} [onWarm] the measurement begins
 * @property {() => void} [onDone] the measurement ends
 */

/**
 * How much a counter grew between the end of the warm-up and the end of the measurement, by this process's clock at the
 * very moment of reading, so that a late timer lengthens the window instead of falsifying the rate.
 */
export class RateWindow {
  /**
   * @param {{ warmupMs: number, measureMs: number }} times
   * @param {() => number} read the counter
   * @param {WindowEvents} [events]
   */
  constructor(times, read, events = {}) {
    this.times = times;
    this.read = read;
    this.events = events;
    this.started = false;
    /** Growth per second; NaN until the window ends. */
    this.perSecond = Number.NaN;
    this.countBefore = 0;
    this.warmAt = Number.NaN;
  }

  /** Starts the warm-up; later calls do nothing. */
  start() {
    if (this.started) return;
    this.started = true;
    setTimeout(() => {
      this.events.onWarm?.();
      this.countBefore = this.read();
      this.warmAt = performance.now();
      setTimeout(() => this.close(), this.times.measureMs);
    }, this.times.warmupMs);
  }

  /** Ends the measurement, for a counter that is about to stop growing; nothing when it has already ended. */
  close() {
    if (!Number.isNaN(this.perSecond) || Number.isNaN(this.warmAt)) return;
    this.perSecond = ((this.read() - this.countBefore) * 1000) / (performance.now() - this.warmAt);
    this.events.onDone?.();
  }
}
