import os from 'node:os';
import { median } from './statistics.mjs';

/**
 * @typedef {import('./cases/case.mjs').Values} Values
 * @typedef {Record<string, Values | { failed: string }>} Pair what each carrier measured in turn
 * @typedef {{ benchCase: import('./cases/case.mjs').BenchCase, pairs: Pair[] }} CaseOutcome
 * @typedef {{ cells: string[], missed: boolean }} Row
 * @typedef {[ours: string, theirs: string]} RatioOf
 */

/**
 * The values of a figure on a carrier, one for each pair in which it did not fail.
 *
 * @param {CaseOutcome} outcome
 * @param {string} carrier
 * @param {string} key
 * @returns {number[]}
 */
export function valuesOf(outcome, carrier, key) {
  return outcome.pairs.map((pair) => /** @type {Values} */ (pair[carrier])?.[key]).filter((v) => v !== undefined);
}

/**
 * The ratios of a figure between two carriers, within each pair.
 *
 * @param {CaseOutcome} outcome
 * @param {string} key
 * @param {string} ours
 * @param {string} theirs
 * @returns {number[]}
 */
export function ratiosOf(outcome, key, ours, theirs) {
  return outcome.pairs
    .map((pair) => /** @type {any} */ (pair[ours])?.[key] / /** @type {any} */ (pair[theirs])?.[key])
    .filter((ratio) => Number.isFinite(ratio));
}

/**
 * @param {number} value
 * @param {number} digits
 */
export function format(value, digits) {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** @param {number} limit */
const formatLimit = (limit) => (limit < 1 ? format(limit, 2) : limit.toLocaleString('en-US'));

/** @param {import('./cases/case.mjs').Floor} floor */
export function describeFloor({ of, against, atLeast, atMost, cores }) {
  const limit = atLeast === undefined ? `<= ${formatLimit(atMost ?? 0)}` : `>= ${atLeast}`;
  const condition = cores === undefined ? '' : ` with ${cores} cores`;
  const subject = of === undefined ? '' : `${of} `;
  return subject + (against === undefined ? limit : `${limit} x ${against}`) + condition;
}

/**
 * Whether a floor holds; undefined where it was not measured.
 *
 * @param {CaseOutcome} outcome
 * @param {string} key
 * @param {import('./cases/case.mjs').Floor} floor
 */
export function holds(outcome, key, { of = 'starlane', against, atLeast, atMost, cores = 1 }) {
  if (os.cpus().length < cores) return undefined;
  const values = against === undefined ? valuesOf(outcome, of, key) : ratiosOf(outcome, key, of, against);
  if (values.length === 0) return undefined;
  const value = median(values);
  return value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
}

/** @param {boolean | undefined} verdict */
export const describeVerdict = (verdict) => (verdict === undefined ? '-' : verdict ? 'yes' : 'NO');

/** @param {import('./cases/case.mjs').Figure} figure */
const isTabulated = (figure) => !figure.isAside;

/**
 * The ratios that are shown by default: of starlane to each of the others.
 *
 * @param {string[]} carriers
 * @returns {RatioOf[]}
 */
function ratiosToOthers(carriers) {
  if (!carriers.includes('starlane')) return [];
  return carriers.filter((carrier) => carrier !== 'starlane').map((other) => ['starlane', other]);
}

/**
 * One row for each figure of each case.
 *
 * @param {CaseOutcome[]} outcomes
 * @param {string[]} carriers
 * @param {string | undefined} reference undefined: floors are shown in any case
 * @param {RatioOf[]} [ratios] the columns of ratios, default starlane to each of the others
 * @returns {{ head: string[], rows: Row[] }}
 */
export function tabulate(outcomes, carriers, reference, ratios = ratiosToOthers(carriers)) {
  const head = ['case', 'figure', ...carriers, ...ratios.map(([ours, theirs]) => `${ours} / ${theirs}`)];
  // Most floors are ratios to it: without it they say nothing.
  const withFloors = reference === undefined || ratios.some(([, theirs]) => theirs === reference);
  if (withFloors) head.push('floor', 'holds');
  const rows = outcomes.flatMap((outcome) =>
    outcome.benchCase.figures.filter(isTabulated).map((figure, i) => {
      const floors = figure.floors ?? [];
      const verdicts = floors.map((floor) => holds(outcome, figure.key, floor));
      const cells = [
        i === 0 ? outcome.benchCase.name : '',
        figure.title,
        ...carriers.map((carrier) => {
          const values = valuesOf(outcome, carrier, figure.key);
          if (values.length > 0) return format(median(values), figure.digits);
          return outcome.pairs.some((pair) => isFailure(pair[carrier])) ? 'fails' : '';
        }),
        ...ratios.map(([ours, theirs]) =>
          figure.isAmount ? '' : describeRatios(ratiosOf(outcome, figure.key, ours, theirs)),
        ),
      ];
      if (withFloors) {
        cells.push(floors.map(describeFloor).join(', '), verdicts.map(describeVerdict).join(', '));
      }
      return { cells, missed: verdicts.includes(false) };
    }),
  );
  return { head, rows };
}

/** @param {Pair[string] | undefined} values */
export function isFailure(values) {
  return values !== undefined && 'failed' in values;
}

/** @param {number[]} ratios */
export function describeRatios(ratios) {
  if (ratios.length === 0) return '-';
  if (ratios.length === 1) return format(ratios[0], 2);
  return `${format(median(ratios), 2)} (${format(Math.min(...ratios), 2)}-${format(Math.max(...ratios), 2)})`;
}

/**
 * @param {{ head: string[], rows: Row[] }} table
 * @returns {string} aligned plain text
 */
export function toText({ head, rows }) {
  const lines = [head, ...rows.map((row) => row.cells)];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/**
 * @param {{ head: string[], rows: Row[] }} table
 * @returns {string} a Markdown table
 */
export function toMarkdown({ head, rows }) {
  const rule = head.map((_, column) => (column < 2 ? '---' : '---:'));
  return [head, rule, ...rows.map((row) => row.cells)].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

const [loadBefore] = os.loadavg();

/**
 * One line on the machine, without which figures mean nothing.
 *
 * @param {string} [path] between the processes
 */
export function describeMachine(path = 'loopback') {
  const cpus = os.cpus();
  const memoryGb = Math.round(os.totalmem() / 1e9);
  const model = cpus[0]?.model.trim() || 'unknown processor';
  const load = `load average before ${loadBefore.toFixed(2)}`;
  return `Node ${process.version}, ${os.platform()} ${os.arch()}, ${cpus.length} x ${model}, ${memoryGb} GB, ${path}, ${load}`;
}

/**
 * Everything measured, for other programs.
 *
 * @param {CaseOutcome[]} outcomes
 * @param {string[]} carriers
 * @param {object} settings
 * @param {RatioOf[]} [ratios] default starlane to each of the others
 */
export function toJson(outcomes, carriers, settings, ratios = ratiosToOthers(carriers)) {
  const cases = outcomes.map((outcome) => ({
    name: outcome.benchCase.name,
    about: outcome.benchCase.about,
    figures: outcome.benchCase.figures.map((figure) => ({
      key: figure.key,
      title: figure.title,
      medians: Object.fromEntries(
        carriers
          .map((carrier) => /** @type {const} */ ([carrier, valuesOf(outcome, carrier, figure.key)]))
          .filter(([, values]) => values.length > 0)
          .map(([carrier, values]) => [carrier, median(values)]),
      ),
      ratios: Object.fromEntries(
        ratios
          .map(([ours, theirs]) => ({
            name: ours === 'starlane' ? theirs : `${ours} / ${theirs}`,
            values: ratiosOf(outcome, figure.key, ours, theirs),
          }))
          .filter(({ values }) => values.length > 0)
          .map(({ name, values }) => [name, median(values)]),
      ),
      floors: (figure.floors ?? []).map((floor) => ({ ...floor, holds: holds(outcome, figure.key, floor) ?? null })),
    })),
    pairs: outcome.pairs,
  }));
  return JSON.stringify({ machine: describeMachine(), settings, cases }, undefined, 2);
}
