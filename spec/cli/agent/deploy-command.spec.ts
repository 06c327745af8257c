// The command lines of deployments and agents: what they need, and what packing makes.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { runLine } from '../../support/command-line.js';

let folder: string;
let key: string;
let signer: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-deploy-'));
  key = join(folder, 'key.pem');
  mkdirSync(join(folder, 'web'));
  writeFileSync(join(folder, 'web/main.mjs'), '');
  signer = (await runLine(['deploy', '--init-key', key])).out.trim();
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (...argv: string[]) => runLine(argv, { STARLANE_HOME: join(folder, 'home') });
const pack = (...more: string[]) =>
  run('deploy', 'web', '--from', join(folder, 'web'), '--key', key, '--pack', join(folder, 'web.tar'), ...more);

describe('starlane deploy', () => {
  it('makes a key that only its user can read, and never overwrites one', async () => {
    expect(signer).toMatch(/^ed25519:[\w-]{43}$/);
    expect(statSync(key).mode & 0o777).toBe(0o600);
    const before = readFileSync(key, 'utf8');
    expect(await run('deploy', '--init-key', key)).toMatchObject({ code: 6 });
    expect(readFileSync(key, 'utf8')).toBe(before);
  });

  it('packs a folder, and says what is in it', async () => {
    const { code, out } = await pack('--number', '7', '--semver', '1.2.3', '--json', '--', 'node', 'main.mjs');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      bundle: join(folder, 'web.tar'),
      app: 'web',
      number: 7,
      version: '1.2.3',
      files: 1,
      bytes: 0,
    });
    const other = await run('deploy', 'api', '--from', join(folder, 'web.tar'), '--to', 'h1');
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining('is a bundle of web, not of api') });
    const changed = await run('deploy', 'web', '--from', join(folder, 'web.tar'), '--to', 'h1', '--semver', '2');
    expect(changed).toMatchObject({ code: 2, err: expect.stringContaining('--semver cannot change it') });
  });

  it('refuses a bundle that was changed after it was signed', async () => {
    await pack('--', 'node', 'main.mjs');
    const path = join(folder, 'web.tar');
    writeFileSync(path, readFileSync(path, 'latin1').replace('main.mjs', 'evil.mjs'), 'latin1');
    expect(await run('deploy', 'web', '--from', path, '--to', 'h1')).toMatchObject({
      code: 4,
      err: expect.stringContaining('its signature is not valid'),
    });
  });

  it('takes the version of package.json', async () => {
    writeFileSync(join(folder, 'web/package.json'), '{"version":"3.1.4"}');
    const { out } = await pack('--json', '--', 'node', 'main.mjs');
    expect(JSON.parse(out)).toMatchObject({ version: '3.1.4', files: 2 });
  });

  it('names a link in the folder, and leaves it out when it is to', async () => {
    symlinkSync('/etc/passwd', join(folder, 'web/secrets'));
    expect(await pack('--', 'node', 'main.mjs')).toMatchObject({
      code: 2,
      err: expect.stringContaining('neither a file nor a folder'),
    });
    expect(await pack('--ignore', 'secrets', '--', 'node', 'main.mjs')).toMatchObject({ code: 0 });
  });

  it.each([
    [['deploy', 'web'], 2, 'needs --to with hosts, or --pack with a file'],
    [['deploy'], 2, 'needs the name of an app'],
    [['deploy', 'Web', '--to', 'h1'], 2, 'small letters, digits and hyphens'],
    [['deploy', 'web', '--to', 'h1', '--from', '/nowhere'], 5, 'cannot be read'],
    [['deploy', 'status'], 2, '--to: needs hosts'],
    [['deploy', 'logs'], 2, "missing required argument 'APP'"],
    [['deploy', 'logs', 'web', '--to', 'h1', '--tail', '-1'], 2, '--tail: must be a whole number'],
  ])('answers %j with exit code %i', async (argv, code, text) => {
    expect(await run(...argv)).toMatchObject({ code, err: expect.stringContaining(text) });
  });

  it.each([
    [['--number', '1'], 'needs the program'],
    [['--command', 'x', '--', 'y'], 'two programs'],
    [['--app-env', 'X', '--', 'y'], 'must be NAME=VALUE'],
    [['--service', 'a b', '--', 'y'], 'no name that services may have'],
    [['--check', 'rm', '--service', 'a', '--', 'y'], '--check: must be tcp, none, or a path'],
    [['--ignore', '*', '--', 'y'], 'has no files'],
  ])('packs nothing for %j', async (more, text) => {
    const { code, err } = await pack(...more);
    expect({ fails: code !== 0, err }).toEqual({ fails: true, err: expect.stringContaining(text) });
  });
});

describe('starlane agent', () => {
  it.each([
    [[], 'needs --allow'],
    [['--allow', 'rights=deploy'], 'names nobody'],
    [['--allow', 'members=a rights=deploy', '--signers', 'ed25519:x'], '--signers: must be ed25519:'],
    [['--allow', 'members=a rights=deploy', '--keep-versions', '1'], '--keep-versions'],
  ])('is not started with %j', async (more, text) => {
    expect(await run('agent', ...more)).toMatchObject({ code: 2, err: expect.stringContaining(text) });
  });

  it('needs a network', async () => {
    expect(await run('agent', '--allow', 'members=a rights=deploy', '--signers', signer)).toMatchObject({ code: 5 });
  });

  it('takes rules as objects of the file, and names the line of a fault', async () => {
    const file = join(folder, 'starlane.yaml');
    writeFileSync(file, 'agent:\n  allow:\n    - members: [ops]\n      right: [deploy]\n');
    expect(await run('up', '--config', file)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/starlane\.yaml:\d+: agent\.allow/),
    });
    writeFileSync(file, 'agent:\n  allow: { members: [ops, "a b"], rights: deploy }\n');
    expect(await run('agent', '--config', file)).toMatchObject({ code: 5 });
    writeFileSync(file, 'agent:\n  allow: { members: [ops], rights: everything }\n');
    expect(await run('agent', '--config', file)).toMatchObject({
      code: 2,
      err: expect.stringContaining('not everything'),
    });
  });
});
