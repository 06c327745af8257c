// One network, all the requested gates, and a table of what was measured.

import type { SimulateOptions } from './command.js';
import { type Figure, type Gate, holds } from './gates/gate.js';
import { EXTRA_GATES, GATES } from './gates/index.js';
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
  const wanted = [...GATES, ...EXTRA_GATES].filter(({ name }) => options.scenarios.includes(name));
  const run = new GateRun(options);
  const ofMembers = wanted.filter(({ needsMembers }) => needsMembers);
  const others = wanted.filter(({ needsMembers }) => !needsMembers);
  // Gates about the start need a cold start; for the others a network that is made at once is quicker.
  if (options.cold) await run.measure(others, true);
  else {
    await run.measure(
      others.filter(({ needsStart }) => needsStart),
      true,
    );
    await run.measure(
      others.filter(({ needsStart }) => !needsStart),
      false,
    );
  }
  await run.measure(ofMembers, options.cold, true);
  run.print();
  return run.isGood;
}

class GateRun {
  private readonly begin = performance.now();
  private readonly measured: Measured[] = [];
  private virtualMs = 0;
  private events = 0;
  private signatureChecks = 0;

  constructor(private readonly options: SimulateOptions) {}

  get isGood(): boolean {
    return this.measured.every(({ figures }) => figures.every((figure) => holds(figure) !== false));
  }

  /** Measures these gates one after the other on one network. */
  async measure(gates: readonly Gate[], isCold: boolean, hasMembers = false): Promise<void> {
    if (gates.length === 0) return;
    const { nodes, clients, hidden, seed, latency, conditions, realCrypto } = this.options;
    const world = new World({ seed, latency, conditions, realCrypto, hasMembers, makePlane: makeRealPlane });
    const network = new Network(world, nodes, clients, hidden);
    if (isCold) await network.startCold(START_MS);
    else await network.startWarm();
    if (gates.some(({ needsStart }) => !needsStart)) await network.settle(WARM_UP_MS);
    this.say(`${nodes} nodes are there`, world);
    for (const gate of gates) {
      const begin = performance.now();
      const figures = await gate.run(network, this.options);
      this.measured.push({ gate, figures, wallS: (performance.now() - begin) / 1000 });
      this.say(`${gate.name}: ${figures.map(inWords).join('; ')}`, world);
    }
    this.virtualMs += world.loop.now;
    this.events += world.loop.count;
    this.signatureChecks += world.signatureChecks;
    world.close();
  }

  print(): void {
    const { options, measured, events, signatureChecks } = this;
    const virtualS = Math.round(this.virtualMs / 1000);
    const wallS = Math.round((performance.now() - this.begin) / 1000);
    const memoryMb = Math.round(process.memoryUsage().rss / 1e6);
    if (options.json) {
      const summary = { options, virtualS, wallS, events, signatureChecks, memoryMb };
      console.log(JSON.stringify({ ...summary, gates: measured.map(toPlain) }, undefined, 2));
      return;
    }
    console.log(toTable(measured));
    console.log(
      `\n${options.nodes} nodes, ${options.clients} of them clients, seed ${options.seed}: ${virtualS} s of virtual time in ${wallS} s, ${events} events, ${memoryMb} MB`,
    );
  }

  /** Progress, apart from the result. */
  private say(what: string, { loop }: World): void {
    const wallS = ((performance.now() - this.begin) / 1000).toFixed(0);
    process.stderr.write(`[${wallS} s] ${what}, at ${(loop.now / 1000).toFixed(0)} s of virtual time\n`);
  }
}

function inWords(figure: Figure): string {
  return `${figure.title} ${number(figure.value)} ${figure.unit}${holds(figure) === false ? ' MISSED' : ''}`;
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
