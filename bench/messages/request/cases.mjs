// Callers that each ask again as soon as they have the answer.

import { checkPattern, patternAt } from '../../payload.mjs';
import { RateWindow, Samples } from '../../statistics.mjs';

const CALLERS = 100;

/**
 * Runs the callers, and returns the figures.
 *
 * @param {import('./carriers/carrier.mjs').Ask} ask
 * @param {number} bytes
 * @param {import('../../cases/case.mjs').Settings} settings
 */
export async function measure(ask, bytes, settings) {
  let answers = 0;
  let stopped = false;
  const samples = new Samples();
  const window = new RateWindow(settings, () => answers, {
    onWarm: () => samples.clear(),
    onDone: () => {
      stopped = true;
    },
  });
  const request = Buffer.from(patternAt(0, bytes));
  const caller = async () => {
    while (!stopped) {
      const begin = performance.now();
      const answer = await ask(request);
      samples.add(performance.now() - begin);
      answers += 1;
      if (answer.length !== bytes) throw new Error(`${answer.length} bytes instead of ${bytes}`);
      if (settings.verify) checkPattern(Buffer.from(answer), 0);
    }
  };
  window.start();
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const [p50, p99] = samples.percentiles([50, 99]);
  return { rate: window.perSecond, p50, p99 };
}

/**
 * @param {string} name
 * @param {number} bytes
 */
function requests(name, bytes) {
  return {
    name,
    about: `${CALLERS} callers, ${bytes} bytes each way`,
    bytes,
    figures: [
      {
        key: 'rate',
        title: 'answers/s',
        digits: 0,
        floors: [
          { against: 'nats', atLeast: 1.5 },
          { of: 'topics', against: 'nats', atLeast: 1.5 },
          { against: 'grpc', atLeast: 2 },
        ],
      },
      { key: 'p50', title: 'p50, ms', digits: 2 },
      {
        key: 'p99',
        title: 'p99, ms',
        digits: 2,
        floors: [
          { against: 'nats', atMost: 1 },
          { of: 'topics', against: 'nats', atMost: 1 },
        ],
      },
    ],
  };
}

/** @type {any[]} */
export const CASES = [requests('request-16', 16), requests('request-1k', 1024)];
