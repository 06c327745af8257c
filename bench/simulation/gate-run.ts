// One network, all the gates that were asked for, and a table of what was measured.

import type { SimulateOptions } from './command.js';
import { type Figure, type Gate, holds } from './gates/gate.js';
import { GATES } from './gates/index.js';
import { Network } from './network.js';
import { makeRealPlane } from './real-plane.js';
import { World } from './world.js';

const START_MS = 10_000;
const WARM_UP_MS = 10_000;

interface Measured {
  readonly gate: Gate;
  readonly figures: readonly Figure[];
  readonly wallS: number;
}

/** True when every gate holds. */
export async function runGates(options: SimulateOptions): Promise<boolean> {
  const { nodes, seed, latency, realCrypto } = options;
  const begin = performance.now();
  const world = new World({ seed, latency, realCrypto, makePlane: makeRealPlane });
  const network = new Network(world, nodes);
  if (options.warm) await network.startWarm();
  else await network.startCold(START_MS);
  await network.settle(WARM_UP_MS);
  const measured: Measured[] = [];
  say(`${nodes} nodes are at rest at ${seconds(world.loop.now)} s of virtual time`, begin);
  for (const gate of GATES.filter(({ name }) => options.scenarios.includes(name))) {
    const gateBegin = performance.now();
    const figures = await gate.run(network, options);
    measured.push({ gate, figures, wallS: (performance.now() - gateBegin) / 1000 });
    say(`${gate.name} at ${seconds(world.loop.now)} s`, begin);
  }
  const summary = {
    options,
    virtualS: world.loop.now / 1000,
    wallS: (performance.now() - begin) / 1000,
    events: world.loop.count,
    signatureChecks: world.signatureChecks,
    memoryMb: process.memoryUsage().rss / 1e6,
  };
  if (options.json) console.log(JSON.stringify({ ...summary, gates: measured.map(toPlain) }, undefined, 2));
  else {
    console.log(toTable(measured));
    const { virtualS, wallS, events, memoryMb } = summary;
    console.log(
      `\nseed ${seed}, ${virtualS.toFixed(0)} s of virtual time in ${wallS.toFixed(0)} s, ${events} events, ${memoryMb.toFixed(0)} MB`,
    );
  }
  world.close();
  return measured.every(({ figures }) => figures.every((figure) => holds(figure) !== false));
}

function toPlain({ gate, figures, wallS }: Measured): object {
  const { name, target, about } = gate;
  return {
    name,
    target,
    about,
    wallS,
    figures: figures.map((figure) => ({ ...figure, holds: holds(figure) ?? null })),
  };
}

function toTable(measured: readonly Measured[]): string {
  const rows = [['gate', '', 'figure', 'measured', 'limit', 'holds']];
  for (const { gate, figures } of measured) {
    figures.forEach((figure, index) => {
      const verdict = holds(figure);
      rows.push([
        index === 0 ? gate.name : '',
        index === 0 ? gate.target : '',
        figure.title,
        `${number(figure.value)} ${figure.unit}`.trim(),
        limit(figure),
        verdict === undefined ? '' : verdict ? 'yes' : 'NO',
      ]);
    });
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row.map((cell, column) => (column === 3 ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))),
    )
    .map((row) => row.join('  ').trimEnd())
    .join('\n');
}

function limit({ atMost, atLeast }: Figure): string {
  if (atMost !== undefined) return `<= ${atMost}`;
  return atLeast === undefined ? '' : `>= ${atLeast}`;
}

function number(value: number): string {
  if (!Number.isFinite(value)) return 'never';
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 });
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(0);
}

/** Progress, apart from the result. */
function say(what: string, begin: number): void {
  process.stderr.write(`[${((performance.now() - begin) / 1000).toFixed(0)} s] ${what}\n`);
}
