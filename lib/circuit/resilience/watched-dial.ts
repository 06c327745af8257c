// One dial as a policy sees it: whether it may go to a service, how often it may try again, and what its end says about the services that
// it has tried.

import type { ServiceInstance } from '../../mesh/directory/service.js';
import type { DialTarget } from '../dial/dial-target.js';
import type { BreakerTicket } from './breaker.js';
import type { Policy, ServiceState } from './policy.js';

interface Visit {
  readonly state: ServiceState;
  readonly ticket: BreakerTicket | undefined;
  hasFailed: boolean;
}

export class WatchedDial {
  /** The service, or all of them: retries count for what was dialled. */
  private readonly whole: ServiceState;
  private readonly visits = new Map<ServiceState, Visit>();
  private connectedTo: ServiceState | undefined;

  constructor(
    private readonly policy: Policy,
    target: DialTarget,
  ) {
    this.whole = policy.stateOf(target);
    const { now } = policy;
    this.whole.budget?.onDial(now);
    this.whole.hedgeBudget?.onDial(now);
  }

  private get now(): number {
    return this.policy.now;
  }

  /** Returns how long the breaker of a service lets no dial through, in ms; 0: it does. */
  waitMs(target: DialTarget): number {
    const state = this.policy.stateOf(target);
    // This dial is let through already, and may try other instances.
    if (state.breaker === undefined || this.visits.has(state)) return 0;
    return state.breaker.waitMs(this.now);
  }

  /** Returns why it is not let through to any of these, and counts it; undefined when it is. */
  rejection(targets: readonly DialTarget[]): Error | undefined {
    if (targets.length === 0) return undefined;
    let soonest = targets[0];
    for (const target of targets) {
      const waitMs = this.waitMs(target);
      if (waitMs === 0) return undefined;
      if (waitMs < this.waitMs(soonest)) soonest = target;
    }
    return this.policy.reject(soonest, this.waitMs(soonest));
  }

  healthy(target: DialTarget, all: readonly ServiceInstance[]): readonly ServiceInstance[] {
    return this.policy.healthy(target, all);
  }

  /** Called when the dial goes to an instance of a service. */
  onOpen(target: DialTarget): void {
    const state = this.policy.stateOf(target);
    if (this.visits.has(state)) return;
    this.visits.set(state, { state, ticket: state.breaker?.begin(), hasFailed: false });
  }

  /** Returns whether a further instance may be asked after a failure, and counts it if so. */
  tryRetry(): boolean {
    const { budget } = this.whole;
    const { now } = this;
    if (budget === undefined || budget.canTake(now)) {
      budget?.take(now);
      return true;
    }
    this.policy.owner.counters.budgetSpent++;
    return false;
  }

  /** Whether a second instance may be asked, so that nothing is sent before one has answered. */
  get mayHedge(): boolean {
    return this.whole.hedgeBudget !== undefined;
  }

  /** Returns after how long a second instance is asked, in ms; Infinity: never. */
  hedgeMs(target: DialTarget): number {
    return this.policy.hedgeMs(target);
  }

  /** Returns whether a second instance may be asked, and counts it if so. */
  tryHedge(): boolean {
    const { budget, hedgeBudget } = this.whole;
    const { now } = this;
    if (hedgeBudget?.canTake(now) !== true || budget?.canTake(now) === false) return false;
    hedgeBudget.take(now);
    budget?.take(now);
    return true;
  }

  /** Called when an instance has failed. */
  onFault(target: DialTarget, instance: ServiceInstance | null): void {
    this.policy.onFault(target, instance);
    const visit = this.visits.get(this.policy.stateOf(target));
    if (visit !== undefined) visit.hasFailed = true;
  }

  /** Called when the dial is connected. Times as {@link Policy.onConnected} has them. */
  onConnected(target: DialTarget, instance: ServiceInstance | null, tookMs: number, answeredMs: number): void {
    this.connectedTo = this.policy.stateOf(target);
    this.policy.onConnected(target, instance, tookMs, answeredMs);
  }

  /** Called when another instance was faster. */
  onSlower(target: DialTarget, instance: ServiceInstance | null, waitedMs: number): void {
    this.policy.onAnswer(target, instance, waitedMs);
  }

  /** Called when the dial has ended. */
  onEnd(): void {
    const { now, connectedTo } = this;
    for (const { state, ticket, hasFailed } of this.visits.values()) {
      if (ticket === undefined) continue;
      const outcome = state === connectedTo ? 'connected' : hasFailed ? 'failed' : 'none';
      if (state.breaker?.end(ticket, outcome, now)) this.policy.onOpened(state);
    }
    this.visits.clear();
  }
}
