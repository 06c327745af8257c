import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { pemOf } from '../../lib/identity/der.js';
import { issueCertificate, networkIdOf, readCertificate } from '../../lib/identity/member-certificate.js';
import { publicKeyFrom } from '../../lib/identity/signatures.js';
import { newAuthority, newMember } from '../support/members.js';

const authority = newAuthority();
const RIGHTS = { relay: true, offer: ['db*', 'a,b "c" ä'], issue: true };

describe('the certificate of a member', () => {
  it('says who it is and what it may do', () => {
    const { identity, certificate } = newMember(authority, { name: 'Büro 2', tags: ['web', 'x, y'], rights: RIGHTS });
    expect(readCertificate(certificate, [authority.publicKey])).toMatchObject({
      nodeId: identity.nodeId,
      publicKey: identity.publicKey,
      name: 'Büro 2',
      tags: ['web', 'x, y'],
      rights: RIGHTS,
      authority: authority.publicKey,
    });
  });

  it('is valid for 30 days, and for clocks that are five minutes behind', () => {
    const nowMs = Date.UTC(2030, 0, 1);
    const { certificate } = newMember(authority, {}, nowMs);
    const { notBeforeMs, notAfterMs } = readCertificate(certificate, [authority.publicKey]);
    expect([notBeforeMs - nowMs, notAfterMs - nowMs]).toEqual([-300_000, 30 * 86_400_000]);
  });

  it('is verified by OpenSSL against the certificate of the authority, also in strict mode', () => {
    const folder = mkdtempSync(join(tmpdir(), 'starlane-'));
    const { certificate } = newMember(authority, { name: 'Büro', tags: ['web'], rights: RIGHTS });
    writeFileSync(join(folder, 'ca.pem'), authority.certificatePem);
    writeFileSync(join(folder, 'member.pem'), pemOf(certificate));
    const verify = ['verify', '-x509_strict', '-CAfile', join(folder, 'ca.pem'), join(folder, 'member.pem')];
    expect(execFileSync('openssl', verify, { encoding: 'utf8' })).toContain('OK');
    const text = execFileSync('openssl', ['x509', '-noout', '-text', '-in', join(folder, 'member.pem')], {
      encoding: 'utf8',
    });
    expect(text).toContain('URI:starlane:tag:web');
    expect(text).toContain(`Starlane network ${networkIdOf(authority.publicKey)}`);
  });

  it('is refused when another authority has signed it, or a byte was changed', () => {
    const { certificate } = newMember(authority);
    const refused = expect.objectContaining({ code: 'ERR_STARLANE_CERTIFICATE' });
    expect(() => readCertificate(certificate, [newAuthority().publicKey])).toThrow(refused as unknown as Error);
    for (let at = 0; at < certificate.length; at += 7) {
      const changed = Buffer.from(certificate);
      changed[at] ^= 0x01;
      expect(() => readCertificate(changed, [authority.publicKey])).toThrow(refused as unknown as Error);
    }
    for (const cut of [certificate.subarray(0, -1), Buffer.concat([certificate, Buffer.of(0)]), Buffer.alloc(0)]) {
      expect(() => readCertificate(cut, [authority.publicKey])).toThrow(refused as unknown as Error);
    }
  });

  it('has its name as it was given, whatever characters it has', () => {
    for (const name of ['a,b+c="d"; <e>\\f #g', '#x', 'CN=x', 'a=b/c', 'Ü', '\\2C', "O'Neil"]) {
      const { certificate } = newMember(authority, { name });
      expect(readCertificate(certificate, [authority.publicKey]).name).toBe(name);
    }
  });

  it('leaves node:tls intact, which X509Certificate.toLegacyObject() breaks if it comes first', () => {
    // Node loads a part of tls for it, which then never gets its other half.
    const script = `
      const { X509Certificate } = await import('node:crypto');
      const { readCertificate } = await import(process.argv[1]);
      readCertificate(Buffer.from(process.argv[2], 'base64'), [Buffer.from(process.argv[3], 'base64')]);
      console.log(typeof process.getBuiltinModule('node:tls').createSecureContext);`;
    const { certificate } = newMember(authority);
    const built = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'read.mjs');
    const options = ['--bundle', '--platform=node', '--format=esm', '--log-level=error', `--outfile=${built}`];
    execFileSync('node_modules/.bin/esbuild', ['lib/identity/member-certificate.ts', ...options]);
    const parts = [built, certificate.toString('base64'), Buffer.from(authority.publicKey).toString('base64')];
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script, ...parts], {
      encoding: 'utf8',
    });
    expect(output.trim()).toBe('function');
  });

  it('is refused when it is that of an authority, of another key, or has no name that can be shown', () => {
    expect(() => readCertificate(authority.certificate, [authority.publicKey])).toThrow('that of an authority');
    const { identity } = newMember(authority);
    const content = { publicKey: identity.publicKey, tags: [], rights: RIGHTS, notBeforeMs: 0, notAfterMs: 1000 };
    for (const name of ['', ' x', 'a\nb', 'x'.repeat(65), '\u202eabc']) {
      expect(() => issueCertificate({ ...content, name }, authority)).toThrow(/name/);
    }
  });

  it('fits 2 KiB, or is not issued', () => {
    const tags = Array.from({ length: 16 }, (_, index) => `${'€'.repeat(20)}${index}`);
    expect(() => newMember(authority, { tags, rights: { offer: ['€'.repeat(80)] } })).toThrow(/2048/);
  });
});

describe('the certificate of an authority', () => {
  it('is always the same, signs itself, and may sign certificates only', () => {
    const certificate = new X509Certificate(authority.certificate);
    expect(authority.certificate.equals(authority.certificate)).toBe(true);
    expect(certificate.ca).toBe(true);
    expect(certificate.verify(publicKeyFrom(authority.publicKey))).toBe(true);
    expect(certificate.subject).toBe(`CN=Starlane network ${authority.networkId}`);
    expect(authority.networkId).toMatch(/^[\w-]{22}$/);
  });
});

describe('a certificate that is not in its one form', () => {
  const { certificate } = newMember(authority);
  const endingAt = certificate.length - 64 - 1;

  it('is refused when its signature has unused bits, which nobody signs', () => {
    for (let bits = 1; bits < 8; bits++) {
      const other = Buffer.from(certificate);
      other[endingAt] = bits;
      expect(() => readCertificate(other, [authority.publicKey])).toThrow(/not of Ed25519/);
    }
  });

  it('is refused with a code when its key is none that OpenSSL knows', () => {
    const bytes = Buffer.from(certificate);
    const at = bytes.indexOf(Buffer.from('302a300506032b6570', 'hex'));
    bytes[at + 8] = 0x3b;
    const end = bytes.length - 64 - 10;
    const signature = authority.sign(bytes.subarray(4, end));
    const signed = Buffer.concat([bytes.subarray(0, -64), signature]);
    expect(() => readCertificate(signed, [authority.publicKey])).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_CERTIFICATE' }),
    );
  });
});
