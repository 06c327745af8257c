// The command line: help, unknown words, and errors in one line with an exit code.

import { describe, expect, it } from '@jest/globals';
import { CATALOG, loadCommands } from '../../lib/cli/catalog.js';
import { nodeFlagsOf } from '../../lib/cli/run/node-flags.js';
import { SHARED_FLAGS } from '../../lib/cli/shared-flags.js';
import { runLine } from '../support/command-line.js';

describe('starlane', () => {
  it('lists every command in its help', async () => {
    const { code, out, err } = await runLine(['--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const { name, summary } of CATALOG)
      expect(out).toMatch(new RegExp(`^  ${name} +${summary.slice(0, 20)}`, 'm'));
  });

  it('prints the help and fails without a command', async () => {
    const { code, out } = await runLine([]);
    expect(code).toBe(2);
    expect(out).toContain('starlane publish web --port 3000');
  });

  it('prints its version', async () => {
    expect((await runLine(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [['foward'], "unknown command 'foward' (did you mean forward?); see starlane --help"],
    [['forward', '--prot', '1', '1:x'], "unknown option '--prot'; see starlane forward --help"],
    [['forward'], 'forward: needs PORT:SERVICE, such as 6379:redis'],
    [['ping'], "missing required argument 'TARGET'; see starlane ping --help"],
    [['up', '--role', 'king'], '--role: must be peer, client, server or router, not "king"'],
    [['up', '--timeout', 'soon'], '--timeout: must be a time such as 500ms, 10s or 2m, not "soon"'],
    [['up', '--config', '/nowhere/starlane.yaml'], '/nowhere/starlane.yaml: cannot be read (ENOENT)'],
    [['up', '--listen'], "option '--listen <ADDRESS>' argument missing; see starlane up --help"],
  ])('answers %j with one line and exit code 2', async (argv, line) => {
    expect(await runLine(argv)).toEqual({ code: 2, out: '', err: `starlane: ${line}\n` });
  });

  it('takes shared flags before the command', async () => {
    expect(await runLine(['--config', '/nowhere', 'up'])).toMatchObject({
      code: 2,
      err: 'starlane: /nowhere: cannot be read (ENOENT)\n',
    });
  });
});

describe('every command', () => {
  it('has the name and the summary that the catalog has', async () => {
    const commands = await loadCommands();
    expect(commands.map(({ name, summary }) => ({ name, summary }))).toEqual(
      CATALOG.map(({ name, summary }) => ({ name, summary })),
    );
  });

  it('has two examples at least, which name it', async () => {
    for (const { name, examples } of await loadCommands()) {
      expect({ name, examples: examples.length }).toEqual({ name, examples: Math.max(2, examples.length) });
      for (const { line } of examples.slice(0, 1)) expect(line).toContain(`starlane ${name}`);
    }
  });

  it('has two examples in each command below it', async () => {
    for (const { name, subcommands = [] } of await loadCommands()) {
      for (const below of subcommands) {
        expect(below.name.split(' ')[0]).toBe(name);
        expect(below.examples.length).toBeGreaterThanOrEqual(2);
        expect(below.examples[0].line).toContain(`starlane ${below.name}`);
        const { code, out } = await runLine([...below.name.split(' '), '--help']);
        expect({ name: below.name, code }).toEqual({ name: below.name, code: 0 });
        for (const { line } of below.examples) expect(out).toContain(line);
      }
    }
  });

  it('shows its flags, their variables and its examples in its help', async () => {
    for (const { name, examples } of await loadCommands()) {
      const { code, out } = await runLine([name, '--help']);
      expect({ name, code }).toEqual({ name, code: 0 });
      expect(out).toContain('--json');
      for (const { line } of examples) expect(out).toContain(line);
    }
  });

  it('has no flag with the name of one that all have, but for the timeout of checks, which goes first', async () => {
    const meant: Readonly<Record<string, readonly string[]>> = { publish: ['timeout'] };
    const shared = Object.keys(SHARED_FLAGS);
    for (const { name, flags, usesNode } of await loadCommands()) {
      const taken = [...shared, ...Object.keys(nodeFlagsOf(usesNode))];
      expect({ name, twice: Object.keys(flags).filter((flag) => taken.includes(flag)) }).toEqual({
        name,
        twice: meant[name] ?? [],
      });
    }
  });
});
