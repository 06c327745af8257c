// What the option `resilience` makes of dials. A policy keeps what it knows of services and instances; dials with equal options share
// one. Names come from users and from peers, so that all of it is bounded, and what was used longest ago is forgotten.

import { type StarlaneError, starlaneError } from '../../errors.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { type Resilience, type ResilienceOptions, resolveResilience } from '../../options/resilience.js';
import { RecentMap } from '../../util/recent-map.js';
import { type Rate, TokenBucket } from '../../util/token-bucket.js';
import type { DialTarget } from '../dial/dial-target.js';
import { Breaker } from './breaker.js';
import { InstanceRecord, withoutEjected } from './ejection.js';
import { OpenTimes } from './open-times.js';
import { RetryBudget } from './retry-budget.js';
import { WatchedDial } from './watched-dial.js';

/** Policies of dials that have options of their own. */
const MAX_POLICIES = 16;
const MAX_SERVICES = 512;
const MAX_INSTANCES = 256;
/** The shortest time after which a second instance is asked, in ms: below it, waiting costs less than asking. */
const MIN_HEDGE_MS = 1;
/** Dials that find a breaker open are many. */
const WARNINGS: Rate = { perS: 0.1, burst: 10 };
const QUIET_MS = 60_000;

/** Counts since the start. */
export interface ResilienceCounters {
  /** Dials that asked a further instance after a failure. */
  retries: number;
  /** Dials that failed since the retry budget was spent. */
  budgetSpent: number;
  /** Dials that asked a second instance besides the first, and how often that one was faster. */
  hedges: number;
  hedgesWon: number;
  /** Dials that a breaker has not let through, and how often one has opened. */
  rejected: number;
  breakersOpened: number;
  /** How often an instance was ejected. */
  ejections: number;
}

function noCounts(): ResilienceCounters {
  return { retries: 0, budgetSpent: 0, hedges: 0, hedgesWon: 0, rejected: 0, breakersOpened: 0, ejections: 0 };
}

/** What a policy knows of an address that is dialled. */
export class ServiceState {
  readonly breaker: Breaker | undefined;
  readonly budget: RetryBudget | undefined;
  readonly hedgeBudget: RetryBudget | undefined;
  readonly times: OpenTimes | undefined;
  readonly instances = new RecentMap<string, InstanceRecord>(MAX_INSTANCES);
  quietUntilMs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly target: DialTarget,
    { circuitBreaker, retryBudget, hedge }: Resilience,
  ) {
    this.breaker = circuitBreaker === undefined ? undefined : new Breaker(circuitBreaker);
    this.budget = retryBudget === undefined ? undefined : new RetryBudget(retryBudget.ratio, retryBudget.minPerSecond);
    this.hedgeBudget = hedge === undefined ? undefined : new RetryBudget(hedge.maxShare, 1);
    this.times = hedge === undefined ? undefined : new OpenTimes(hedge.percentile);
  }
}

interface PolicyOwner {
  readonly now: () => number;
  readonly counters: ResilienceCounters;
  warn(error: Error): void;
}

export class Policy {
  private readonly states = new RecentMap<string, ServiceState>(MAX_SERVICES);
  /** Those whose breakers may be open, in the order in which they opened: services come by the thousand. */
  private readonly opened = new Set<ServiceState>();

  constructor(
    readonly terms: Resilience,
    readonly owner: PolicyOwner,
  ) {}

  begin(target: DialTarget): WatchedDial {
    return new WatchedDial(this, target);
  }

  get now(): number {
    return this.owner.now();
  }

  stateOf(target: DialTarget): ServiceState {
    const { key } = target;
    let state = this.states.get(key);
    if (state === undefined) {
      state = new ServiceState(target, this.terms);
      this.states.set(key, state);
    }
    return state;
  }

  /** Returns the instances of a service that are not left out. */
  healthy(target: DialTarget, all: readonly ServiceInstance[]): readonly ServiceInstance[] {
    const { outlierEjection } = this.terms;
    if (outlierEjection === undefined || all.length < 2) return all;
    const { instances } = this.stateOf(target);
    if (instances.size === 0) return all;
    const untilMs = (instance: ServiceInstance): number =>
      instances.peek(keyOf(instance))?.ejectedUntilMs ?? Number.NEGATIVE_INFINITY;
    return withoutEjected(all, untilMs, outlierEjection.maxShare, this.now);
  }

  /** Returns after how long a second instance is asked, in ms; Infinity: never. */
  hedgeMs(target: DialTarget): number {
    const { hedge } = this.terms;
    if (hedge === undefined) return Number.POSITIVE_INFINITY;
    if (hedge.delayMs !== Number.POSITIVE_INFINITY) return hedge.delayMs;
    return Math.max(MIN_HEDGE_MS, this.stateOf(target).times?.limitMs ?? Number.POSITIVE_INFINITY);
  }

  onFault(target: DialTarget, instance: ServiceInstance | null): void {
    const record = this.recordOf(target, instance);
    if (record?.onFailure(this.now)) this.owner.counters.ejections++;
  }

  /** @param tookMs for the whole open. @param answeredMs since the last OPEN was sent */
  onConnected(target: DialTarget, instance: ServiceInstance | null, tookMs: number, answeredMs: number): void {
    this.stateOf(target).times?.add(tookMs);
    this.recordOf(target, instance)?.onSuccess(this.now);
    this.onAnswer(target, instance, answeredMs);
  }

  /** Takes the time of an answer, or the time after which a faster one was taken. */
  onAnswer(target: DialTarget, instance: ServiceInstance | null, tookMs: number): void {
    if (
      instance === null ||
      (this.terms.outlierEjection?.latencyFactor ?? Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY
    )
      return;
    const record = this.recordOf(target, instance);
    // Distance is no fault: what a server takes counts, not the way there.
    if (record?.onAnswer(tookMs - instance.cost) !== true) return;
    const others: number[] = [];
    for (const other of this.stateOf(target).instances.values()) {
      if (other !== record && other.answerMs !== undefined) others.push(other.answerMs);
    }
    if (record.compare(others, this.now)) this.owner.counters.ejections++;
  }

  /** Returns the error of a dial that is not let through. */
  reject({ name }: DialTarget, waitMs: number): Error {
    this.owner.counters.rejected++;
    return breakerError(name, waitMs);
  }

  /** Called when a breaker has opened. Warns once a minute for each service. */
  onOpened(state: ServiceState): void {
    const { now, owner } = this;
    owner.counters.breakersOpened++;
    this.opened.add(state);
    for (const first of this.opened) {
      if (this.opened.size <= MAX_SERVICES) break;
      this.opened.delete(first);
    }
    if (now < state.quietUntilMs) return;
    state.quietUntilMs = now + QUIET_MS;
    owner.warn(breakerError(state.target.name, state.breaker?.waitMs(now) ?? 0));
  }

  /** Lets a dial through to a service of which a new instance has come, although its breaker is open. */
  onService(instance: ServiceInstance): void {
    for (const state of this.opened) {
      const { breaker, target } = state;
      if (breaker?.isOpen !== true) this.opened.delete(state);
      else if (target.fits(instance)) breaker.hasten(this.now);
    }
  }

  /** Services whose breakers are open, and instances that are left out, now. */
  count(): { open: number; ejected: number } {
    let open = 0;
    let ejected = 0;
    for (const { breaker, instances } of this.states.values()) {
      if (breaker?.isOpen) open++;
      for (const record of instances.values()) if (record.isEjected(this.now)) ejected++;
    }
    return { open, ejected };
  }

  private recordOf(target: DialTarget, instance: ServiceInstance | null): InstanceRecord | undefined {
    const { outlierEjection } = this.terms;
    if (outlierEjection === undefined || instance === null) return undefined;
    const { instances } = this.stateOf(target);
    const key = keyOf(instance);
    let record = instances.get(key);
    if (record === undefined) {
      record = new InstanceRecord(outlierEjection);
      instances.set(key, record);
    }
    return record;
  }
}

/** All policies of a node. */
export class Policies {
  readonly counters = noCounts();
  /** That of the node; undefined: none. */
  readonly normal: Policy | undefined;
  private readonly others = new RecentMap<string, Policy>(MAX_POLICIES);
  private readonly owner: PolicyOwner;
  private readonly warnings = new TokenBucket(WARNINGS);

  constructor(terms: Resilience | undefined, now: () => number, warn: (error: Error) => void) {
    const limited = (error: Error): void => {
      if (!this.warnings.canTake(now())) return;
      this.warnings.take(now());
      warn(error);
    };
    this.owner = { now, counters: this.counters, warn: limited };
    this.normal = terms === undefined ? undefined : new Policy(terms, this.owner);
  }

  /** Returns the policy of a dial with this option. @throws ERR_STARLANE_OPTION */
  of(option: ResilienceOptions | false | undefined): Policy | undefined {
    if (option === undefined) return this.normal;
    const terms = option === false ? undefined : resolveResilience(option);
    if (terms === undefined) return undefined;
    const key = JSON.stringify(terms);
    let policy = this.others.get(key);
    if (policy === undefined) {
      policy = new Policy(terms, this.owner);
      this.others.set(key, policy);
    }
    return policy;
  }

  onService(instance: ServiceInstance): void {
    this.normal?.onService(instance);
    for (const policy of this.others.values()) policy.onService(instance);
  }

  /** Services whose breakers are open, and instances that are left out, now. */
  count(): { open: number; ejected: number } {
    const counts = this.normal?.count() ?? { open: 0, ejected: 0 };
    for (const policy of this.others.values()) {
      const { open, ejected } = policy.count();
      counts.open += open;
      counts.ejected += ejected;
    }
    return counts;
  }
}

/** Returns the error of a dial that a breaker does not let through for so long. */
function breakerError(name: string, waitMs: number): StarlaneError {
  const retryAfterMs = Math.ceil(waitMs);
  const error = starlaneError(
    'ERR_STARLANE_BREAKER_OPEN',
    `${name}, of which the next dial is let through in ${retryAfterMs} ms`,
  );
  return Object.assign(error, { retryAfterMs });
}

function keyOf({ nodeId, service, port }: ServiceInstance): string {
  return `${nodeId} ${service}:${port}`;
}
