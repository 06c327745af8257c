import { echoService, pingPong } from '../../cases/echo.mjs';
import { RateWindow } from '../../statistics.mjs';
import { CpuMeter } from '../cpu-time.mjs';

const STREAMS = 100;

/** @type {import('./case.mjs').RelayCase} */
const echo = {
  name: 'echo-100',
  about: `64 B ping-pong on ${STREAMS} streams at once through the relay`,
  figures: [
    {
      key: 'perTrip',
      title: 'CPU us/round trip of the relay',
      digits: 2,
      isOfRelay: true,
      floors: [{ against: 'haproxy', atMost: 0.25 }],
    },
    { key: 'rate', title: '64 B echoes/s', digits: 0 },
    { key: 'endsPerTrip', title: 'CPU us/round trip of both ends', digits: 1 },
    { key: 'load', title: '% of a core in the relay', digits: 0, isOfRelay: true, isAmount: true },
  ],
  server(run) {
    const service = echoService(run);
    return {
      services: { echo: (socket) => service.onConnection(socket) },
      async finish() {
        if (service.opened !== STREAMS) throw new Error(`${service.opened} streams opened instead of ${STREAMS}`);
        return {};
      },
    };
  },
  async client(run) {
    let echoes = 0;
    let stopped = false;
    const meter = new CpuMeter(run.relayPid === undefined ? [] : [run.relayPid]);
    const ends = new CpuMeter(run.endPids);
    const window = new RateWindow(run.settings, () => echoes, {
      onWarm: () => {
        meter.onWarm();
        ends.onWarm();
      },
      onDone: () => {
        meter.onDone();
        ends.onDone();
        stopped = true;
      },
    });
    const onEcho = () => {
      echoes += 1;
    };
    window.start();
    await Promise.all(Array.from({ length: STREAMS }, (_, i) => pingPong(run, i, onEcho, () => stopped)));
    const rate = window.perSecond;
    const { endsPerTrip } = ends.perUnit('endsPerTrip', rate / 1e6);
    return { values: { rate, endsPerTrip, ...meter.perUnit('perTrip', rate / 1e6) } };
  },
};

export const cases = [echo];
