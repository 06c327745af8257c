// The command line of the simulation.

import { parseArgs } from 'node:util';
import { EXTRA_GATES, GATES } from './gates/index.js';
import type { LatencyModel, PathConditions } from './paths.js';

export interface SimulateOptions {
  readonly help: boolean;
  readonly nodes: number;
  readonly clients: number;
  readonly hidden: number;
  readonly churn: number;
  readonly seed: number;
  readonly minutes: number;
  readonly scenarios: readonly string[];
  readonly json: boolean;
  readonly latency: LatencyModel;
  readonly conditions: PathConditions;
  readonly realCrypto: boolean;
  readonly cold: boolean;
  readonly trials: number;
  readonly steps: number;
}

export function usage(): string {
  return `usage: npm run simulate -- [options]

Runs thousands of control planes of lib/mesh in virtual time, and measures them against the gates. Exits with 1 when
one is missed.

  --nodes N            default 1000
  --clients N          of them are clients, which are not announced and relay nothing; default 0
  --hidden N           of the others cannot be dialled, as behind a NAT; default 0
  --churn P            nodes that leave and return after a minute, in percent a minute; default 1, ten times that for opens
  --seed N             determines the whole run; default 1
  --minutes N          length of the longer measurements in virtual time; default 5
  --scenario a,b       of ${GATES.map(({ name }) => name).join(',')}; default all. And ${EXTRA_GATES.map(({ name }) => name).join(',')}, when named
  --latency MODEL      'uniform' (default) or 'plane': 5 to 60 ms between two nodes, by chance or by distance
  --rtt MS             the same round trip between any two nodes, instead of a latency model
  --loss SHARE         packets lost in each direction, 0 to 0.5, such as 0.05: TCP resends them, and later data waits
  --cold               measure all gates on a network whose nodes start one after the other, not only the first
  --real-crypto        Ed25519, checked by every node for itself
  --json               everything measured, as JSON
  --trials N           instead of the gates: N random schedules of faults, the first with --seed, against the oracles; one
                       that fails is shortened and printed
  --steps N            of a schedule; default 40

${[...GATES, ...EXTRA_GATES].map(({ name, target, about }) => `  ${name.padEnd(20)} ${target.padEnd(4)} ${about}`).join('\n')}`;
}

export function readOptions(args: string[]): SimulateOptions {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h' },
      nodes: { type: 'string' },
      clients: { type: 'string' },
      hidden: { type: 'string' },
      churn: { type: 'string' },
      seed: { type: 'string' },
      minutes: { type: 'string' },
      scenario: { type: 'string' },
      latency: { type: 'string' },
      rtt: { type: 'string' },
      loss: { type: 'string' },
      cold: { type: 'boolean' },
      'real-crypto': { type: 'boolean' },
      json: { type: 'boolean' },
      trials: { type: 'string' },
      steps: { type: 'string' },
    },
  });
  const scenarios = values.scenario?.split(',') ?? GATES.map(({ name }) => name);
  for (const name of scenarios) {
    if (![...GATES, ...EXTRA_GATES].some((gate) => gate.name === name))
      throw new Error(`there is no scenario '${name}'`);
  }
  const nodes = readNumber('nodes', values.nodes ?? '1000', 4);
  const clients = readNumber('clients', values.clients ?? '0', 0);
  if (clients > nodes - 4) throw new Error('four nodes at least are no clients');
  const hidden = readNumber('hidden', values.hidden ?? '0', 0);
  if (hidden > nodes - clients - 4) throw new Error('four nodes at least can be dialled');
  const { latency = 'uniform' } = values;
  if (latency !== 'uniform' && latency !== 'plane') throw new Error(`there is no latency '${latency}'`);
  const loss = readNumber('loss', values.loss ?? '0', 0);
  if (loss > 0.5) throw new Error('--loss needs a share up to 0.5');
  const rttMs = values.rtt === undefined ? undefined : readNumber('rtt', values.rtt, 1);
  return {
    help: values.help ?? false,
    nodes,
    clients,
    hidden,
    churn: readNumber('churn', values.churn ?? '1', 0),
    seed: readNumber('seed', values.seed ?? '1', 0),
    minutes: readNumber('minutes', values.minutes ?? '5', 0.1),
    scenarios,
    json: values.json ?? false,
    latency,
    conditions: { rttMs, loss },
    realCrypto: values['real-crypto'] ?? false,
    cold: values.cold ?? false,
    trials: readNumber('trials', values.trials ?? '0', 0),
    steps: readNumber('steps', values.steps ?? '40', 1),
  };
}

function readNumber(name: string, text: string, min: number): number {
  const value = Number(text.replaceAll(/[_,]/g, ''));
  if (!(value >= min)) throw new Error(`--${name} needs a number from ${min}`);
  return value;
}
