// Faults of a file that declares jobs: its author learns where.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readJobCommands } from '../../../../lib/cli/agent/jobs/declarations.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-jobs-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function faultOf(text: string, isInline = false): string {
  const path = join(folder, 'jobs.yaml');
  writeFileSync(path, text);
  try {
    readJobCommands(isInline ? text : path);
  } catch (error) {
    return (error as Error).message.replace(path, 'jobs.yaml');
  }
  throw new Error('it was accepted');
}

describe('a file of jobs', () => {
  it.each([
    ['an unknown key', 'backup:\n  run: [/bin/true]\n  tiemout: 3s\n', 'jobs.yaml:3: backup.tiemout: unknown key'],
    [
      'an unknown key of a parameter',
      'backup:\n  run: [/bin/echo, "{a}"]\n  params:\n    a: { pattern: x, patern: x }\n',
      'jobs.yaml:4: backup.params.a.patern: unknown key',
    ],
    [
      'a value of another type',
      'backup:\n  run: /bin/true\n',
      'jobs.yaml:2: backup.run: must be an array, not a string',
    ],
    ['a key twice', 'backup:\n  run: [/bin/true]\n  run: [/bin/false]\n', 'jobs.yaml:3: Map keys must be unique'],
  ])('with %s is refused with its place', (_what, text, fault) => {
    expect(faultOf(text)).toBe(fault);
  });

  it('that names the same part too often is refused', () => {
    const layers = Array.from(
      { length: 9 },
      (_, at) => `a${at}: &a${at} [${Array(9).fill(at === 0 ? 'x' : `*a${at - 1}`)}]`,
    );
    expect(faultOf(layers.join('\n'))).toMatch(/^jobs.yaml: Excessive alias count/);
  });

  it('in the configuration of a node is refused without a line', () => {
    expect(faultOf('{"backup":{"run":["/bin/true"],"tiemout":1}}', true)).toBe(
      'agent: jobs: backup.tiemout: unknown key',
    );
  });
});
