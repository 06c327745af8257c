// What a dial does about services and instances that fail or are slow. All of it is off unless an option asks for it.

import { optionError } from '../errors.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';

/** Bounds how many instances are asked again: a service that is down everywhere must not get a multiple of its load. */
export interface RetryBudgetOptions {
  /** Retries for each dial, over ten seconds, 0 to 10. Default 0.2. */
  ratio?: number | undefined;
  /** Retries a second that are allowed besides, 0 to 10000. Default 10: few dials may all be tried again. */
  minPerSecond?: number | undefined;
}

/** Makes dials of a service fail at once while it fails everywhere. */
export interface CircuitBreakerOptions {
  /** Failed dials in a row that open the breaker, 1 to 1000000. Default 5. */
  failures?: number | undefined;
  /** The share of failed dials within `windowMs` that opens it as well, above 0 to 1. Default: none. */
  failureRate?: number | undefined;
  /** Dials within `windowMs` before `failureRate` counts, 1 to 1000000. Default 20. */
  minDials?: number | undefined;
  /** The time that `failureRate` looks back, in ms, 100 to 3600000. Default 10000. */
  windowMs?: number | undefined;
  /** How long it is open before one dial is let through to probe, in ms, 1 to 2147483647. Default 5000. */
  openMs?: number | undefined;
}

/** Leaves out instances that fail or are slow, as long as there are others. */
export interface OutlierEjectionOptions {
  /** Failures in a row that eject an instance, 1 to 1000000. Default 5. */
  failures?: number | undefined;
  /** How long it is left out the first time, in ms, 1 to 2147483647. Each further time is longer by as much. Default 30000. */
  ejectMs?: number | undefined;
  /** The longest time, in ms, ejectMs to 2147483647. Default 300000, or ejectMs if that is more. */
  maxEjectMs?: number | undefined;
  /** The share of the instances that may be left out, 0 to 1. One of several may be left out in any case, and never all. Default 0.5. */
  maxShare?: number | undefined;
  /**
   * Ejects an instance, too, whose answers take that many times as long as those of the others in the middle, and at least 50 ms longer,
   * without the round trips of their routes: 1.5 to 1000. Default: none.
   */
  latencyFactor?: number | undefined;
}

/**
 * Asks a second instance when the first takes long. The first answer wins, and the other circuit is reset. Nothing that is written is sent
 * before an instance has answered, so that no two get it: over a direct link, the first data leaves one round trip later.
 */
export interface HedgeOptions {
  /** How long to wait for the first one, in ms, 1 to 2147483647. Default: as long as `percentile` of the recent dials of the service took. */
  delayMs?: number | undefined;
  /** The share of recent dials that are answered before a second instance is asked, 0.5 to 0.999. Default 0.95. */
  percentile?: number | undefined;
  /** Second opens for each dial, over ten seconds, above 0 to 1. Default 0.1. With `retryBudget`, they count there as well. */
  maxShare?: number | undefined;
}

/** What dials do about failures. `true` takes all defaults of a part; a part that is left out is off. */
export interface ResilienceOptions {
  /** Bounds how many instances a dial asks after the first. Default: off, so that a dial asks one after the other while it has time. */
  retryBudget?: boolean | RetryBudgetOptions | undefined;
  /** Fails dials at once while the service fails. Default: off. */
  circuitBreaker?: boolean | CircuitBreakerOptions | undefined;
  /** Leaves out instances that fail. Default: off. */
  outlierEjection?: boolean | OutlierEjectionOptions | undefined;
  /** Asks a second instance early. Default: off, so that one is asked only when a peer is silent for half a second or more. */
  hedge?: boolean | HedgeOptions | undefined;
}

export type RetryBudgetTerms = { readonly [Name in keyof RetryBudgetOptions]-?: number };
export type CircuitBreakerTerms = { readonly [Name in keyof CircuitBreakerOptions]-?: number };
export type OutlierEjectionTerms = { readonly [Name in keyof OutlierEjectionOptions]-?: number };
export type HedgeTerms = { readonly [Name in keyof HedgeOptions]-?: number };

/** The options with their values. A part that is off is undefined; a number that is none is Infinity. */
export interface Resilience {
  readonly retryBudget: RetryBudgetTerms | undefined;
  readonly circuitBreaker: CircuitBreakerTerms | undefined;
  readonly outlierEjection: OutlierEjectionTerms | undefined;
  readonly hedge: HedgeTerms | undefined;
}

interface Range {
  readonly normal: number;
  readonly min: number;
  readonly max: number;
  readonly isInteger?: boolean;
}

const NONE = Number.POSITIVE_INFINITY;
const MAX_COUNT = 1_000_000;
const TIME = { min: 1, max: MAX_TIMEOUT_MS, isInteger: true };
const COUNT = { min: 1, max: MAX_COUNT, isInteger: true };

const RETRY_BUDGET: { readonly [Name in keyof RetryBudgetTerms]: Range } = {
  ratio: { normal: 0.2, min: 0, max: 10 },
  minPerSecond: { normal: 10, min: 0, max: 10_000 },
};
const CIRCUIT_BREAKER: { readonly [Name in keyof CircuitBreakerTerms]: Range } = {
  failures: { normal: 5, ...COUNT },
  failureRate: { normal: NONE, min: 0.001, max: 1 },
  minDials: { normal: 20, ...COUNT },
  windowMs: { normal: 10_000, min: 100, max: 3_600_000, isInteger: true },
  openMs: { normal: 5_000, ...TIME },
};
const OUTLIER_EJECTION: { readonly [Name in keyof OutlierEjectionTerms]: Range } = {
  failures: { normal: 5, ...COUNT },
  ejectMs: { normal: 30_000, ...TIME },
  maxEjectMs: { normal: 300_000, ...TIME },
  maxShare: { normal: 0.5, min: 0, max: 1 },
  latencyFactor: { normal: NONE, min: 1.5, max: 1_000 },
};
const HEDGE: { readonly [Name in keyof HedgeTerms]: Range } = {
  delayMs: { normal: NONE, ...TIME },
  percentile: { normal: 0.95, min: 0.5, max: 0.999 },
  maxShare: { normal: 0.1, min: 0.001, max: 1 },
};

const PARTS: ReadonlySet<string> = new Set(['retryBudget', 'circuitBreaker', 'outlierEjection', 'hedge']);

/**
 * Checks the option `resilience` and fills in the defaults. Returns undefined when everything is off.
 * @throws ERR_STARLANE_OPTION
 */
export function resolveResilience(value: unknown): Resilience | undefined {
  if (value === undefined) return undefined;
  const given = recordOf('resilience', value);
  for (const name of Object.keys(given)) {
    if (!PARTS.has(name)) throw optionError(`resilience.${name}`, 'unknown option');
  }
  const outlierEjection = partOf('outlierEjection', given, OUTLIER_EJECTION);
  const resilience = {
    retryBudget: partOf('retryBudget', given, RETRY_BUDGET),
    circuitBreaker: partOf('circuitBreaker', given, CIRCUIT_BREAKER),
    outlierEjection: outlierEjection === undefined ? undefined : withLongest(outlierEjection, given),
    hedge: partOf('hedge', given, HEDGE),
  };
  return Object.values(resilience).every((part) => part === undefined) ? undefined : Object.freeze(resilience);
}

function partOf<Name extends string>(
  part: string,
  given: Readonly<Record<string, unknown>>,
  ranges: { readonly [Key in Name]: Range },
): { readonly [Key in Name]: number } | undefined {
  const value = given[part];
  if (value === undefined || value === false) return undefined;
  const options = value === true ? {} : recordOf(`resilience.${part}`, value);
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(ranges, name)) throw optionError(`resilience.${part}.${name}`, 'unknown option');
  }
  const terms = {} as { [Key in Name]: number };
  for (const name of Object.keys(ranges) as Name[]) {
    const { normal, min, max, isInteger = false } = ranges[name];
    const number = options[name] ?? normal;
    const isDefault = options[name] === undefined;
    const fits =
      typeof number === 'number' && number >= min && number <= max && (!isInteger || Number.isInteger(number));
    if (!isDefault && !fits) {
      throw optionError(
        `resilience.${part}.${name}`,
        `must be ${isInteger ? 'an integer' : 'a number'} from ${min} to ${max}`,
      );
    }
    terms[name] = number as number;
  }
  return Object.freeze(terms);
}

function withLongest(terms: OutlierEjectionTerms, given: Readonly<Record<string, unknown>>): OutlierEjectionTerms {
  if (terms.maxEjectMs >= terms.ejectMs) return terms;
  if ((given['outlierEjection'] as OutlierEjectionOptions).maxEjectMs !== undefined) {
    throw optionError('resilience.outlierEjection.maxEjectMs', 'must not be less than ejectMs');
  }
  return Object.freeze({ ...terms, maxEjectMs: terms.ejectMs });
}

function recordOf(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw optionError(name, name === 'resilience' ? 'must be an object' : 'must be true, false or an object');
}
