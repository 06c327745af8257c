import { deferred, pause } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';
import { RateWindow, Samples } from '../statistics.mjs';
import { echoService } from './echo.mjs';

const CONCURRENCY = 64;

// Half of what four listening ports offer towards 28,000 ephemeral ports, so that no carrier runs out of addresses.
const MOST_OPENS_OVER_NET = 56_000;

/** @type {import('./case.mjs').BenchCase} */
const open = {
  name: 'open',
  about: `open by name + 64 B echo + close, ${CONCURRENCY} at a time, done when both ends saw 'close'`,
  figures: [
    { key: 'rate', title: 'open+echo+close/s', digits: 0, floors: [{ against: 'net', atLeast: 5 }] },
    { key: 'p50', title: 'one of them p50, ms', digits: 2 },
    { key: 'p99', title: 'one of them p99, ms', digits: 2 },
  ],

  server(run) {
    const service = echoService(run);
    return {
      services: { echo: (socket) => service.onConnection(socket) },
      async finish(client) {
        // The client saw the last close already; the server's may still be in its queue.
        for (let waited = 0; service.closed < client.closed && waited < 2000; waited += 10) await pause(10);
        if (service.opened !== client.closed || service.closed !== client.closed) {
          throw new Error(`${service.opened} opened and ${service.closed} closed here, ${client.closed} there`);
        }
        return {};
      },
    };
  },

  async client(run) {
    const finished = deferred();
    const samples = new Samples();
    let opened = 0;
    let closed = 0;
    let stopped = false;
    const most = run.carrier === 'net' ? MOST_OPENS_OVER_NET : Number.POSITIVE_INFINITY;
    const window = new RateWindow(run.settings, () => closed, {
      onWarm: () => {
        samples.clear();
        run.onWarm?.();
      },
      onDone: () => {
        run.onDone?.();
        stopped = true;
      },
    });

    const next = () => {
      if (stopped) {
        if (closed === opened) finished.resolve();
        return;
      }
      if (opened === most) {
        run.fail(new Error(`more than ${most} connections within the measurement`));
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
        samples.add(performance.now() - from);
        next();
      });
      socket.write(message);
    };

    window.start();
    for (let i = 0; i < CONCURRENCY; i++) next();
    await finished.promise;
    const [p50, p99] = samples.percentiles([50, 99]);
    return { values: { rate: window.perSecond, p50, p99, closed } };
  },
};

export const cases = [open];
