import { deferred } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';
import { RateWindow, Samples } from '../statistics.mjs';
import { sink, writeUntil } from './bulk.mjs';
import { echoService } from './echo.mjs';

const BULK_STREAMS = 4;
const EVERY_MS = 1;

/** @type {import('./case.mjs').BenchCase} */
const latency = {
  name: 'latency',
  about: `64 B echo every ${EVERY_MS} ms or so while ${BULK_STREAMS} bulk streams fill the same link`,
  figures: [
    { key: 'p99', title: 'echo p99, ms', digits: 2, floors: [{ atMost: 3 }, { against: 'net', atMost: 0.25 }] },
    { key: 'p50', title: 'echo p50, ms', digits: 2 },
    { key: 'bulk', title: 'bulk meanwhile, MiB/s', digits: 0 },
    { key: 'echoes', title: 'echoes measured', digits: 0, isAmount: true },
  ],

  server(run) {
    const receiver = sink(run);
    const echo = echoService(run);
    return {
      services: { sink: receiver.onConnection, echo: (socket) => echo.onConnection(socket) },
      finish: async (client) => ({ bulk: receiver.finish(client) }),
    };
  },

  async client(run) {
    const closed = deferred();
    const samples = new Samples();
    const message = makeMessage(0);
    /** @type {number[]} */
    const sentAt = [];
    let received = 0;
    let warm = false;
    let stopped = false;
    const window = new RateWindow(run.settings, () => samples.count, {
      onWarm: () => {
        warm = true;
      },
      onDone: () => {
        stopped = true;
      },
    });

    const done = Array.from({ length: BULK_STREAMS }, () => writeUntil(run, run.connect('sink'), () => stopped));
    const socket = run.connect('echo');
    const tick = () => {
      if (stopped) {
        socket.end();
        return;
      }
      sentAt.push(performance.now());
      socket.write(message);
      setTimeout(tick, EVERY_MS);
    };
    socket.on('data', (chunk) => {
      if (run.settings.verify) {
        for (let i = 0; i < chunk.length; i++) {
          if (chunk[i] !== message[(received + i) % MESSAGE_BYTES]) run.fail(new Error('wrong echo'));
        }
      }
      received += chunk.length;
      while (received >= MESSAGE_BYTES) {
        received -= MESSAGE_BYTES;
        const took = performance.now() - /** @type {number} */ (sentAt.shift());
        if (warm) samples.add(took);
      }
    });
    socket.on('error', run.fail);
    socket.on('close', () => closed.resolve());
    window.start();
    tick();

    const written = await Promise.all(done);
    await closed.promise;
    if (samples.count === 0) throw new Error('no echo came back in the time of the measurement');
    if (sentAt.length > 0) throw new Error(`${sentAt.length} echoes missing`);
    const [p50, p99] = samples.percentiles([50, 99]);
    const bytes = written.reduce((sum, some) => sum + some, 0);
    return { values: { p50, p99, echoes: samples.count, written: bytes, senders: BULK_STREAMS } };
  },
};

export const cases = [latency];
