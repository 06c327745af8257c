import http from 'node:http';
import { deferred } from '../deadline.mjs';
import { patternAt } from '../payload.mjs';
import { RateWindow } from '../statistics.mjs';

const AT_ONCE = 50;
const ANSWER_BYTES = 1024;
const PATH = '/answer';

/** Counts answers, and the CPU time of this process that they take between warm-up and end. */
class Meter {
  /**
   * @param {import('./case.mjs').Settings} settings
   * @param {() => void} [onDone]
   */
  constructor(settings, onDone) {
    this.answers = 0;
    /** Microseconds for each answer. */
    this.cpuUs = Number.NaN;
    let usage = process.cpuUsage();
    let before = 0;
    this.window = new RateWindow(settings, () => this.answers, {
      onWarm: () => {
        usage = process.cpuUsage();
        before = this.answers;
      },
      onDone: () => {
        const { user, system } = process.cpuUsage(usage);
        this.cpuUs = (user + system) / (this.answers - before);
        onDone?.();
      },
    });
  }
}

/**
 * Makes one request after the other with `ask`, AT_ONCE of them at a time, until the window ends.
 *
 * @param {import('./case.mjs').ClientRun} run
 * @param {() => Promise<Buffer[]>} ask resolves with the body of an answer
 * @returns {Promise<import('./case.mjs').Values>}
 */
async function askInTurn(run, ask) {
  let isOver = false;
  const expected = patternAt(0, ANSWER_BYTES);
  const meter = new Meter(run.settings, () => {
    isOver = true;
  });
  const askOn = async () => {
    while (!isOver) {
      const chunks = await ask();
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (bytes !== ANSWER_BYTES) throw new Error(`an answer of ${bytes} bytes instead of ${ANSWER_BYTES}`);
      if (run.settings.verify && !Buffer.concat(chunks).equals(expected)) throw new Error('a wrong answer');
      meter.answers += 1;
    }
  };
  meter.window.start();
  await Promise.all(Array.from({ length: AT_ONCE }, askOn));
  return { rate: meter.window.perSecond, clientUs: meter.cpuUs, answers: meter.answers };
}

/**
 * @param {http.Agent} agent
 * @param {string} origin
 * @returns {Promise<Buffer[]>}
 */
function get(agent, origin) {
  const { promise, resolve, reject } = /** @type {ReturnType<typeof deferred<Buffer[]>>} */ (deferred());
  const request = http.get(`${origin}${PATH}`, { agent }, (response) => {
    /** @type {Buffer[]} */
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () => resolve(chunks));
    response.on('error', reject);
  });
  request.on('error', reject);
  return promise;
}

/**
 * @param {string} name
 * @param {string} client
 * @param {number} floor
 * @param {(end: import('../carriers/carrier.mjs').HttpEnd) => Promise<{ ask: () => Promise<Buffer[]>, close: () => unknown }>} start
 * @returns {import('./case.mjs').BenchCase}
 */
function requests(name, client, floor, start) {
  return {
    name,
    about: `GET requests by ${client}, ${AT_ONCE} at a time, answers of 1 KiB`,
    carriers: ['net', 'starlane'],
    figures: [
      { key: 'rate', title: 'requests/s', digits: 0, floors: [{ against: 'net', atLeast: floor }] },
      { key: 'clientUs', title: 'CPU us/request, client', digits: 1 },
      { key: 'serverUs', title: 'CPU us/request, server', digits: 1 },
    ],
    server(run) {
      const meter = new Meter(run.settings);
      const body = patternAt(0, ANSWER_BYTES);
      const web = http.createServer((request, response) => {
        if (request.url !== PATH) run.fail(new Error(`a request for ${request.url}`));
        meter.window.start();
        meter.answers += 1;
        response.setHeader('Content-Length', ANSWER_BYTES);
        response.end(body);
      });
      return {
        services: { web },
        async finish(client) {
          meter.window.close();
          const { answers, cpuUs } = meter;
          if (answers !== client.answers) throw new Error(`${answers} answers, ${client.answers} received`);
          return { serverUs: cpuUs };
        },
      };
    },
    async client(run) {
      if (run.http === undefined) throw new Error(`${run.carrier} has no HTTP`);
      const end = await run.http();
      const { ask, close } = await start(end);
      const values = await askInTurn(run, ask);
      await close();
      return { values };
    },
  };
}

export const cases = [
  requests('http-agent', 'http.Agent', 1.5, async ({ agent, origin }) => ({
    ask: () => get(agent, origin),
    close: () => agent.destroy(),
  })),
  requests('http-undici', 'undici', 1, async ({ connect, origin }) => {
    const { Agent } = await import('undici');
    const dispatcher = new Agent({ connect });
    return {
      async ask() {
        const { body } = await dispatcher.request({ origin, path: PATH, method: 'GET' });
        return [Buffer.from(await body.arrayBuffer())];
      },
      close: () => dispatcher.close(),
    };
  }),
];
