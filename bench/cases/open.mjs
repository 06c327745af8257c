import { deferred, pause } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';
import { RateWindow, Samples } from '../statistics.mjs';
import { echoService } from './echo.mjs';

const CONCURRENCY = 64;

// Half of what four listening ports offer towards 28,000 ephemeral ports, so that no carrier runs out of addresses.
const MOST_OPENS_OVER_NET = 56_000;

/** What a program does in its first seconds, before anything is compiled. */
const FIRST_OPENS = 20_000;

/**
 * One stream after the other on each of CONCURRENCY places, until `isOver` says so; resolves when all are closed at this end.
 *
 * @param {import('./case.mjs').ClientRun} run
 * @param {{ isOver: (opened: number) => boolean, onClose: (tookMs: number) => void }} events
 * @returns {Promise<number>} how many there were
 */
async function openAll(run, { isOver, onClose }) {
  const finished = deferred();
  let opened = 0;
  let closed = 0;
  const next = () => {
    if (isOver(opened)) {
      if (closed === opened) finished.resolve();
      return;
    }
    const message = makeMessage(opened++);
    const from = performance.now();
    const socket = run.connect('echo');
    let received = 0;
    socket.on('data', (chunk) => {
      if (run.settings.verify && !chunk.equals(message.subarray(received, received + chunk.length))) {
        run.fail(new Error('wrong echo'));
      }
      received += chunk.length;
      if (received === MESSAGE_BYTES) socket.end();
    });
    socket.on('error', run.fail);
    socket.on('close', () => {
      if (received !== MESSAGE_BYTES) run.fail(new Error(`closed after ${received} bytes of echo`));
      closed += 1;
      onClose(performance.now() - from);
      next();
    });
    socket.write(message);
  };
  for (let i = 0; i < CONCURRENCY; i++) next();
  await finished.promise;
  return closed;
}

/** @param {import('./case.mjs').ServerRun} run */
function openServer(run) {
  const service = echoService(run);
  return {
    services: { echo: (/** @type {import('node:stream').Duplex} */ socket) => service.onConnection(socket) },
    /** @param {import('./case.mjs').Values} client */
    async finish(client) {
      // The client saw the last close already; the server's may still be in its queue.
      for (let waited = 0; service.closed < client.closed && waited < 2000; waited += 10) await pause(10);
      if (service.opened !== client.closed || service.closed !== client.closed) {
        throw new Error(`${service.opened} opened and ${service.closed} closed here, ${client.closed} there`);
      }
      return {};
    },
  };
}

/** @type {import('./case.mjs').BenchCase} */
const open = {
  name: 'open',
  about: `open by name + 64 B echo + close, ${CONCURRENCY} at a time, done when both ends saw 'close'`,
  figures: [
    { key: 'rate', title: 'open+echo+close/s', digits: 0, floors: [{ against: 'net', atLeast: 5 }] },
    { key: 'p50', title: 'one of them p50, ms', digits: 2 },
    { key: 'p99', title: 'one of them p99, ms', digits: 2 },
  ],
  server: openServer,
  async client(run) {
    const samples = new Samples();
    let count = 0;
    let stopped = false;
    const most = run.carrier === 'net' ? MOST_OPENS_OVER_NET : Number.POSITIVE_INFINITY;
    const window = new RateWindow(run.settings, () => count, {
      onWarm: () => {
        samples.clear();
        run.onWarm?.();
      },
      onDone: () => {
        run.onDone?.();
        stopped = true;
      },
    });
    window.start();
    const closed = await openAll(run, {
      isOver(opened) {
        if (!stopped && opened === most) run.fail(new Error(`more than ${most} connections within the measurement`));
        return stopped || opened === most;
      },
      onClose(tookMs) {
        count += 1;
        samples.add(tookMs);
      },
    });
    const [p50, p99] = samples.percentiles([50, 99]);
    return { values: { rate: window.perSecond, p50, p99, closed } };
  },
};

/** @type {import('./case.mjs').BenchCase} */
const first = {
  name: 'open-first',
  about: `the same for the first ${FIRST_OPENS.toLocaleString('en-US')} streams of both processes, without a warm-up`,
  figures: [{ key: 'rate', title: 'open+echo+close/s', digits: 0, floors: [{ against: 'net', atLeast: 4 }] }],
  server: openServer,
  async client(run) {
    const from = performance.now();
    const closed = await openAll(run, { isOver: (opened) => opened === FIRST_OPENS, onClose: () => {} });
    return { values: { rate: (closed * 1000) / (performance.now() - from), closed } };
  },
};

export const cases = [open, first];
