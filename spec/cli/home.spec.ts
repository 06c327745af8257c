// Where the command keeps things.

import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Home } from '../../lib/cli/home.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-home-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the control socket of a node', () => {
  it('is the same with a session of the user and without one, as for cron', () => {
    const STARLANE_HOME = join(folder, 'home');
    const path = new Home({ STARLANE_HOME }).controlSocket('node');
    expect(new Home({ STARLANE_HOME, XDG_RUNTIME_DIR: folder }).controlSocket('node')).toBe(path);
    expect(dirname(path)).toBe(join(STARLANE_HOME, 'run'));
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
  });

  it('has a path that is short enough', () => {
    const deep = join(folder, 'deep'.repeat(40));
    const path = new Home({ STARLANE_HOME: deep }).controlSocket('node');
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(103);
    expect(new Home({ STARLANE_HOME: deep }).controlSocket('node')).toBe(path);
    rmSync(dirname(path), { recursive: true });
  });

  it('is not in a folder that a link stands for, and that others may have made', () => {
    mkdirSync(join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'run'));
    expect(() => new Home({ STARLANE_RUN: join(folder, 'run') }).controlSocket('node')).toThrow('must be a folder');
  });

  it('fails at once where no folder can be made', () => {
    expect(() => new Home({ STARLANE_RUN: '/proc/nowhere/run' }).controlSocket('node')).toThrow('ENOENT');
  });
});
