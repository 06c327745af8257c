import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { rawPublicKey } from '../../lib/identity/raw-key.js';
import { runProgram } from '../support/built-lib.js';
import { within } from '../support/deadline.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

describe('the bytes of a public key', () => {
  it.each(['ed25519', 'x25519'] as const)('are those that its JWK has: %s', (type) => {
    const { publicKey } = generateKeyPairSync(type as 'ed25519');
    const jwk = publicKey.export({ format: 'jwk' });
    expect(rawPublicKey(publicKey).toString('base64url')).toBe(jwk.x);
    expect(rawPublicKey(publicKey)).toHaveLength(32);
  });

  it('are read without a lock that a garbage collection needs', async () => {
    // A setter puts the collection where the allocations of an export as JWK may start one: then the process hangs.
    const child = runProgram(`
      import { setFlagsFromString } from 'node:v8';
      import { runInNewContext } from 'node:vm';
      setFlagsFromString('--expose-gc');
      const gc = runInNewContext('gc');
      for (const name of ['kty', 'crv', 'x']) {
        Object.defineProperty(Object.prototype, name, { set: () => gc(), configurable: true });
      }
      const node = starlane.createNode();
      say({ id: node.id.length });
      process.exit();`);
    try {
      expect(await within('the end of the program', child.exited)).toBe(0);
    } finally {
      child.kill();
    }
    expect(child.lines).toMatchObject([{ id: expect.any(Number) }]);
  });

  it('are read in one place', () => {
    const files = ['lib', 'bench', 'spec/support'].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true })
        .map((name) => join(folder, String(name)))
        .filter((name) => name.endsWith('.ts') && !name.includes('node_modules')),
    );
    const exporting = files.filter((file) => /\.export\([^)]*jwk/.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(exporting).toEqual([]);
  });
});
