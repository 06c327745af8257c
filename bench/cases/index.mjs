import { cases as bulk } from './bulk.mjs';
import { cases as echo } from './echo.mjs';
import { cases as http } from './http.mjs';
import { cases as idle } from './idle.mjs';
import { cases as latency } from './latency.mjs';
import { cases as open } from './open.mjs';

/** All cases in the order they are run and reported. @type {import('./case.mjs').BenchCase[]} */
export const CASES = [...bulk, ...echo, ...open, ...latency, ...http, ...idle];

/**
 * @param {string} name
 * @param {import('./case.mjs').BenchCase[]} [cases]
 * @returns {import('./case.mjs').BenchCase}
 */
export function findCase(name, cases = CASES) {
  const found = cases.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no case '${name}'; there are ${cases.map((c) => c.name).join(', ')}`);
  return found;
}
