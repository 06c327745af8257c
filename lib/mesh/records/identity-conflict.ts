// What to do when the own identity turns up elsewhere, newer than here. After a restart that is the own past, and one step
// beyond it settles the matter. When it comes back again and again, another process has the same key: then every step is
// answered by another one, and all the network has to hear both. So the steps become rare. Pure.

const WINDOW_MS = 60_000;
const MAX_STEPS = 3;
const MIN_DELAY_MS = 1_000;
const MAX_DELAY_MS = 60_000;
const CALM_MS = 5 * 60_000;

export class IdentityDispute {
  /** Of the last minute. */
  private steps: number[] = [];
  private lastMs = Number.NEGATIVE_INFINITY;
  /** 0 as long as nothing is wrong. */
  private delayMs = 0;

  /** Another process has this identity, as far as one can tell. */
  get isOn(): boolean {
    return this.delayMs > 0;
  }

  /** The identity has turned up: how long to wait before going beyond it. */
  onEcho(now: number): number {
    if (now - this.lastMs > CALM_MS) this.delayMs = 0;
    this.lastMs = now;
    this.steps = this.steps.filter((at) => now - at < WINDOW_MS);
    this.steps.push(now);
    if (this.isOn) this.delayMs = Math.min(2 * this.delayMs, MAX_DELAY_MS);
    else if (this.steps.length > MAX_STEPS) this.delayMs = MIN_DELAY_MS;
    return this.delayMs;
  }
}
