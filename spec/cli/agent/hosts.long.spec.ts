// Hosts as processes: rollouts of which one dies in the middle, agents that are killed and ended, and logs over a link that is cut.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SERVER } from '../../support/bundles.js';
import { Cable } from '../../support/cable.js';
import { isRunning, until as untilIn } from '../../support/caller.js';
import { type Command, type CommandResult, Machine } from '../../support/command.js';

const SLOW_MS = 60_000;

let operator: Machine;
let signer: string;
const hosts = new Map<string, { machine: Machine; agent: Command }>();

beforeEach(async () => {
  operator = new Machine();
  await operator.run(['init', '--name', 'ops']);
  signer = (await operator.run(['deploy', '--init-key', 'key.pem'])).stdout.trim();
  app('web', SERVER);
});

afterEach(async () => {
  await Promise.all(
    [operator, ...[...hosts.values()].map(({ machine }) => machine)].map((machine) => machine.dispose()),
  );
  hosts.clear();
});

/** Writes the one file of an app. */
function app(name: string, text: string): void {
  mkdirSync(join(operator.folder, name), { recursive: true });
  writeFileSync(join(operator.folder, name, 'main.mjs'), text);
}

async function up(...more: string[]): Promise<Command> {
  const node = operator.start(['up', '--listen', 'tls://127.0.0.1:0', ...more]);
  await node.waitFor(/^node /m, 'stdout', SLOW_MS);
  return node;
}

const agentArgs = () => ['agent', '--allow', 'members=ops rights=deploy,logs', '--signers', signer];

async function addHost(name: string): Promise<void> {
  const machine = new Machine();
  const { stdout } = await operator.run(['invite', name, '--tag', 'web', '--json']);
  const { token } = JSON.parse(stdout) as { token: string };
  const agent = machine.start([...agentArgs(), '--join', token]);
  await agent.waitFor(/^agent at/m, 'stdout', SLOW_MS);
  hosts.set(name, { machine, agent });
}

async function startAgain(name: string): Promise<void> {
  const { machine } = hosts.get(name) as { machine: Machine };
  const agent = machine.start(agentArgs());
  await agent.waitFor(/^agent at/m, 'stdout', SLOW_MS);
  hosts.set(name, { machine, agent });
}

const deployArgs = (version: string, to: string, ...more: string[]) => [
  'deploy',
  'web',
  '--from',
  'web',
  '--key',
  'key.pem',
  '--to',
  to,
  '--service',
  'web',
  '--check',
  '/',
  '--semver',
  version,
  '--json',
  ...more,
  '--',
  process.execPath,
  'main.mjs',
];

interface Rolled {
  readonly done: boolean;
  readonly hosts: ReadonlyArray<{ host: string; state: string; error?: { code: string; message: string } }>;
}

const rolled = ({ stdout }: CommandResult) => JSON.parse(stdout) as Rolled;
const states = (result: CommandResult) => rolled(result).hosts.map(({ host, state }) => `${host} ${state}`);

interface Status {
  readonly host: string;
  readonly state?: string;
  readonly version?: string;
  readonly pid?: number;
}

async function statuses(to: string): Promise<Status[]> {
  const { stdout } = await operator.start(['deploy', 'status', 'web', '--to', to, '--json']).finish(SLOW_MS);
  return JSON.parse(stdout) as Status[];
}

/** Agents and programs are other processes, which send no events here. */
const until = (what: string, is: () => Promise<boolean> | boolean) => untilIn(what, is, SLOW_MS);

describe('a rollout to five hosts', () => {
  it('of which one is killed in the middle is undone where it was done, and at that host when it comes back', async () => {
    await up();
    const names = ['h1', 'h2', 'h3', 'h4', 'h5'];
    for (const name of names) await addHost(name);
    const first = await operator.start(deployArgs('1.0.0', 'tag:web', '--parallel', '5')).finish(SLOW_MS);
    expect({ code: first.code, states: states(first) }).toEqual({
      code: 0,
      states: names.map((name) => `${name} deployed`),
    });
    // The second version takes its time, so that there is a middle.
    app('web', SERVER.replace('console.log', 'await new Promise((resolve) => setTimeout(resolve, 1500)); console.log'));
    const second = operator.start(deployArgs('2.0.0', names.join(','), '--timeout', '3s'));
    const third = hosts.get('h3') as { agent: Command };
    await until('the second version at h3', async () => {
      const [{ version }] = await statuses('h3');
      return version === '2.0.0';
    });
    await third.agent.stop('SIGKILL');
    const result = await second.finish(SLOW_MS);
    expect(states(result)).toEqual(['h1 rolled back', 'h2 rolled back', 'h3 failed', 'h4 skipped', 'h5 skipped']);
    expect(rolled(result)).toMatchObject({ done: false });
    expect(result.code).toBe(3);
    await startAgain('h3');
    await until('the first version everywhere', async () =>
      (await statuses('tag:web')).every(({ version, state }) => version === '1.0.0' && state === 'healthy'),
    );
  }, 240_000);
});

describe('an agent', () => {
  it('that is killed leaves no program, and starts its apps again', async () => {
    await up();
    await addHost('h1');
    expect((await operator.start(deployArgs('1.0.0', 'h1')).finish(SLOW_MS)).code).toBe(0);
    const [{ pid }] = await statuses('h1');
    await (hosts.get('h1') as { agent: Command }).agent.stop('SIGKILL');
    await startAgain('h1');
    await until('the app', async () => (await statuses('h1'))[0].state === 'healthy');
    expect((await statuses('h1'))[0].pid).not.toBe(pid);
    await until('the end of the first program', async () => !(await isRunning(pid as number)));
  }, 120_000);

  it('that gets SIGTERM ends its apps as they want to be ended', async () => {
    await up();
    await addHost('h1');
    app(
      'web',
      `${SERVER}
      import { writeFileSync } from 'node:fs';
      process.on('SIGTERM', () => { writeFileSync(process.env.DATA_FOLDER + '/ended', 'well'); process.exit(0); });`,
    );
    expect((await operator.start(deployArgs('1.0.0', 'h1')).finish(SLOW_MS)).code).toBe(0);
    const [{ pid }] = await statuses('h1');
    const { machine, agent } = hosts.get('h1') as { machine: Machine; agent: Command };
    const { code } = await agent.stop('SIGTERM', SLOW_MS);
    expect(code).toBe(0);
    expect(await isRunning(pid as number)).toBe(false);
    const [folder] = /\S+\/agent\/\S+/.exec(agent.stderr) ?? [''];
    expect(folder.startsWith(machine.folder)).toBe(true);
    expect(readFileSync(join(folder, 'apps/web/data/ended'), 'utf8')).toBe('well');
    expect(existsSync(join(folder, 'lock.sock'))).toBe(false);
  }, 120_000);

  it('follows the rules of a configuration file, and changes with it', async () => {
    await up();
    const machine = new Machine();
    const { token } = JSON.parse((await operator.run(['invite', 'h1', '--json'])).stdout) as { token: string };
    const file = join(machine.folder, 'starlane.yaml');
    const write = (rights: string) =>
      writeFileSync(
        file,
        `agent:\n  signers: [${signer}]\n  allow:\n    - members: [ops]\n      rights: [${rights}]\n`,
      );
    write('status');
    const agent = machine.start(['up', '--join', token]);
    hosts.set('h1', { machine, agent });
    await agent.waitFor(/^node /m, 'stdout', SLOW_MS);
    await operator.run(['services']);
    const refused = await operator.start(deployArgs('1.0.0', 'h1')).finish(SLOW_MS);
    expect(refused.code).toBe(4);
    expect(rolled(refused).hosts[0].error).toMatchObject({ code: 'EACCES' });
    write('deploy');
    agent.signal('SIGHUP');
    await agent.waitFor(/reloaded/, 'stderr', SLOW_MS);
    const result = await operator.start(deployArgs('1.0.0', 'h1')).finish(SLOW_MS);
    expect({ code: result.code, states: states(result) }).toEqual({ code: 0, states: ['h1 deployed'] });
  }, 120_000);
});

describe('a log that is followed', () => {
  it('is complete over a link that is cut', async () => {
    const cable = await Cable.open();
    const node = await up('--advertise', `tls://127.0.0.1:${cable.port}`);
    cable.to = Number((await node.waitFor(/listens at \S+:(\d+)/, 'stdout'))[1]);
    await addHost('h1');
    app(
      'web',
      `${SERVER}
      let number = 0;
      setInterval(() => console.log('line ' + number++), 20);`,
    );
    expect((await operator.start(deployArgs('1.0.0', 'h1')).finish(SLOW_MS)).code).toBe(0);
    const follower = operator.start(['deploy', 'logs', 'web', '--to', 'h1', '--follow', '--position', '0']);
    for (const line of [20, 120, 220]) {
      await follower.waitFor(new RegExp(`^line ${line}$`, 'm'), 'stdout', SLOW_MS);
      cable.cut();
    }
    await follower.waitFor(/^line 320$/m, 'stdout', SLOW_MS);
    const lines = follower.stdout
      .split('\n')
      .flatMap((line) => /^line (\d+)$/.exec(line)?.[1] ?? [])
      .map(Number);
    expect(lines.slice(0, 321)).toEqual(Array.from({ length: 321 }, (_, index) => index));
    await follower.stop('SIGINT', SLOW_MS);
    cable.close();
  }, 180_000);
});
