import { nowMs } from './clock.mjs';
import { echoFigures } from './echo.mjs';

/**
 * @typedef {object} Step what happens to the path in the middle of a run
 * @property {import('./path.mjs').Changes} changes
 * @property {number} [darkMs] for so long everything is lost, and only then the step counts as done
 */

/** What is looked at after the step, in ms from it. */
const WINDOW_MS = [3_000, 6_000];
/** For how long the rate has to hold to have come back. */
const HELD_MS = 1_000;
const HELD_SHARE = 0.9;
const RESOLUTION_MS = 50;

/**
 * Makes the step and waits for what comes after it.
 *
 * @param {Step} step
 * @param {import('./path.mjs').Path} path
 * @param {(ms: number) => Promise<void>} until
 * @returns {Promise<number>} when it was done
 */
export async function applyStep({ changes, darkMs }, path, until) {
  if (darkMs !== undefined) {
    await path.set({ dark: true });
    await until(nowMs() + darkMs);
    await path.set({ dark: false });
  }
  await path.set(changes);
  const steppedMs = nowMs();
  await until(steppedMs + WINDOW_MS[1]);
  return steppedMs;
}

/**
 * @param {number} steppedMs
 * @param {import('./arrivals.mjs').Arrivals} arrivals
 * @param {import('./echo.mjs').EchoTimes | undefined} times
 */
export function stepFigures(steppedMs, arrivals, times) {
  const [begin, end] = WINDOW_MS.map((ms) => steppedMs + ms);
  return {
    rateAfter: arrivals.mbitPerS(begin, end),
    ...(times === undefined ? {} : { p99After: echoFigures(times, begin, end).p99 }),
    held: /** @type {any} */ (heldRates(steppedMs, arrivals)),
  };
}

/**
 * The rate over HELD_MS from each moment after the step on.
 *
 * @param {number} steppedMs
 * @param {import('./arrivals.mjs').Arrivals} arrivals
 */
function heldRates(steppedMs, arrivals) {
  const rates = [];
  for (let ms = 0; ms + HELD_MS <= WINDOW_MS[1]; ms += RESOLUTION_MS) {
    rates.push(arrivals.mbitPerS(steppedMs + ms, steppedMs + ms + HELD_MS));
  }
  return rates;
}

/**
 * Adds to each carrier of a pair after how many seconds it first held most of what `net` has after the step in the same pair.
 *
 * @param {import('../report.mjs').Pair} pair
 */
export function addRecovery(pair) {
  const reference = /** @type {any} */ (pair.net)?.rateAfter;
  for (const values of Object.values(pair)) {
    const { held } = /** @type {any} */ (values);
    if (held === undefined) continue;
    delete (/** @type {any} */ (values).held);
    if (reference === undefined) continue;
    const index = held.findIndex((/** @type {number} */ rate) => rate >= HELD_SHARE * reference);
    /** @type {any} */ (values).recovery = ((index < 0 ? held.length : index) * RESOLUTION_MS) / 1000;
  }
}
