import { cases as directCases } from '../../cases/idle.mjs';
import { deferred } from '../../deadline.mjs';

const CIRCUITS = 100_000;
const WARM_CIRCUITS = 20_000;
const BATCH = 1_000;

const [idle] = directCases;

/** @type {import('./case.mjs').RelayCase} */
const idleCircuits = {
  ...idle,
  name: 'idle',
  about: `what a relay at work holds for an open, idle circuit, of ${CIRCUITS.toLocaleString('en-US')} over its two links`,
  carriers: ['starlane'],
  figures: [
    { key: 'relayRss', title: 'relay B/circuit, RSS', digits: 0, floors: [{ atMost: 700 }] },
    { key: 'relayHeap', title: 'relay B/circuit, heap', digits: 0, floors: [{ atMost: 700 }] },
    { key: 'fromColdRss', title: 'relay B/circuit, RSS, with what its first work costs', digits: 0 },
    { key: 'streams', title: 'circuits', digits: 0, isAmount: true },
    { key: 'rate', title: 'opened/s', digits: 0, isAmount: true },
  ],
  server(run) {
    const side = idle.server(run);
    /** @param {import('node:stream').Duplex} socket */
    const warm = (socket) => {
      socket.on('error', run.fail);
      socket.resume();
    };
    return { ...side, services: { ...side.services, warm } };
  },
  // The first circuits make V8 grow its young generation by some 27 MB, once, independent of their number.
  async warm({ connect, fail }) {
    for (let opened = 0; opened < WARM_CIRCUITS; opened += BATCH) {
      const closed = Array.from({ length: BATCH }, () => {
        const { promise, resolve } = deferred();
        const socket = connect('warm');
        socket.on('error', fail);
        socket.on('close', resolve);
        socket.resume().end();
        return promise;
      });
      await Promise.all(closed);
    }
  },
  async client(run) {
    const settings = { ...run.settings, streams: run.settings.streams ?? CIRCUITS };
    return idle.client({ ...run, settings });
  },
  memory: (cold, warm, full, { streams }) => ({
    relayRss: (full.rss - warm.rss) / streams,
    relayHeap: (full.heap - warm.heap) / streams,
    fromColdRss: (full.rss - cold.rss) / streams,
  }),
};

export const cases = [idleCircuits];
