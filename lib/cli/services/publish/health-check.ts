// Checks a service again and again, and reports when it becomes healthy or unhealthy.

import { Health, type HealthLimits } from './health.js';
import type { Probe } from './probe.js';
import type { Target } from './target.js';

export interface CheckOptions extends HealthLimits {
  readonly probe: Probe;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** Waits before the checks up to the first success: 50 ms, doubled each time up to a second, or to the interval if that is shorter. */
const FIRST_WAIT_MS = 50;
const LONGEST_FIRST_WAIT_MS = 1_000;
/** Each wait is up to this share longer or shorter, so that the checks of many services do not come at once. */
const JITTER = 0.1;

export class HealthCheck {
  private readonly health: Health;
  private timer: NodeJS.Timeout | undefined;
  private isRunning = false;
  private wasHealthy = false;
  private checks = 0;
  /** Results of an earlier run do not count. */
  private run = 0;

  /** @param onChange called with each change of the verdict, and why */
  constructor(
    private readonly target: () => Target,
    private readonly options: CheckOptions,
    private readonly onChange: (isHealthy: boolean, fault: string | undefined) => void,
  ) {
    this.health = new Health(options);
  }

  get isHealthy(): boolean {
    return this.health.isHealthy;
  }

  get fault(): string | undefined {
    return this.health.fault;
  }

  /** Begins with a check at once. */
  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.wasHealthy = false;
    this.checks = 0;
    void this.check(++this.run);
  }

  stop(): void {
    this.isRunning = false;
    this.run++;
    clearTimeout(this.timer);
  }

  /** Stops, as the service is down for sure. */
  fail(fault: string): void {
    this.stop();
    if (this.health.fail(fault)) this.onChange(false, fault);
  }

  private async check(run: number): Promise<void> {
    const { probe, timeoutMs } = this.options;
    let fault: string | undefined;
    try {
      await probe(this.target(), timeoutMs);
    } catch (error) {
      fault = (error as Error).message;
    }
    if (run !== this.run) return;
    this.checks++;
    if (fault === undefined) this.wasHealthy = true;
    if (this.health.observe(fault)) this.onChange(this.health.isHealthy, fault);
    if (run === this.run) this.timer = setTimeout(() => void this.check(run), this.waitMs());
  }

  private waitMs(): number {
    const { intervalMs } = this.options;
    const firstMs = Math.min(LONGEST_FIRST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.checks, 20));
    const waitMs = this.wasHealthy ? intervalMs : Math.min(intervalMs, firstMs);
    return waitMs * (1 + JITTER * (2 * Math.random() - 1));
  }
}
