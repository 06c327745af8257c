import { sink, writeUntil } from '../../cases/bulk.mjs';
import { CpuMeter } from '../cpu-time.mjs';

const MIB_PER_GIB = 1024;
// How long the sender continues after the receiver's window.
const MARGIN_MS = 250;

/**
 * @param {string} name
 * @param {number} streams
 * @returns {import('./case.mjs').RelayCase}
 */
function bulk(name, streams) {
  return {
    name,
    about: `64 KiB writes on ${streams} stream${streams > 1 ? 's' : ''} through the relay`,
    figures: [
      {
        key: 'perGib',
        title: 'CPU s/GiB of the relay',
        digits: 3,
        isOfRelay: true,
        floors: [{ against: 'haproxy', atMost: 1 }],
      },
      { key: 'rate', title: 'MiB/s', digits: 0, floors: [{ against: 'direct', atLeast: 0.5, cores: 3 }] },
      // Where the three processes share fewer cores, this is what the relay itself allows.
      { key: 'capacity', title: 'MiB/s per core of the relay', digits: 0, isOfRelay: true },
      { key: 'endsPerGib', title: 'CPU s/GiB of both ends', digits: 3 },
      { key: 'load', title: '% of a core in the relay', digits: 0, isOfRelay: true, isAmount: true },
    ],
    server(run) {
      const meter = new CpuMeter();
      const ends = new CpuMeter();
      const meters = [meter, ends];
      const receiver = sink(run, {
        onWarm() {
          for (const one of meters) one.onWarm();
        },
        onDone() {
          for (const one of meters) one.onDone();
        },
      });
      return {
        services: { sink: receiver.onConnection },
        relayedBy(pid, endPids) {
          if (pid !== undefined) meter.pids = [pid];
          ends.pids = endPids;
        },
        async finish(client) {
          const rate = receiver.finish(client);
          const costs = meter.perUnit('perGib', rate / MIB_PER_GIB);
          const { endsPerGib } = ends.perUnit('endsPerGib', rate / MIB_PER_GIB);
          return { rate, endsPerGib, ...costs, ...('perGib' in costs ? { capacity: MIB_PER_GIB / costs.perGib } : {}) };
        },
      };
    },
    async client(run) {
      let stopped = false;
      const done = Array.from({ length: streams }, () => writeUntil(run, run.connect('sink'), () => stopped));
      const { warmupMs, measureMs } = run.settings;
      setTimeout(
        () => {
          stopped = true;
        },
        warmupMs + measureMs + MARGIN_MS,
      );
      const written = await Promise.all(done);
      return { values: { written: written.reduce((sum, bytes) => sum + bytes, 0), senders: streams } };
    },
  };
}

export const cases = [bulk('bulk-1', 1), bulk('bulk-8', 8)];
