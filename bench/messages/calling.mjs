// What the cases of requests and replies share: callers in one process that each ask again as soon as they have the answer, and one process
// that answers.

import { Samples } from '../statistics.mjs';

const TOPIC = 'bench.calls';
const CALLERS = 100;
/** A warm-up is over when so many calls are done: before that much of the code of some carriers is not compiled. */
const WARM_CALLS = 10_000;
const WARM_MS = 30_000;

/**
 * @param {string} name
 * @param {number} bytes there and back
 * @returns {import('./case.mjs').MessageCase}
 */
export function callCase(name, bytes) {
  return {
    name,
    about: `${CALLERS} callers, ${bytes} bytes there and back: commands, those through a relay, topics, NATS and unary calls of gRPC`,
    carriers: ['nats', 'grpc', 'starlane', 'commands', 'relayed'],
    processes: { responder: 1, caller: 1 },
    ratios: [
      ['commands', 'nats'],
      ['commands', 'grpc'],
      ['relayed', 'nats'],
    ],
    figures: [
      {
        key: 'perSecond',
        title: 'requests/s',
        digits: 0,
        floors: [
          { of: 'commands', against: 'nats', atLeast: 1.5 },
          { of: 'commands', against: 'grpc', atLeast: 2 },
          { against: 'nats', atLeast: 1.5 },
        ],
      },
      { key: 'p50', title: 'p50 ms', digits: 3 },
      { key: 'p99', title: 'p99 ms', digits: 3, floors: [{ of: 'commands', against: 'nats', atMost: 1 }] },
      { key: 'cpuUs', title: 'processor us a request', digits: 2 },
    ],
    roles: {
      responder: ({ bus }) => {
        bus.answer(TOPIC, (/** @type {Uint8Array} */ data) => data);
        return {};
      },
      caller: ({ bus }) => ({
        ready: () => bus.ready(TOPIC, 1),
        /** @param {number} measureMs @param {boolean} isWarmup */
        run: (measureMs, isWarmup) => call(bus, bytes, measureMs, isWarmup ? WARM_CALLS : 0),
      }),
    },
    async round(fleet, { measureMs, isWarmup }) {
      await fleet.call('caller', 'ready');
      const cpuBefore = fleet.cpuSeconds();
      const { count, ...values } = await fleet.call('caller', 'run', measureMs, isWarmup);
      return { ...values, cpuUs: ((fleet.cpuSeconds() - cpuBefore) * 1e6) / count };
    },
  };
}

/**
 * @param {Pick<import('./case.mjs').Bus, 'request'>} bus
 * @param {number} bytes
 * @param {number} measureMs
 * @param {number} minCalls goes on until there are so many, too
 */
async function call(bus, bytes, measureMs, minCalls) {
  const samples = new Samples();
  const data = Buffer.alloc(bytes, 97);
  const startedMs = performance.now();
  const endMs = startedMs + measureMs;
  let count = 0;
  const caller = async () => {
    for (;;) {
      const atMs = performance.now();
      if (atMs >= endMs && (count >= minCalls || atMs >= startedMs + WARM_MS)) return;
      const reply = await bus.request(TOPIC, data);
      if (reply.length !== bytes || reply[bytes - 1] !== 97) throw new Error(`a reply of ${reply.length} bytes`);
      samples.add(performance.now() - atMs);
      count++;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const [p50, p99] = samples.percentiles([50, 99]);
  return { count, perSecond: (count * 1_000) / (performance.now() - startedMs), p50, p99 };
}
