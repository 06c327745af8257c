// T3 and T10: what the control plane costs while nodes come and go, and whether circuits open meanwhile.

import { Churn, Opens } from '../churn.js';
import type { Network } from '../network.js';
import { percentileOf, sortedOf } from '../percentile.js';
import type { Figure, Gate, GateOptions } from './gate.js';

/** The rate of T10 is ten times that of T3. */
const HIGH_FACTOR = 10;
const OPENS_PER_NODE_S = 0.04;

export const traffic: Gate = {
  name: 'traffic',
  target: 'T3',
  about: 'bytes of the control plane while nodes come and go',
  async run(network, { churn, minutes }): Promise<Figure[]> {
    const going = new Churn(network, churn);
    const opens = new Opens(network, OPENS_PER_NODE_S * network.size);
    going.start();
    opens.start();
    const { mean, seconds } = await meter(network, minutes * 60);
    going.stop();
    opens.stop();
    await network.revive();
    return [
      {
        title: `received by a node at ${churn} % a minute, mean`,
        value: mean / 1_000,
        unit: 'KB/s',
        atMost: 2.5 * churn,
      },
      { title: '99 % of its seconds', value: percentileOf(seconds, 99) / 1_000, unit: 'KB/s', atMost: 20 },
      { title: 'departures', value: going.departures, unit: '' },
      ...openFigures(opens),
    ];
  },
};

export const opens: Gate = {
  name: 'opens',
  target: 'T10',
  about: 'circuits between live nodes while ten times as many come and go',
  async run(network, { churn, minutes }: GateOptions): Promise<Figure[]> {
    const going = new Churn(network, HIGH_FACTOR * churn);
    const circuits = new Opens(network, OPENS_PER_NODE_S * network.size);
    going.start();
    await network.world.loop.run(30_000);
    circuits.start();
    const { mean } = await meter(network, minutes * 60);
    going.stop();
    circuits.stop();
    await network.revive();
    const [share, ...rest] = openFigures(circuits);
    for (const [why, count] of circuits.failures) process.stderr.write(`  ${count} not opened: ${why}\n`);
    return [
      { ...share, atLeast: 99.9 },
      { title: 'departures', value: going.departures, unit: '' },
      ...rest,
      { title: 'received by a node, mean', value: mean / 1_000, unit: 'KB/s' },
    ];
  },
};

function openFigures(opens: Opens): Figure[] {
  const hops = sortedOf(opens.hops);
  return [
    { title: 'circuits opened', value: (100 * opens.opened) / opens.attempts, unit: '%' },
    { title: 'of', value: opens.attempts, unit: '' },
    { title: 'hops, median', value: percentileOf(hops, 50), unit: '' },
    { title: 'hops, most', value: percentileOf(hops, 100), unit: '' },
    { title: 'OPENs beyond those of the way, 99 %', value: percentileOf(sortedOf(opens.extraOpens), 99), unit: '' },
    { title: 'OPENs that came to a node twice', value: opens.revisits, unit: '' },
  ];
}

/** Bytes that live nodes received each second: the mean, and all seconds of all nodes in ascending order. */
async function meter(network: Network, seconds: number): Promise<{ mean: number; seconds: Float64Array }> {
  const samples: number[] = [];
  let total = 0;
  for (let second = 0; second < seconds; second++) {
    const before = new Map(network.live.map((node) => [node, node.traffic.bytesIn]));
    await network.world.loop.run(1_000);
    for (const [node, bytes] of before) {
      if (!node.isLive) continue;
      const received = node.traffic.bytesIn - bytes;
      samples.push(received);
      total += received;
    }
  }
  return { mean: total / samples.length, seconds: sortedOf(samples) };
}
