// What the two ends of a link prove to each other.

import { createHash, createHmac, verify } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../../lib/identity/identity.js';
import { publicKeyFrom } from '../../../lib/identity/signatures.js';
import {
  AuthRole,
  checkAuth,
  type HandshakeTranscript,
  makeAuth,
  transcriptHash,
} from '../../../lib/link/handshake/auth.js';

const KEY = Buffer.alloc(32, 7);
const identity = createIdentity();
const transcript: HandshakeTranscript = {
  role: AuthRole.CLIENT,
  binding: Buffer.alloc(32, 1),
  clientHello: Buffer.from('client'),
  serverHello: Buffer.from('server'),
};

describe('a proof', () => {
  it('covers what the protocol defines, byte by byte', () => {
    const bytes = Buffer.concat([
      Buffer.from('starlane link 1'),
      Buffer.from([1]),
      Buffer.from([0, 32]),
      transcript.binding,
      Buffer.from([0, 6]),
      transcript.clientHello,
      Buffer.from([1, 1]),
      Buffer.alloc(257, 3),
    ]);
    const serverHello = Buffer.alloc(257, 3);
    const hash = transcriptHash({ ...transcript, role: AuthRole.SERVER, serverHello });
    expect(hash).toEqual(createHash('sha256').update(bytes).digest());
    const { signature, proof } = makeAuth({ ...transcript, role: AuthRole.SERVER, serverHello }, identity.sign, [KEY]);
    expect(verify(null, hash, publicKeyFrom(identity.publicKey), signature)).toBe(true);
    expect(proof).toEqual(createHmac('sha256', KEY).update(hash).digest());
  });

  it('holds for the same handshake, with a secret and without', () => {
    for (const keys of [[KEY], []]) {
      expect(
        checkAuth(makeAuth(transcript, identity.sign, keys), transcript, identity.publicKey, keys),
      ).toBeUndefined();
    }
  });

  it('holds where one of the secrets of either end is one of the other, whichever', () => {
    const [older, newer] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const holds = (theirs: Buffer[], own: Buffer[]): boolean =>
      checkAuth(makeAuth(transcript, identity.sign, theirs), transcript, identity.publicKey, own) === undefined;
    for (const both of [
      [newer, older],
      [older, newer],
    ]) {
      for (const other of [[older], [newer], both]) {
        expect([holds(both, other), holds(other, both)]).toEqual([true, true]);
      }
      expect(holds(both, [KEY])).toBe(false);
    }
    expect(holds([older], [newer])).toBe(false);
  });

  it.each<[string, Partial<HandshakeTranscript>]>([
    ['of the other role, as one that was sent back', { role: AuthRole.SERVER }],
    ['of another tls session', { binding: Buffer.alloc(32, 2) }],
    ['of a link without tls', { binding: Buffer.alloc(0) }],
    ['of another HELLO of the client', { clientHello: Buffer.from('Client') }],
    ['of another HELLO of the server', { serverHello: Buffer.from('Server') }],
    [
      'of HELLOs that are the same only in a row',
      { clientHello: Buffer.from('clients'), serverHello: Buffer.from('erver') },
    ],
  ])('does not hold when it is %s', (_what, changes) => {
    const auth = makeAuth({ ...transcript, ...changes }, identity.sign, [KEY]);
    expect(checkAuth(auth, transcript, identity.publicKey, [KEY])).toMatchObject({
      error: { code: 'ERR_STARLANE_IDENTITY' },
    });
  });

  it('does not hold for the key of another, nor for bytes that are no key', () => {
    const auth = makeAuth(transcript, identity.sign, [KEY]);
    for (const publicKey of [createIdentity().publicKey, Buffer.alloc(32, 0xff), Buffer.alloc(32)]) {
      expect(checkAuth(auth, transcript, publicKey, [KEY])).toMatchObject({ error: { code: 'ERR_STARLANE_IDENTITY' } });
    }
  });

  it.each<[string, Buffer[], Buffer[], string, string]>([
    [
      'the peer has another secret',
      [Buffer.alloc(32, 8)],
      [KEY],
      'this node has a secret, and the peer has a different one',
      'this node has a secret, and the peer has a different one',
    ],
    [
      'the peer has none',
      [],
      [KEY],
      'this node has a secret, the peer has none',
      'the peer has a secret, this node has none',
    ],
    [
      'only the peer has one',
      [KEY],
      [],
      'the peer has a secret, this node has none',
      'this node has a secret, the peer has none',
    ],
  ])('is none of membership when %s, and each end reads it from its side', (_why, theirs, own, detail, peerReason) => {
    const auth = makeAuth(transcript, identity.sign, theirs);
    expect(checkAuth(auth, transcript, identity.publicKey, own)).toMatchObject({
      error: { code: 'ERR_STARLANE_SECRET', message: expect.stringMatching(new RegExp(`: ${detail}$`)) },
      peerReason,
    });
  });
});
