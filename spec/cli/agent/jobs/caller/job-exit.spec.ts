import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { exitCodeFor, JobExit } from '../../../../../lib/cli/agent/jobs/caller/job-exit.js';
import type { JobEnd, JobStatus } from '../../../../../lib/cli/agent/jobs/record.js';

const of = (end: JobEnd | undefined) => exitCodeFor({ end } as JobStatus);

describe('the exit code of starlane job run', () => {
  it('is that of the program, or follows from its signal', () => {
    expect(of({ kind: 'exited', exitCode: 3 })).toBe(3);
    expect(of({ kind: 'signalled', signal: 'SIGKILL' })).toBe(137);
    expect(of({ kind: 'cancelled', exitCode: 0 })).toBe(JobExit.CANCELLED);
    expect(of(undefined)).toBe(JobExit.UNKNOWN);
  });

  it('is listed in the documentation, each one', () => {
    const page = readFileSync(join(process.cwd(), 'docs/jobs.md'), 'utf8');
    const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    expect(codes).toEqual([...Object.values(JobExit)].sort((a, b) => a - b));
    const kinds = [...page.matchAll(/^\| (\d+) \| (.*) \|$/gm)];
    for (const [, code, text] of kinds) {
      for (const [, kind] of text.matchAll(/`([a-z]+(?:-[a-z]+)?)`/g)) {
        expect(of({ kind: kind as JobEnd['kind'] })).toBe(Number(code));
      }
    }
  });
});
