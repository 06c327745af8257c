// starlane doctor

import { type Context, defineCommand } from '../command.js';
import { ControlClient } from '../control/client.js';
import { ExitCode, lineOf } from '../failure.js';
import { printable } from '../log.js';
import { chooseNetwork, isThere } from '../run/network.js';
import { nodeValues } from '../run/use-network.js';
import { Asker, withAsker } from './ask.js';
import { addressFindings, credentialFindings, type Finding, nodeFindings, systemFindings } from './checks.js';

const MARKS = { ok: 'ok', warning: 'look', fault: 'FAULT' } as const;
const STYLES = { ok: 'green', warning: 'yellow', fault: 'red' } as const;

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'look for what is wrong here, and on the way to others',
  description: 'What it prints has no secrets, and can be pasted into a report. Exit code 1: something is at fault.',
  usesNode: true,
  flags: {},
  examples: [
    { line: 'starlane doctor', about: 'this machine, its network and its neighbours' },
    { line: 'starlane doctor --join tls://10.0.0.1:7400', about: 'whether that address can be reached, too' },
  ],
  async run(context) {
    const findings = await examine(context);
    const { output } = context;
    output.json(findings);
    for (const { check, level, found, advice } of findings) {
      const mark = output.style(STYLES[level], MARKS[level].padEnd(5));
      output.line(
        `${mark}  ${check.padEnd(14)}  ${printable(found)}${advice === undefined ? '' : `\n${' '.repeat(23)}-> ${advice}`}`,
      );
    }
    const faults = findings.filter(({ level }) => level === 'fault').length;
    const warnings = findings.filter(({ level }) => level === 'warning').length;
    output.line(faults + warnings === 0 ? 'Nothing is wrong.' : `Faults: ${faults}. To look at: ${warnings}.`);
    return faults > 0 ? ExitCode.FAILURE : ExitCode.OK;
  },
});

async function examine(context: Context): Promise<Finding[]> {
  const findings = await systemFindings();
  const values = nodeValues(context);
  let addresses: readonly string[] = [];
  const network = chooseNetwork(values, context.environment);
  if (network.credentials !== undefined && isThere(network.credentials)) {
    const { findings: found, seeds } = credentialFindings(network.credentials, Date.now());
    findings.push({ check: 'network', level: 'ok', found: network.credentials }, ...found);
    addresses = seeds;
  } else if (network.seeds.length === 0) {
    findings.push({
      check: 'network',
      level: 'warning',
      found: 'this machine is in no network',
      advice: 'starlane publish or starlane init makes one, starlane join TOKEN joins one',
    });
  }
  findings.push(...(await addressFindings([...new Set([...network.seeds, ...addresses])])));
  if (network.credentials === undefined && network.seeds.length === 0) return findings;
  const client = new ControlClient(network.home.controlSocket(network.key));
  const isRunning = await client.isRunning();
  if (!isRunning && network.seeds.length + addresses.length === 0) {
    const found = 'none runs here, and this machine has none to join: it has made the network';
    findings.push({ check: 'node', level: 'warning', found, advice: 'starlane up, or starlane publish' });
    return findings;
  }
  if (!isRunning) findings.push({ check: 'node', level: 'ok', found: 'none runs here; started one to look around' });
  try {
    if (isRunning) findings.push(...(await nodeFindings(new Asker(client, values.timeout ?? 10_000))));
    else findings.push(...(await withAsker(context, nodeFindings)));
  } catch (error) {
    findings.push({
      check: 'node',
      level: 'fault',
      found: lineOf(error),
      advice: 'see the addresses and the certificate above',
    });
  }
  return findings;
}
