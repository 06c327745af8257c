import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nodeIdFromPublicKey } from '../../lib/address.js';
import { createIdentity, type Identity, isPrivate, readEpoch, writeEpoch } from '../../lib/identity/identity.js';
import { thrownCode } from '../support/thrown.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-identity-'));
  path = join(folder, 'node.key');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Whether a signature of the identity is one of its public key. */
function signs(identity: Identity): boolean {
  const x = Buffer.from(identity.publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const bytes = Buffer.from('anything');
  return verify(null, bytes, key, identity.sign(bytes));
}

describe('an identity', () => {
  it('has the id that follows from its key, and signs by it', () => {
    const identity = createIdentity();
    expect(identity.nodeId).toBe(nodeIdFromPublicKey(identity.publicKey));
    expect(signs(identity)).toBe(true);
  });

  it('is another one each time by default, and so is the id of the run', () => {
    const [one, two] = [createIdentity(), createIdentity()];
    expect(one.nodeId).not.toBe(two.nodeId);
    expect(one.bootId).not.toBe(two.bootId);
  });

  it('can be given as a key', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const [one, two] = [createIdentity(privateKey), createIdentity(privateKey)];
    expect(one.nodeId).toBe(two.nodeId);
    expect(one.bootId).not.toBe(two.bootId);
    expect(signs(one)).toBe(true);
  });

  it.each([
    ['a public key', () => generateKeyPairSync('ed25519').publicKey],
    ['a key of another kind', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
  ])('is no %s', (_name, make) => {
    expect(thrownCode(() => createIdentity(make()))).toBe('ERR_STARLANE_OPTION');
  });
});

/** Windows has no permissions of this kind. */
const hasModes = process.platform !== 'win32';

describe('the file of an identity', () => {
  it('is made for the owner alone when it is missing, and read from then on', () => {
    const made = createIdentity(path);
    if (hasModes) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toContain('PRIVATE KEY');
    expect(createIdentity(path).nodeId).toBe(made.nodeId);
  });

  (hasModes ? it : it.skip)('is refused when others may read or write it, and stays as it is', () => {
    createIdentity(path);
    const pem = readFileSync(path, 'utf8');
    for (const mode of [0o604, 0o622, 0o660]) {
      chmodSync(path, mode);
      expect(thrownCode(() => createIdentity(path))).toBe('ERR_STARLANE_OPTION');
    }
    expect(readFileSync(path, 'utf8')).toBe(pem);
  });

  it.each<[string, number, number, boolean]>([
    ['for its owner alone', 0o100600, 1000, true],
    ['for root alone', 0o100400, 0, true],
    ['of root, and the group may read it, as a mounted secret', 0o100440, 0, true],
    ['of root, and the group may read it, and root write', 0o100640, 0, true],
    ['of root, and the group may write it', 0o100660, 0, false],
    ['of root, and all may read it', 0o100444, 0, false],
    ['of a user, and the group may read it', 0o100440, 1000, false],
  ])('that is %s is private or not: mode %i, owner %i, %p', (_what, mode, uid, expected) => {
    expect(isPrivate(mode, uid)).toBe(expected);
  });

  it('is refused when it holds something else', () => {
    writeFileSync(path, 'no key', { mode: 0o600 });
    expect(thrownCode(() => createIdentity(path))).toBe('ERR_STARLANE_OPTION');
  });

  it('cannot be made where there is no folder', () => {
    expect(thrownCode(() => createIdentity(join(folder, 'missing', 'node.key')))).toBe('ERR_STARLANE_OPTION');
  });
});

describe('the epoch beside an identity', () => {
  it('is 0 until one is kept, and then the one that was kept last', () => {
    expect(readEpoch(path)).toBe(0);
    writeEpoch(path, 3);
    writeEpoch(path, 4);
    expect(readEpoch(path)).toBe(4);
    expect(existsSync(`${path}.epoch.new`)).toBe(false);
  });

  it.each(['', 'x', '-1', '1.5', '4294967296'])('is 0 when the file contains %j', (text) => {
    writeFileSync(`${path}.epoch`, text);
    expect(readEpoch(path)).toBe(0);
  });
});
