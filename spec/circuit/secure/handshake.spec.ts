// What the two ends of a secure circuit sign, and the keys that follow. The expected bytes come from another implementation (the
// hash functions and AES-GCM of Python), written from the text of the protocol.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EphemeralKey } from '../../../lib/circuit/secure/key-agreement.js';
import { nextKey } from '../../../lib/circuit/secure/secure-records.js';
import {
  acceptTranscript,
  type CircuitTerms,
  circuitKeys,
  dialTranscript,
} from '../../../lib/circuit/secure/transcript.js';
import { bytesOf, nodeId, serviceName, uint32 } from '../../support/arbitraries.js';
import { thrownCode } from '../../support/thrown.js';

const TERMS: CircuitTerms = {
  src: 'CAkKCwwNDg8',
  srcPort: 0x12345678,
  dst: 'AAECAwQFBgc',
  dstPort: 80,
  circuitId: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
  env: '00112233aabbccdd',
  service: 'echo',
};
const DIAL_KEYS = { publicKey: Buffer.alloc(32, 1), ephemeral: Buffer.alloc(32, 2) };
const ACCEPT_KEYS = { publicKey: Buffer.alloc(32, 4), ephemeral: Buffer.alloc(32, 5) };
const SIGNATURE = Buffer.alloc(64, 3);
const D = '24203a7d19a747035f65618225523c1d53e782cc6443c48683d9fa580abcea8c';
const A = '5e6d2c6acec8c88e6acacf4c547214d12d3edd07a0f5c4a0def0821fe597b946';

function hexOf({ key, iv }: { key: Buffer; iv: Buffer }): string {
  return `${key.toString('hex')} ${iv.toString('hex')}`;
}

describe('what the dialler signs', () => {
  it('is what the protocol says', () => {
    expect(dialTranscript(TERMS, DIAL_KEYS).toString('hex')).toBe(D);
    expect(dialTranscript({ ...TERMS, env: undefined, service: '' }, DIAL_KEYS).toString('hex')).toBe(
      'fa2b2a8d7470fd4ffb6fb6c4f97eec5bdab19a316166ff442458fb21d109bde6',
    );
  });

  it('changes with every field', () => {
    const terms = fc.record({
      src: nodeId,
      srcPort: uint32,
      dst: nodeId,
      dstPort: uint32,
      circuitId: bytesOf(16),
      env: fc.option(
        bytesOf(8).map((bytes) => Buffer.from(bytes).toString('hex')),
        { nil: undefined },
      ),
      service: fc.oneof(fc.constant(''), serviceName),
    });
    const names = ['src', 'srcPort', 'dst', 'dstPort', 'circuitId', 'env', 'service'] as const;
    fc.assert(
      fc.property(terms, terms, fc.constantFrom(...names), (one, other, name) => {
        fc.pre(String(one[name]) !== String(other[name]));
        expect(dialTranscript({ ...one, [name]: other[name] }, DIAL_KEYS)).not.toEqual(dialTranscript(one, DIAL_KEYS));
      }),
    );
    expect(dialTranscript(TERMS, ACCEPT_KEYS).toString('hex')).not.toBe(D);
  });
});

describe('what the other end signs', () => {
  it('is what the protocol says', () => {
    expect(acceptTranscript(Buffer.from(D, 'hex'), SIGNATURE, ACCEPT_KEYS, 8080).toString('hex')).toBe(A);
  });

  it('changes with every field', () => {
    const dial = Buffer.from(D, 'hex');
    const changed = [
      acceptTranscript(Buffer.alloc(32), SIGNATURE, ACCEPT_KEYS, 8080),
      acceptTranscript(dial, Buffer.alloc(64), ACCEPT_KEYS, 8080),
      acceptTranscript(dial, SIGNATURE, { ...ACCEPT_KEYS, publicKey: Buffer.alloc(32) }, 8080),
      acceptTranscript(dial, SIGNATURE, { ...ACCEPT_KEYS, ephemeral: Buffer.alloc(32) }, 8080),
      acceptTranscript(dial, SIGNATURE, ACCEPT_KEYS, 8081),
    ].map((transcript) => transcript.toString('hex'));
    expect(new Set([...changed, A]).size).toBe(6);
  });
});

describe('the keys of a circuit', () => {
  it('are what the protocol says', () => {
    const keys = circuitKeys(Buffer.alloc(32, 6), undefined, Buffer.from(A, 'hex'));
    expect(hexOf(keys.fromDialler)).toBe(
      'dc0249a66ae022e3b6a459752334067c8b3cd0f52c0efddc4c3cf4e26111c2ce 2304d0bee5566c4c6b6ded3b',
    );
    expect(hexOf(keys.fromServer)).toBe(
      '82811ea1da04fa14f924e6d777d62ccee83ff621544907ef1a5878418c667642 50c17b110efa632527883fb8',
    );
  });

  it('differ in a network with a secret', () => {
    const keys = circuitKeys(Buffer.alloc(32, 6), Buffer.alloc(32, 7), Buffer.from(A, 'hex'));
    expect(hexOf(keys.fromDialler)).toBe(
      '5f3c32bffaf67d314c254a2a795ad0b1af6ad0627ee6c86c6ebb6fe173d06a22 ce38b881d8896bca2899f600',
    );
    expect(hexOf(keys.fromServer)).toBe(
      'ae5cf32a35c3ad15d6f2dfbc33ffa69f1f265b4355aec01e4fed9775cd95fa38 6ddbba01668dd33a6c40c233',
    );
  });

  it('are followed by what the protocol says', () => {
    const { fromDialler } = circuitKeys(Buffer.alloc(32, 6), Buffer.alloc(32, 7), Buffer.from(A, 'hex'));
    expect(hexOf(nextKey(fromDialler))).toBe(
      '945e173762635042eae7032a074bc683ae71b01df03f291f6dea693bf51c2731 de27a21b4de756794d10109e',
    );
  });
});

describe('a key for one circuit', () => {
  it('gives both ends the same secret', () => {
    const [one, other, third] = [new EphemeralKey(), new EphemeralKey(), new EphemeralKey()];
    expect(one.publicKey).toHaveLength(32);
    expect(one.agree(other.publicKey)).toEqual(other.agree(one.publicKey));
    expect(one.agree(third.publicKey)).not.toEqual(one.agree(other.publicKey));
  });

  it.each([
    ['zero', '00'.repeat(32)],
    ['one', `01${'00'.repeat(31)}`],
    ['a point of order eight', 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'],
    ['the prime less one', `ec${'ff'.repeat(30)}7f`],
  ])('makes no secret of %s, with which every key comes to the same', (_what, hex) => {
    expect(thrownCode(() => new EphemeralKey().agree(Buffer.from(hex, 'hex')))).toBe('ERR_STARLANE_SECURE');
  });
});
