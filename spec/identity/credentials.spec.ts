import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { createAuthority, openAuthority } from '../../lib/identity/authority.js';
import {
  readCredentials,
  updateAuthorities,
  updateCertificate,
  writeCredentials,
} from '../../lib/identity/credentials.js';
import { newAuthority, newMember } from '../support/members.js';

const authority = newAuthority();
const { identity, certificate } = newMember(authority);
const content = {
  key: identity.privateKey,
  certificate,
  authorities: [authority.certificate],
  seeds: ['tls://10.0.0.1:7000'],
  statements: [authority.revoke(newMember(authority).identity.publicKey, Date.now() + 1000)],
};

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'credentials');
});

describe('the folder of credentials', () => {
  it('is read as it was written, and only its owner may read it', () => {
    writeCredentials(folder, content);
    expect(readCredentials(folder)).toMatchObject({
      folder,
      seeds: content.seeds,
      statements: content.statements,
      member: { nodeId: identity.nodeId },
      authorityKeys: [authority.publicKey],
      authorityFile: undefined,
    });
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    expect(readdirSync(dirname(folder))).toEqual([basename(folder)]);
  });

  it('is never overwritten, whatever is there', () => {
    writeCredentials(folder, content);
    const key = readFileSync(join(folder, 'node.key'), 'utf8');
    expect(() => writeCredentials(folder, content)).toThrow('is there already');
    rmSync(join(folder, 'certificate.pem'));
    expect(() => writeCredentials(folder, content)).toThrow('is there already');
    expect(readFileSync(join(folder, 'node.key'), 'utf8')).toBe(key);
  });

  it('is refused with the name of the file that is missing, damaged or of another member', () => {
    writeCredentials(folder, content);
    const other = newMember(authority);
    const faults: Array<[string, string | undefined, RegExp]> = [
      ['node.key', undefined, /node\.key: is missing/],
      ['certificate.pem', undefined, /certificate\.pem: is missing/],
      ['authority.pem', undefined, /authority\.pem: is missing/],
      ['seeds', undefined, /seeds: is missing/],
      ['node.key', 'nonsense', /node\.key: /],
      ['certificate.pem', '', /certificate\.pem: has no certificate/],
      ['authority.pem', 'x', /authority\.pem: has no certificate/],
      ['seeds', '::::', /seeds: /],
    ];
    for (const [name, text, reason] of faults) {
      const file = join(folder, name);
      const before = readFileSync(file);
      if (text === undefined) rmSync(file);
      else writeFileSync(file, text);
      expect(() => readCredentials(folder)).toThrow(
        expect.objectContaining({ code: 'ERR_STARLANE_CREDENTIALS' }) as unknown as Error,
      );
      expect(() => readCredentials(folder)).toThrow(reason);
      writeFileSync(file, before, { mode: 0o600 });
    }
    updateCertificate(folder, other.certificate);
    expect(() => readCredentials(folder)).toThrow('certificate.pem is not the certificate of node.key');
    expect(() => readCredentials(`${folder}-none`)).toThrow('it is missing');
  });

  it('is refused when others may read the folder or the key', () => {
    writeCredentials(folder, content);
    chmodSync(folder, 0o755);
    expect(() => readCredentials(folder)).toThrow('it has mode 0755, must be 0700');
    chmodSync(folder, 0o700);
    chmodSync(join(folder, 'node.key'), 0o644);
    expect(() => readCredentials(folder)).toThrow('node.key: has mode 0644');
  });

  it('takes a renewed certificate and further authorities', () => {
    writeCredentials(folder, content);
    const next = newAuthority();
    updateAuthorities(folder, [authority.certificate, next.certificate]);
    updateCertificate(folder, newMember(next, {}, Date.now(), identity).certificate);
    expect(readCredentials(folder).member.authority).toEqual(next.publicKey);
  });
});

describe('the file of an authority', () => {
  it('is made once, with mode 0600, and read again', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'authority.key');
    const made = createAuthority(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(openAuthority(path).networkId).toBe(made.networkId);
    expect(() => createAuthority(path)).toThrow('is there already');
    chmodSync(path, 0o644);
    expect(() => openAuthority(path)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_AUTHORITY' }) as unknown as Error,
    );
    expect(() => openAuthority(`${path}.none`)).toThrow('is missing');
  });

  it('does not show its key when it is printed', async () => {
    const { inspect } = await import('node:util');
    expect(inspect(newAuthority(), { depth: 9, showHidden: true })).toMatch(/^Authority \{ networkId: '[\w-]{22}' \}$/);
  });
});
