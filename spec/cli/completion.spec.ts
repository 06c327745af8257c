// Completion in real shells.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { runLine } from '../support/command-line.js';
import { describeUnless, type Obstacle } from '../support/obstacle.js';

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-completion-'));
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(join(folder, shell), (await runLine(['completion', shell])).out);
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function lackOf(shell: string): Obstacle | undefined {
  if (spawnSync(shell, ['-c', ':']).status === 0) return undefined;
  return { reason: `${shell} is missing: apt-get install ${shell}`, isMissing: true };
}

function inShell(shell: string, script: string): string[] {
  const { stdout, stderr, status } = spawnSync(shell, ['-c', script], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

describeUnless(lackOf('bash'), 'completion in bash', () => {
  const complete = (...words: string[]): string[] =>
    inShell(
      'bash',
      `complete() { :; }; source ${join(folder, 'bash')}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
       _starlane; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );

  it('completes commands', () => expect(complete('starlane', 'publ')).toEqual(['publish']));
  it('completes flags of the command', () => expect(complete('starlane', 'publish', '--weig')).toEqual(['--weight']));
  it('offers the form that changes something', () =>
    expect(complete('starlane', 'up', '--no-r')).toEqual(['--no-relay']));
  it('completes values that are choices', () => {
    expect(complete('starlane', 'up', '--role', 'se')).toEqual(['server']);
  });
  it('leaves the program behind -- alone', () => expect(complete('starlane', 'publish', '--', '--we')).toEqual([]));
});

describeUnless(lackOf('fish'), 'completion in fish', () => {
  const complete = (line: string): string[] =>
    inShell('fish', `source ${join(folder, 'fish')}; complete -C '${line}'`).map((text) => text.split('\t')[0]);

  it('completes commands', () => expect(complete('starlane publ')).toEqual(['publish']));
  it('completes flags of the command', () => expect(complete('starlane publish --weig')).toEqual(['--weight']));
  it('completes values that are choices', () => expect(complete('starlane up --role se')).toEqual(['server']));
});

describeUnless(lackOf('zsh'), 'completion in zsh', () => {
  it('is a script that zsh can load, with a function for starlane', () => {
    const script = `autoload -Uz compinit; compinit -u -d ${join(folder, 'dump')}; source ${join(folder, 'zsh')}; print $_comps[starlane]`;
    expect(inShell('zsh', script)).toEqual(['_starlane']);
  });
});
