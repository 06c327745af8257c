import { deferred } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';
import { RateWindow, Samples } from '../statistics.mjs';

/**
 * The service of the echo cases.
 *
 * @param {import('./case.mjs').ServerRun} run
 */
export function echoService(run) {
  return {
    opened: 0,
    closed: 0,
    /** @param {import('node:stream').Duplex} socket */
    onConnection(socket) {
      this.opened += 1;
      socket.on('error', run.fail);
      socket.on('close', () => {
        this.closed += 1;
      });
      socket.pipe(socket);
    },
  };
}

/**
 * One message after the other until `stopped`, then end; resolves once closed.
 *
 * @param {import('./case.mjs').ClientRun} run
 * @param {number} index
 * @param {() => void} onEcho
 * @param {() => boolean} stopped
 * @returns {Promise<void>}
 */
export function pingPong(run, index, onEcho, stopped) {
  const closed = deferred();
  const socket = run.connect('echo');
  const message = makeMessage(index);
  let received = 0;
  let turn = 0;
  socket.on('data', (chunk) => {
    if (run.settings.verify && !chunk.equals(message.subarray(received, received + chunk.length))) {
      run.fail(new Error(`stream ${index}, turn ${turn}: wrong echo`));
      return;
    }
    received += chunk.length;
    if (received < MESSAGE_BYTES) return;
    received = 0;
    onEcho();
    if (stopped()) {
      socket.end();
      return;
    }
    if (run.settings.verify) message.writeUInt32BE(++turn, 4);
    socket.write(message);
  });
  socket.on('error', run.fail);
  socket.on('close', () => closed.resolve());
  socket.write(message);
  return closed.promise;
}

/**
 * @param {string} name
 * @param {number} streams
 * @param {import('./case.mjs').Floor[]} floors
 * @returns {import('./case.mjs').BenchCase}
 */
function echo(name, streams, floors) {
  const title = `64 B echoes/s`;
  return {
    name,
    about: `64 B ping-pong on ${streams} stream${streams > 1 ? 's at once' : ''}`,
    figures: [
      { key: 'rate', title, digits: 0, floors },
      ...(streams > 1
        ? []
        : [
            { key: 'p50', title: 'round trip p50, us', digits: 0 },
            { key: 'p99', title: 'round trip p99, us', digits: 0 },
          ]),
    ],
    server(run) {
      const service = echoService(run);
      return {
        services: { echo: (socket) => service.onConnection(socket) },
        async finish() {
          if (service.opened !== streams) throw new Error(`${service.opened} streams opened instead of ${streams}`);
          return {};
        },
      };
    },
    async client(run) {
      let echoes = 0;
      let stopped = false;
      let last = performance.now();
      const samples = new Samples();
      const window = new RateWindow(run.settings, () => echoes, {
        onWarm: () => samples.clear(),
        onDone: () => {
          stopped = true;
        },
      });
      // A clock reading for each of hundreds of thousands of echoes a second would be part of the figure.
      const onEcho =
        streams > 1
          ? () => {
              echoes += 1;
            }
          : () => {
              echoes += 1;
              const now = performance.now();
              samples.add(now - last);
              last = now;
            };
      window.start();
      await Promise.all(Array.from({ length: streams }, (_, i) => pingPong(run, i, onEcho, () => stopped)));
      const [p50, p99] = samples.percentiles([50, 99]);
      return { values: { rate: window.perSecond, p50: p50 * 1000, p99: p99 * 1000 } };
    },
  };
}

export const cases = [
  echo('echo-1', 1, [{ against: 'net', atLeast: 0.9 }]),
  echo('echo-100', 100, [
    { against: 'net', atLeast: 4.5 },
    { against: 'http2', atLeast: 2.5 },
  ]),
];
