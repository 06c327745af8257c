// Requests by topic: 100 callers in one process, one process that answers.

import { Samples } from '../../statistics.mjs';

const TOPIC = 'bench.requests';
const CALLERS = 100;
const BYTES = 128;

/** @type {import('../case.mjs').MessageCase} */
export const benchCase = {
  name: 'request',
  about: `${CALLERS} callers, ${BYTES} bytes there and back`,
  carriers: ['nats', 'starlane'],
  processes: { caller: 1, responder: 1 },
  figures: [
    { key: 'perSecond', title: 'requests/s', digits: 0, floors: [{ against: 'nats', atLeast: 1.5 }] },
    { key: 'p50', title: 'p50 ms', digits: 3 },
    { key: 'p99', title: 'p99 ms', digits: 3, floors: [{ against: 'nats', atMost: 1 }] },
    { key: 'cpuUs', title: 'processor us a request', digits: 2 },
  ],
  roles: {
    caller: ({ bus }) => ({
      ready: () => bus.ready(TOPIC, 1),
      /** @param {number} measureMs */
      async run(measureMs) {
        const samples = new Samples();
        const data = new Uint8Array(BYTES).fill(97);
        const startedMs = performance.now();
        const endMs = startedMs + measureMs;
        let count = 0;
        const caller = async () => {
          for (;;) {
            const atMs = performance.now();
            if (atMs >= endMs) return;
            const reply = await bus.request(TOPIC, data);
            if (reply.length !== BYTES) throw new Error(`a reply of ${reply.length} bytes`);
            samples.add(performance.now() - atMs);
            count++;
          }
        };
        await Promise.all(Array.from({ length: CALLERS }, caller));
        const [p50, p99] = samples.percentiles([50, 99]);
        return { count, perSecond: (count * 1_000) / (performance.now() - startedMs), p50, p99 };
      },
    }),
    responder: ({ bus }) => {
      bus.answer(TOPIC, (/** @type {Uint8Array} */ data) => data);
      return {};
    },
  },
  async round(fleet, { measureMs }) {
    await fleet.call('caller', 'ready');
    const cpuBefore = fleet.cpuSeconds();
    const { count, ...values } = await fleet.call('caller', 'run', measureMs);
    return { ...values, cpuUs: ((fleet.cpuSeconds() - cpuBefore) * 1e6) / count };
  },
};
