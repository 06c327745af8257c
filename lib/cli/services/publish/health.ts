// Whether a service is healthy, from the results of its checks: pure.

export interface HealthLimits {
  /** So many successes in a row make it healthy again. The first one of all is enough. */
  readonly rise: number;
  /** So many failures in a row make it unhealthy. */
  readonly fall: number;
}

export class Health {
  /** Undefined before the first success or enough failures. */
  private verdict: boolean | undefined;
  private inRow = 0;
  private lastFault: string | undefined;

  constructor(private readonly limits: HealthLimits) {}

  get isHealthy(): boolean {
    return this.verdict === true;
  }

  /** Why the last check failed; undefined when it passed. */
  get fault(): string | undefined {
    return this.lastFault;
  }

  /** Takes the result of a check: undefined for a success, else why it failed. Returns whether the verdict has changed. */
  observe(fault: string | undefined): boolean {
    const isSuccess = fault === undefined;
    const { rise, fall } = this.limits;
    this.lastFault = fault;
    if (isSuccess === this.verdict) {
      this.inRow = 0;
      return false;
    }
    this.inRow++;
    const needed = isSuccess ? (this.verdict === undefined ? 1 : rise) : this.verdict === undefined ? 1 : fall;
    if (this.inRow < needed) return false;
    return this.decide(isSuccess);
  }

  /** Takes that it is down for sure, as when its program has ended. Returns whether the verdict has changed. */
  fail(fault: string): boolean {
    this.lastFault = fault;
    return this.verdict === false ? false : this.decide(false);
  }

  private decide(verdict: boolean): boolean {
    const hasChanged = this.verdict !== verdict;
    this.verdict = verdict;
    this.inRow = 0;
    return hasChanged;
  }
}
