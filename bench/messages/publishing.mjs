// What the cases of publishing share: so many messages as fast as they go, or at a rate, to subscribers that count or measure.

import { Samples } from '../statistics.mjs';

const TOPIC = 'bench.messages';
/** Milliseconds of a clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

/** @returns {import('./case.mjs').MessageCase['roles']} */
function publishRoles(/** @type {number} */ bytes, /** @type {number} */ connections) {
  return {
    publisher: ({ bus }) => {
      const data = new Uint8Array(bytes).fill(97);
      return {
        ready: (/** @type {number} */ subscribers) => bus.ready(TOPIC, subscribers),
        /** @param {number} count */
        async pump(count) {
          const startedMs = now();
          await bus.pump(TOPIC, data, count);
          return startedMs;
        },
        /** @param {number} perSecond @param {number} durationMs */
        async atRate(perSecond, durationMs) {
          const buffer = Buffer.alloc(Math.max(8, bytes));
          const startedMs = now();
          let sent = 0;
          await new Promise((resolve) => {
            const timer = setInterval(() => {
              const elapsedMs = now() - startedMs;
              while (sent < (elapsedMs * perSecond) / 1_000) {
                const stamped = Buffer.from(buffer);
                stamped.writeDoubleLE(now());
                bus.send(TOPIC, stamped);
                sent++;
              }
              if (elapsedMs < durationMs) return;
              clearInterval(timer);
              resolve(undefined);
            }, 1);
          });
          return sent;
        },
      };
    },
    subscriber: async ({ bus, open }) => {
      const samples = new Samples();
      let count = 0;
      let wanted = 0;
      let isStamped = false;
      let doneMs = 0;
      /** @type {() => void} */
      let onDone = () => {};
      const onData = (/** @type {Uint8Array} */ data) => {
        if (isStamped) samples.add(now() - Buffer.from(data.buffer, data.byteOffset, 8).readDoubleLE());
        if (++count !== wanted) return;
        doneMs = now();
        onDone();
      };
      bus.subscribe(TOPIC, onData);
      for (let index = 1; index < connections; index++) (await open()).subscribe(TOPIC, onData);
      return {
        /** @param {number} messages @param {boolean} withTimes */
        expect(messages, withTimes) {
          count = 0;
          wanted = messages * connections;
          isStamped = withTimes;
          samples.clear();
        },
        /** @param {number | undefined} messages */
        async done(messages) {
          if (messages !== undefined) wanted = messages * connections;
          if (count < wanted) {
            await new Promise((resolve) => {
              onDone = () => resolve(undefined);
            });
          }
          const [p50, p99] = samples.percentiles([50, 99]);
          return { doneMs, p50, p99 };
        },
      };
    },
  };
}

/** @type {import('../cases/case.mjs').Figure[]} */
const costFigures = [{ key: 'cpuUs', title: 'processor us a message', digits: 2 }];

/**
 * @param {{ name: string, bytes: number, processes: number, connections?: number, count: number, atLeast?: number }} what
 * @returns {import('./case.mjs').MessageCase}
 */
export function throughput({ name, bytes, processes, connections = 1, count, atLeast }) {
  const floors = atLeast === undefined ? [] : [{ against: 'nats', atLeast }];
  return {
    name,
    about: `${bytes} bytes, ${processes} processes of ${connections} subscribers each; messages a second at the publisher`,
    carriers: ['nats', 'starlane'],
    processes: { publisher: 1, subscriber: processes },
    figures: [{ key: 'perSecond', title: 'messages/s', digits: 0, floors }, ...costFigures],
    roles: publishRoles(bytes, connections),
    async round(fleet, { measureMs }) {
      const messages = Math.max(1_000, Math.round((count * measureMs) / 1_000));
      await fleet.call('publisher', 'ready', processes * connections);
      await fleet.callAll('subscriber', 'expect', messages, false);
      const cpuBefore = fleet.cpuSeconds();
      const [startedMs, ends] = await Promise.all([
        fleet.call('publisher', 'pump', messages),
        fleet.callAll('subscriber', 'done'),
      ]);
      const doneMs = Math.max(...ends.map((end) => end.doneMs));
      const cpuUs = ((fleet.cpuSeconds() - cpuBefore) * 1e6) / messages;
      return { perSecond: (messages * 1_000) / (doneMs - startedMs), cpuUs };
    },
  };
}

/**
 * @param {{ name: string, bytes: number, perSecond: number, processes?: number }} what
 * @returns {import('./case.mjs').MessageCase}
 */
export function latency({ name, bytes, perSecond, processes = 1 }) {
  return {
    name,
    about: `${bytes} bytes at ${perSecond} messages a second: how long each takes from publish to handler`,
    carriers: ['nats', 'starlane'],
    processes: { publisher: 1, subscriber: processes },
    figures: [
      { key: 'p50', title: 'p50 ms', digits: 3 },
      { key: 'p99', title: 'p99 ms', digits: 3, floors: [{ against: 'nats', atMost: 1 }] },
      ...costFigures,
    ],
    roles: publishRoles(bytes, 1),
    async round(fleet, { measureMs }) {
      await fleet.call('publisher', 'ready', processes);
      await fleet.callAll('subscriber', 'expect', Number.POSITIVE_INFINITY, true);
      const cpuBefore = fleet.cpuSeconds();
      const sent = await fleet.call('publisher', 'atRate', perSecond, measureMs);
      const ends = await fleet.callAll('subscriber', 'done', sent);
      const cpuUs = ((fleet.cpuSeconds() - cpuBefore) * 1e6) / sent;
      return { p50: Math.max(...ends.map((end) => end.p50)), p99: Math.max(...ends.map((end) => end.p99)), cpuUs };
    },
  };
}
