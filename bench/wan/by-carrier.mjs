import {
  describeFloor,
  describeRatios,
  describeVerdict,
  format,
  holds,
  isFailure,
  ratiosOf,
  valuesOf,
} from '../report.mjs';
import { median } from '../statistics.mjs';

/**
 * One row for each carrier of each figure of each case: for carriers that are compared with different ones.
 *
 * @param {import('../report.mjs').CaseOutcome[]} outcomes
 * @param {string[]} carriers
 * @returns {{ head: string[], rows: import('../report.mjs').Row[] }}
 */
export function tabulateByCarrier(outcomes, carriers) {
  const head = ['case', 'figure', 'carrier', 'value', 'ratio', 'floor', 'holds'];
  const rows = outcomes.flatMap((outcome) => {
    const figures = outcome.benchCase.figures.filter((figure) => !figure.isAside);
    return figures.flatMap((figure, i) =>
      carriers.map((carrier, j) =>
        rowOf(outcome, figure, carrier, [i + j === 0 ? outcome.benchCase.name : '', j === 0 ? figure.title : '']),
      ),
    );
  });
  return { head, rows };
}

/**
 * @param {import('../report.mjs').CaseOutcome} outcome
 * @param {import('../cases/case.mjs').Figure} figure
 * @param {string} carrier
 * @param {[name: string, title: string]} start of the row
 * @returns {import('../report.mjs').Row}
 */
function rowOf(outcome, figure, carrier, start) {
  const values = valuesOf(outcome, carrier, figure.key);
  const hasFailed = outcome.pairs.some((pair) => isFailure(pair[carrier]));
  const floors = (figure.floors ?? []).filter(({ of = 'starlane' }) => of === carrier);
  const verdicts = floors.map((floor) => holds(outcome, figure.key, floor));
  const cells = [
    ...start,
    carrier,
    values.length > 0 ? format(median(values), figure.digits) : hasFailed ? 'fails' : '',
    floors
      .map(({ against }) =>
        against === undefined ? '' : describeRatios(ratiosOf(outcome, figure.key, carrier, against)),
      )
      .join(', '),
    floors.map((floor) => describeFloor({ ...floor, of: undefined })).join(', '),
    verdicts.map(describeVerdict).join(', '),
  ];
  return { cells, missed: verdicts.includes(false) };
}
