import { readFileSync } from 'node:fs';

/** Ticks a second of `utime` and `stime` in /proc: constant for user space, independent of the kernel's own tick. */
const TICKS_PER_SECOND = 100;
const FIELD_UTIME = 14;
const FIELD_STIME = 15;

/**
 * The CPU time that a process has used since its start, all its threads included.
 *
 * @param {number} pid
 * @returns {number} seconds
 */
function cpuSeconds(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field, the name, is in brackets and may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[FIELD_UTIME - 3]) + Number(fields[FIELD_STIME - 3])) / TICKS_PER_SECOND;
}

/** How busy other processes were between the two ends of a measurement. */
export class CpuMeter {
  /** @param {readonly number[]} [pids] none: there is no such process, and no figure */
  constructor(pids = []) {
    this.pids = pids;
    /** CPU seconds per second, of all of them; NaN until the measurement ends. */
    this.load = Number.NaN;
  }

  onWarm() {
    if (this.pids.length === 0) return;
    this.fromSeconds = this.seconds;
    this.fromMs = performance.now();
  }

  onDone() {
    if (this.fromSeconds === undefined || this.fromMs === undefined) return;
    this.load = ((this.seconds - this.fromSeconds) * 1000) / (performance.now() - this.fromMs);
  }

  /**
   * What the relay's share of the work costs, by the rate that was measured meanwhile.
   *
   * @param {string} key
   * @param {number} perSecond units of work
   * @returns {Record<string, number>} nothing without a relay
   */
  perUnit(key, perSecond) {
    return this.pids.length === 0 ? {} : { load: this.load * 100, [key]: this.load / perSecond };
  }

  get seconds() {
    return this.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  }
}
