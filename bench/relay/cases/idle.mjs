import { cases as directCases } from '../../cases/idle.mjs';

const CIRCUITS = 100_000;

const [idle] = directCases;

/** @type {import('./case.mjs').RelayCase} */
const idleCircuits = {
  ...idle,
  name: 'idle',
  about: `what the relay holds for an open, idle circuit, of ${CIRCUITS.toLocaleString('en-US')} over its two links`,
  carriers: ['starlane'],
  figures: [
    { key: 'relayRss', title: 'relay B/circuit, RSS', digits: 0, floors: [{ atMost: 700 }] },
    { key: 'relayHeap', title: 'relay B/circuit, heap', digits: 0, floors: [{ atMost: 700 }] },
    { key: 'streams', title: 'circuits', digits: 0, isAmount: true },
    { key: 'rate', title: 'opened/s', digits: 0, isAmount: true },
  ],
  async client(run) {
    const settings = { ...run.settings, streams: run.settings.streams ?? CIRCUITS };
    return idle.client({ ...run, settings });
  },
  memory: (before, after, { streams }) => ({
    relayRss: (after.rss - before.rss) / streams,
    relayHeap: (after.heap - before.heap) / streams,
  }),
};

export const cases = [idleCircuits];
