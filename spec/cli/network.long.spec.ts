// Networks and members by the command, as processes.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Command, Machine } from '../support/command.js';

let first: Machine;
let second: Machine;

beforeEach(() => {
  first = new Machine();
  second = new Machine();
});

afterEach(async () => {
  await Promise.all([first.dispose(), second.dispose()]);
});

/** A clock that is ahead by so many ms. */
function clockAhead(ms: number): Record<string, string> {
  const shift = `const RealDate = Date; const now = Date.now; globalThis.Date = class extends RealDate {
    constructor(...args) { if (args.length === 0) super(now() + ${ms}); else super(...args); }
    static now() { return now() + ${ms}; }
  };`;
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(shift)}` };
}

/** Runs the node of a new network. */
async function up(machine: Machine, ...args: string[]): Promise<Command> {
  expect(await machine.run(['init', '--name', 'first'])).toMatchObject({ code: 0 });
  const command = machine.start(['up', '--listen', 'tls://127.0.0.1:0', ...args]);
  await command.waitFor(/^node \S+ runs, and listens at /m, 'stdout');
  return command;
}

async function tokenOf(machine: Machine, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await machine.run(['invite', ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^On the other machine: .*\n$/) });
  return stdout.trim();
}

describe('starlane init', () => {
  it('makes a network once, in a folder that nobody else can enter', async () => {
    const { code, stdout } = await first.run(['init', '--name', 'first', '--json']);
    expect(code).toBe(0);
    const { network, credentials, name } = JSON.parse(stdout) as Record<string, string>;
    expect(network).toMatch(/^[\w-]{22}$/);
    expect(name).toBe('first');
    expect(statSync(credentials).mode & 0o777).toBe(0o700);
    expect(statSync(join(credentials, 'authority.key')).mode & 0o777).toBe(0o600);
  });

  it('does not overwrite a folder that is there', async () => {
    const args = ['init', '--credentials', join(first.folder, 'there')];
    expect(await first.run(args)).toMatchObject({ code: 0 });
    const again = await first.run(args);
    expect(again).toMatchObject({ code: 6, stdout: '' });
    expect(again.stderr).toMatch(/^starlane: .*there: is there already, and is not overwritten\n$/);
  });
});

describe('a network', () => {
  it('gets a member by a token, lists it, and loses it by revoke', async () => {
    await up(first);
    const token = await tokenOf(first, 'web-*', '--tag', 'blue', '--offer', 'web*');
    const joined = await second.run(['join', token, '--name', 'web-1', '--json']);
    expect(joined).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(joined.stdout)).toMatchObject({ name: 'web-1', tags: ['blue'], rights: { offer: ['web*'] } });
    const node = second.start(['up']);
    await node.waitFor(/^node \S+ runs/m, 'stdout');

    const listed = JSON.parse((await first.run(['members', '--json'])).stdout) as Array<{ name: string }>;
    expect(listed.map(({ name }) => name)).toEqual(['first', 'web-1']);

    expect(await first.run(['revoke', 'web-1'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^revoked web-1/),
    });
    await node.waitFor(/revoked/, 'stderr');
    expect(await first.run(['revoke', 'nobody'])).toMatchObject({
      code: 5,
      stdout: '',
      stderr: 'starlane: no member has the id or the name "nobody"\n',
    });
  });

  it('refuses a token that was used, in one line at the joiner', async () => {
    await up(first);
    const token = await tokenOf(first);
    expect(await second.run(['join', token])).toMatchObject({ code: 0 });
    const third = new Machine();
    try {
      const { code, stdout, stderr } = await third.run(['join', token]);
      expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
      expect(stderr).toMatch(/^starlane: the token has been used.*\n$/);
    } finally {
      await third.dispose();
    }
  });

  it('says how to use the network before, when it makes another one', async () => {
    const { credentials } = JSON.parse((await first.run(['init', '--json'])).stdout) as { credentials: string };
    expect((await first.run(['init'])).stderr).toContain(`the one before with --credentials ${credentials}.`);
  });

  it('says which clock is wrong', async () => {
    await up(first);
    const token = await tokenOf(first);
    const { code, stderr } = await second.run(['join', token], { env: clockAhead(-2 * 3_600_000) });
    expect(code).toBe(4);
    expect(stderr).toMatch(/^starlane: the clocks of two machines differ too much.*\n$/);
  });

  it('reads a token from standard input', async () => {
    await up(first);
    const command = second.start(['join', '-']);
    command.stdin.end(`${await tokenOf(first)}\n`);
    expect(await command.finish()).toMatchObject({ code: 0 });
  });

  it('shows what its node does by status, without an address', async () => {
    const node = await up(first);
    const { stdout } = await first.run(['status', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ pid: node.pid, state: 'open', tasks: [], links: [] });
    expect((await first.run(['status'])).stdout).toMatch(/^node +first, \S+ \(peer, open, pid \d+/);
  });
});

describe('starlane completion', () => {
  it('prints a script for a shell, and says which shells there are', async () => {
    expect(await first.run(['completion', 'bash'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^complete -o filenames -F _starlane starlane$/m),
      stderr: '',
    });
    expect(await first.run(['completion', 'tcsh'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'starlane: completion: must be bash, zsh or fish, not tcsh\n',
    });
  });
});

describe('a command without a network', () => {
  it.each([['status'], ['services'], ['up'], ['invite']])('%s says how to get one', async (name) => {
    const { code, stdout, stderr } = await first.run([name]);
    expect({ code, stdout }).toEqual({ code: 5, stdout: '' });
    expect(stderr).toMatch(/^starlane: there is no network yet: make one with .*\n$/);
  });

  it.each([
    ['helo', '--join: "helo" is neither a token nor an address such as tls://host:7400'],
    ['tls://127.0.0.1:1', '--join tls://127.0.0.1:1: needs a token, --credentials, or the secret of the network'],
  ])('that is to join %s learns at once what it lacks', async (address, line) => {
    expect(await first.run(['forward', '0:web', '--join', address])).toEqual({
      code: 2,
      stdout: '',
      stderr: `starlane: ${line}\n`,
    });
  });

  it('with a mistyped token says so', async () => {
    expect(await first.run(['join', 'starlane1.AAAA'])).toEqual({
      code: 4,
      stdout: '',
      stderr: 'starlane: the token is not valid: it was cut off or mistyped; copy all of it again\n',
    });
  });
});

describe('a member that cannot reach the network', () => {
  it('says why in one line, and ends with code 3', async () => {
    const node = await up(first);
    expect(await second.run(['join', await tokenOf(first)])).toMatchObject({ code: 0 });
    await node.stop();
    const { code, stdout, stderr } = await second.run(['services', '--timeout', '1s']);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^starlane: the network cannot be reached within 1 s: .*ECONNREFUSED.*\n$/);
  });

  it('and a node that does not run is named', async () => {
    await first.run(['init']);
    const { code, stderr } = await first.run(['invite']);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^starlane: no node runs here with .*; start one with starlane up\n$/);
  });
});

describe('starlane up', () => {
  it('is one process for one folder of credentials', async () => {
    await up(first);
    const { code, stderr } = await first.run(['up']);
    expect(code).toBe(6);
    expect(stderr).toMatch(/^starlane: a node with .* runs already; see starlane status\n$/);
  });

  it('takes over the control socket of a process that was killed', async () => {
    const node = await up(first);
    await node.stop('SIGKILL');
    const again = first.start(['up', '--listen', 'tls://127.0.0.1:0']);
    await again.waitFor(/^node \S+ runs/m, 'stdout');
    expect(await first.run(['status'])).toMatchObject({ code: 0 });
  });

  it('ends with code 0 on SIGTERM, and at once on the second one', async () => {
    const node = await up(first);
    expect(await node.stop('SIGTERM')).toMatchObject({ code: 0 });
  });

  it('names an address that is taken', async () => {
    const node = await up(first);
    const [, port] = await node.waitFor(/127\.0\.0\.1:(\d+)/, 'stdout');
    await second.run(['init']);
    const { code, stderr } = await second.run(['up', '--listen', `tls://127.0.0.1:${port}`]);
    expect(code).toBe(6);
    expect(stderr).toMatch(/^starlane: listen EADDRINUSE.*\n$/);
  });
});
