import { cases as directCases } from '../../cases/open.mjs';
import { CpuMeter } from '../cpu-time.mjs';

const [direct] = directCases;

/** @type {import('./case.mjs').RelayCase} */
const open = {
  ...direct,
  about: `${direct.about}, through the relay`,
  carriers: ['direct', 'starlane', 'secure'],
  figures: [
    { key: 'rate', title: 'open+echo+close/s', digits: 0 },
    { key: 'perOpen', title: 'CPU us/circuit of the relay', digits: 1, isOfRelay: true },
    { key: 'endsPerOpen', title: 'CPU us/circuit of both ends', digits: 1 },
    { key: 'p50', title: 'one of them p50, ms', digits: 2 },
    { key: 'p99', title: 'one of them p99, ms', digits: 2 },
  ],
  async client(run) {
    const meter = new CpuMeter(run.relayPid === undefined ? [] : [run.relayPid]);
    const ends = new CpuMeter(run.endPids);
    const onWarm = () => {
      meter.onWarm();
      ends.onWarm();
    };
    const onDone = () => {
      meter.onDone();
      ends.onDone();
    };
    const { values } = await direct.client({ ...run, onWarm, onDone });
    const { endsPerOpen } = ends.perUnit('endsPerOpen', values.rate / 1e6);
    const { perOpen } = meter.perUnit('perOpen', values.rate / 1e6);
    return { values: { ...values, endsPerOpen, ...(perOpen === undefined ? {} : { perOpen }) } };
  },
};

export const cases = [open];
