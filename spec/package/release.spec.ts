// The parts of a release that can go wrong unnoticed: the version, and the changelog.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { datedChangelog, lastRelease, nextVersion, parseArguments, unreleasedNotes } from '../../.ci/release.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FIRST = '# Changes\n\n## Unreleased\n\n- A node.\n- A link, at $& and $1.\n';
const LATER =
  '# Changes\n\n## Unreleased\n\n- Faster.\n\n## 1.2.3 (2026-01-31)\n\n- Slow.\n\n## 1.2.2 (2025-12-01)\n\n- Slower.\n';

describe('the next version', () => {
  it.each([
    ['1.2.3', 'patch', '1.2.4'],
    ['1.2.3', 'minor', '1.3.0'],
    ['1.2.3', 'major', '2.0.0'],
    ['0.0.0', 'minor', '0.1.0'],
    ['1.9.9', 'patch', '1.9.10'],
  ])('of %s by a %s is %s', (version, step, next) => {
    expect(nextVersion(version, step)).toBe(next);
  });

  it('throws for an invalid version or step', () => {
    expect(() => nextVersion('1.2', 'patch')).toThrow('not a version: 1.2');
    expect(() => nextVersion('1.2.3-rc.1', 'patch')).toThrow('not a version');
    expect(() => nextVersion('1.2.3', 'huge')).toThrow('usage');
  });

  it('follows the newest dated section of the changelog', () => {
    expect(lastRelease(FIRST)).toBe('0.0.0');
    expect(lastRelease(LATER)).toBe('1.2.3');
  });
});

describe('the changelog', () => {
  it('gives the notes of the next release alone', () => {
    expect(unreleasedNotes(FIRST)).toBe('- A node.\n- A link, at $& and $1.');
    expect(unreleasedNotes(LATER)).toBe('- Faster.');
  });

  it('must not be empty', () => {
    expect(() => unreleasedNotes('# Changes\n\n## 1.2.3 (2026-01-31)\n\n- Slow.\n')).toThrow('no section');
    expect(() =>
      datedChangelog('# Changes\n\n## Unreleased\n\n## 1.2.3 (2026-01-31)\n', '1.2.4', '2026-02-01'),
    ).toThrow('empty');
  });

  it('dates the section, and adds an empty one above it', () => {
    const dated = datedChangelog(LATER, '1.3.0', '2026-02-01');
    expect(dated).toBe(LATER.replace('## Unreleased\n', '## Unreleased\n\n## 1.3.0 (2026-02-01)\n'));
    expect(lastRelease(dated)).toBe('1.3.0');
    expect(() => unreleasedNotes(dated)).toThrow('empty');
    expect(datedChangelog(FIRST, '0.1.0', '2026-02-01')).toContain('at $& and $1.');
  });

  it('of this project can be released', () => {
    const changelog = readFileSync(`${ROOT}CHANGELOG.md`, 'utf8');
    expect(changelog).toContain('\n## Unreleased\n');
    const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string };
    const last = lastRelease(changelog);
    expect(last === '0.0.0' || last === version).toBe(true);
  });
});

describe('the command', () => {
  it('takes one step and two flags', () => {
    expect(parseArguments(['minor'])).toEqual({ step: 'minor', isDry: false, isPublic: false });
    expect(parseArguments(['--dry-run', 'patch'])).toEqual({ step: 'patch', isDry: true, isPublic: false });
    expect(parseArguments(['major', '--publish'])).toEqual({ step: 'major', isDry: false, isPublic: true });
    for (const wrong of [[], ['tiny'], ['patch', 'minor'], ['patch', '--force']]) {
      expect(() => parseArguments(wrong)).toThrow('usage');
    }
  });

  it('changes nothing in a dry run, and publishes only with --publish', () => {
    const run = (...flags: string[]): string => {
      // Its exit code says whether a release could be made from here, which is not what this is about.
      const script = `node .ci/release.mjs minor --dry-run ${flags.join(' ')} 2>/dev/null || true`;
      return execFileSync('sh', ['-c', script], { cwd: ROOT, encoding: 'utf8' });
    };
    const before = readFileSync(`${ROOT}CHANGELOG.md`, 'utf8');
    expect(run()).toContain('would run: git commit -m release: ');
    expect(run()).not.toMatch(/^run: |npm publish|git push/m);
    expect(run('--publish')).toContain('would run: npm publish');
    expect(readFileSync(`${ROOT}CHANGELOG.md`, 'utf8')).toBe(before);
  });
});
