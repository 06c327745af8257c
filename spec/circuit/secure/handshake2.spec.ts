// Handshake 2: what the two ends sign, what follows from it, and that nothing on the way can alter it or have them do with less. The
// expected bytes come from another implementation (the hash functions of Python), written from the text of the protocol.

import { describe, expect, it } from '@jest/globals';
import type { NodeId } from '../../../lib/address.js';
import {
  AcceptHandshake,
  DialHandshake,
  type HandshakeContext,
  type KeyExchange,
  type KnownDestination,
  signedProof,
  verifySource,
} from '../../../lib/circuit/secure/handshake.js';
import { mlKem768 } from '../../../lib/circuit/secure/key-agreement.js';
import {
  acceptTranscript,
  type CircuitKeys,
  type CircuitTerms,
  circuitKeys,
  dialTranscript,
} from '../../../lib/circuit/secure/transcript.js';
import { CIRCUIT_PROOF_BYTES, encodeTerms, readProof } from '../../../lib/wire/circuit-proof.js';
import { encodeOpen, type Open, tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, type ReadReply, tryReadReply } from '../../../lib/wire/open-reply.js';
import { fakeKem } from '../../support/fake-kem.js';
import { createTestIdentity } from '../../support/identities.js';

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
const EXTRAS = {
  dstKey: Buffer.alloc(32, 9),
  keys: Buffer.from('0108080808', 'hex'),
  terms: encodeTerms({ mode: 3, signedAtS: 0x5a5b5c5d }),
};
const ACCEPT_KEYS = { publicKey: Buffer.alloc(32, 4), ephemeral: Buffer.alloc(32, 5) };
const SIGNATURE = Buffer.alloc(64, 3);
const KEM_KEY = Buffer.alloc(1184, 10);
const D = 'cc44bcdc51ae8e0d9782cf46a471b4301d0da4f8a08eddd2d2f39f5fbd54d23c';
const A = '96d4e5afb0de7b21bcef910870cfffb34640258088b419abe57034e02f6a13fa';
const HYBRID_A = '696492cc1a3a0b843849f8a64519bfb4f5b789a152d8dc9a44494ed5dc94e355';

function hexOf({ key, iv }: { key: Buffer; iv: Buffer }): string {
  return `${key.toString('hex')} ${iv.toString('hex')}`;
}

describe('The bytes of handshake 2', () => {
  it('that are signed are those of the protocol', () => {
    expect(dialTranscript(TERMS, DIAL_KEYS, EXTRAS).toString('hex')).toBe(D);
    const dial = Buffer.from(D, 'hex');
    const none = { choice: 0, kemKey: Buffer.alloc(0) };
    expect(acceptTranscript(dial, SIGNATURE, ACCEPT_KEYS, 8080, none).toString('hex')).toBe(A);
    const hybrid = { choice: 0x80, kemKey: KEM_KEY };
    expect(acceptTranscript(dial, SIGNATURE, ACCEPT_KEYS, 8080, hybrid).toString('hex')).toBe(HYBRID_A);
  });

  it('that encrypt are those of the protocol', () => {
    const plain = circuitKeys(Buffer.alloc(32, 6), Buffer.alloc(32, 7), Buffer.from(A, 'hex'), 2);
    expect(`${hexOf(plain.fromDialler)} | ${hexOf(plain.fromServer)}`).toBe(
      '85cc7c742dd64806e335342b4097af55b4727aca867c8e293e2e7467e17c2714 280e806105c7fd4e1710ca66 | 023fc871060f3da32437fae7d4fefebe6ca1f87c45b08af7d3888ba55d53c7bd 9ebe6ee52d0f9a76aa367ea4',
    );
    const kem = { secret: Buffer.alloc(32, 12), ciphertext: Buffer.alloc(1088, 11) };
    const hybrid = circuitKeys(Buffer.alloc(32, 6), Buffer.alloc(32, 7), Buffer.from(HYBRID_A, 'hex'), 2, kem);
    expect(`${hexOf(hybrid.fromDialler)} | ${hexOf(hybrid.fromServer)}`).toBe(
      'b76d32df2cc93d989abbae2d889e99f2370d540a28776032f686ca2ba6d31c1f 8764e00f592b890e002a9a00 | c984b4472b5a33f5a0c7f428115c3820e1641b2a52e41087789adbe8e446dee1 ff31ec882dda987632cf1444',
    );
  });
});

const NOW_S = 1_700_000_000;
const SECRET = Buffer.alloc(32, 1);
const OTHER_SECRET = Buffer.alloc(32, 2);

/** One end: a node with its key. */
function createEnd(changes: Partial<HandshakeContext> = {}): HandshakeContext & { nodeId: NodeId } {
  const identity = createTestIdentity();
  const context = { identity, networkKeys: [SECRET], kem: fakeKem, checkKey: () => {}, ...changes };
  return { ...context, nodeId: identity.nodeId };
}

/** A circuit between two ends, step by step, with what a relay may do in between. */
class Circuit {
  readonly known: KnownDestination;
  readonly dial: DialHandshake;
  accepted!: AcceptHandshake;

  constructor(
    readonly source = createEnd(),
    readonly server = createEnd(),
    known: Partial<KnownDestination> = {},
    version: 1 | 2 = 2,
  ) {
    this.known = { publicKey: server.identity.publicKey, isHybrid: true, nowS: NOW_S, ...known };
    this.dial = new DialHandshake(this.terms, source, version === 1 ? undefined : this.known);
  }

  get terms(): CircuitTerms {
    return { ...TERMS, src: this.source.nodeId, dst: this.server.nodeId };
  }

  get open(): Open {
    return openWith(this.terms, this.dial.proof);
  }

  /** The server reads OPEN, and answers. */
  answer(open = this.open): { reply: ReadReply; behind: Buffer; keys: CircuitKeys | KeyExchange } {
    this.accepted = new AcceptHandshake(open, this.server);
    const { proof, behind, keys } = this.accepted.accept(8080);
    const bytes = encodeReply({ code: 0, port: 8080, at: this.server.nodeId, proof });
    return { reply: (tryReadReply(bytes) as { reply: ReadReply }).reply, behind, keys };
  }

  /** The keys of both ends, as text; those of the server for `ciphertext`, which a relay may alter. */
  async keys(alter: (ciphertext: Buffer) => Buffer = (same) => same): Promise<[dialler: string, server: string]> {
    const { reply, behind, keys } = this.answer();
    expect(this.dial.bytesBehind(reply)).toBe(behind.length);
    expect(this.dial.verify(reply, behind)).toBeUndefined();
    const own = Reflect.get(this.dial, 'keys') as CircuitKeys;
    const kem = Reflect.get(this.dial, 'kem') as { ciphertext: Buffer } | undefined;
    const theirs = 'bytes' in keys ? keys.keys(alter((kem as { ciphertext: Buffer }).ciphertext)) : keys;
    return [own, theirs].map(({ fromDialler, fromServer }) => `${hexOf(fromDialler)} ${hexOf(fromServer)}`) as [
      string,
      string,
    ];
  }
}

function openWith(terms: CircuitTerms, proof: Buffer): Open {
  const bytes = encodeOpen({ ...terms, env: terms.env as string, hopLimit: 8, proof });
  return (tryReadOpen(bytes) as { open: Open }).open;
}

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] ^= 1;
  return copy;
}

/** Why a step fails, without the text of its code; empty when it does not. */
function faultOf(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_STARLANE_SECURE' });
    return (error as Error).message.replace(/^.*?: /, '');
  }
  return '';
}

describe('Two ends of handshake 2', () => {
  it.each([
    ['with ML-KEM on both', fakeKem, fakeKem, true],
    ['with ML-KEM at the dialler only', fakeKem, undefined, false],
    ['with ML-KEM at the server only', undefined, fakeKem, false],
    ['without ML-KEM', undefined, undefined, false],
  ])('have the same keys, %s', async (_what, near, far, isQuantumSafe) => {
    const circuit = new Circuit(createEnd({ kem: near }), createEnd({ kem: far }));
    const [dialler, server] = await circuit.keys();
    expect(dialler).toBe(server);
    expect([circuit.dial.isQuantumSafe, circuit.accepted.isQuantumSafe]).toEqual([isQuantumSafe, isQuantumSafe]);
    expect(circuit.accepted).toMatchObject({ isEncrypted: true, signedAtS: NOW_S });
    expect(circuit.accepted.sourceKey).toEqual(circuit.source.identity.publicKey);
  });

  it('do without ML-KEM when the dialler does not know that the server has it', async () => {
    const circuit = new Circuit(undefined, undefined, { isHybrid: false });
    const [dialler, server] = await circuit.keys();
    expect([dialler === server, circuit.dial.isQuantumSafe]).toEqual([true, false]);
  });

  it('have the keys of handshake 1 when the dialler does not know more of the server', async () => {
    const circuit = new Circuit(undefined, undefined, {}, 1);
    const [dialler, server] = await circuit.keys();
    expect([dialler === server, circuit.accepted.signedAtS, circuit.dial.proof.length]).toEqual([true, undefined, 133]);
  });

  it('have other keys when a byte of the ciphertext was altered', async () => {
    for (const at of [0, 500, 1087]) {
      const [dialler, server] = await new Circuit().keys((ciphertext) => flipped(ciphertext, at));
      expect(dialler).not.toBe(server);
    }
  });
});

describe('Secrets in handshake 2', () => {
  const none: Buffer[] = [];

  it.each([
    ['one of several', [OTHER_SECRET, SECRET], [SECRET], false],
    ['none', none, none, false],
    ['none at the dialler, where the server knows the members', none, [SECRET], true],
    ['none at the server, where the dialler knows the members', [SECRET], none, true],
    ['two that differ, where both know the members', [SECRET], [OTHER_SECRET], true],
  ])('may be %s', async (_what, near, far, mayLackSecret) => {
    const ends = [near, far].map((networkKeys) => createEnd({ networkKeys, mayLackSecret }));
    const [dialler, server] = await new Circuit(ends[0], ends[1]).keys();
    expect(dialler).toBe(server);
  });

  it.each([
    ['none at the dialler', none, [SECRET]],
    ['none at the server', [SECRET], none],
    ['two that differ', [SECRET], [OTHER_SECRET]],
  ])('may not be %s else', (_what, near, far) => {
    const circuit = new Circuit(createEnd({ networkKeys: near }), createEnd({ networkKeys: far }));
    expect(faultOf(() => circuit.answer())).toBe('the two nodes have no secret in common');
  });

  it('are not done without because the server says so', () => {
    const circuit = new Circuit(createEnd(), createEnd({ networkKeys: none, mayLackSecret: true }));
    const { reply, behind } = circuit.answer();
    expect(circuit.dial.verify(reply, behind)?.message).toContain('the two nodes have no secret in common');
  });
});

describe('An OPEN of handshake 2', () => {
  const FORGED = /^the OPEN is not what .{11} has signed$/;
  const proofPart = (at: number) => (open: Open) => ({ ...open, proof: flipped(open.proof as Uint8Array, at) });
  const hintsAt = CIRCUIT_PROOF_BYTES;
  const changes: Array<[what: string, change: (open: Open) => Open]> = [
    ['the source', (open) => ({ ...open, src: 'AAAAAAAAAAA' })],
    ['the port of the source', (open) => ({ ...open, srcPort: 1 })],
    ['the destination', (open) => ({ ...open, dst: 'AAAAAAAAAAA' })],
    ['the port', (open) => ({ ...open, dstPort: 1 })],
    ['the circuit id', (open) => ({ ...open, circuitId: Buffer.alloc(16) })],
    ['the env', (open) => ({ ...open, env: '0011223344556677' })],
    ['no env', (open) => ({ ...open, env: undefined })],
    ['the service', (open) => ({ ...open, service: 'other' })],
    ['the public key', proofPart(0)],
    ['the ephemeral key', proofPart(32)],
    ['the signature', proofPart(64)],
    ['a hint', proofPart(hintsAt + 1)],
    ['no hints', (open) => ({ ...open, proof: without(open, hintsAt + 1, hintsAt + 5, hintsAt) })],
    ['the mode, without ML-KEM', (open) => proofBits(open, -5, 0x2)],
    ['the mode, not encrypted', (open) => proofBits(open, -5, 0x1)],
    ['the time', proofPart(-1)],
    ['terms of a later version', (open) => ({ ...open, proof: longer(open) })],
    ['handshake 1', (open) => ({ ...open, proof: (open.proof as Buffer).subarray(0, hintsAt + 5) })],
    ['handshake 1 without hints', (open) => ({ ...open, proof: (open.proof as Buffer).subarray(0, hintsAt) })],
  ];

  function without({ proof }: Open, from: number, to: number, countAt: number): Buffer {
    const copy = Buffer.from(proof as Uint8Array);
    copy[countAt] = 0;
    return Buffer.concat([copy.subarray(0, from), copy.subarray(to)]);
  }

  function proofBits(open: Open, at: number, bits: number): Open {
    const proof = Buffer.from(open.proof as Uint8Array);
    proof[proof.length + at] ^= bits;
    return { ...open, proof };
  }

  function longer({ proof }: Open): Buffer {
    const copy = Buffer.concat([proof as Buffer, Buffer.from([7])]);
    copy[copy.length - 7]++;
    return copy;
  }

  it.each(changes)('in which a relay writes %s does not hold', (_what, change) => {
    const circuit = new Circuit();
    expect(() => circuit.answer()).not.toThrow();
    // As it arrives: what cannot be read is refused before.
    const changed = change(circuit.open);
    const open = (tryReadOpen(encodeOpen(changed)) as { open: Open }).open;
    expect(faultOf(() => circuit.answer(open))).toMatch(FORGED);
  });

  it('without its proof does not hold', () => {
    const circuit = new Circuit();
    expect(faultOf(() => circuit.answer({ ...circuit.open, proof: undefined }))).toContain('the OPEN has no proof of');
  });

  it('for another key of the destination does not hold, even if the id is the same', () => {
    const circuit = new Circuit(undefined, undefined, { publicKey: createTestIdentity().publicKey });
    expect(faultOf(() => circuit.answer())).toMatch(FORGED);
  });

  it('may have terms of a later version, if they are signed', () => {
    const circuit = new Circuit();
    const { publicKey, sign } = circuit.source.identity;
    const { ephemeral, keys, terms } = readProof(circuit.dial.proof);
    const later = Buffer.concat([Buffer.from([terms[0] + 1]), terms.subarray(1), Buffer.from([7])]);
    const dstKey = circuit.server.identity.publicKey;
    const transcript = dialTranscript(circuit.terms, { publicKey, ephemeral }, { dstKey, keys, terms: later });
    const signature = sign(Buffer.concat([Buffer.from('starlane dial 2'), transcript]));
    const proof = Buffer.concat([publicKey, ephemeral, signature, keys, later]);
    circuit.answer(openWith(circuit.terms, proof));
    expect(circuit.accepted).toMatchObject({ isEncrypted: true, signedAtS: NOW_S });
  });

  it('can be checked by a relay that knows the key of the destination', () => {
    const circuit = new Circuit();
    const { publicKey } = circuit.server.identity;
    expect(verifySource(circuit.open, publicKey, () => {})).toMatchObject({ version: 2, signedAtS: NOW_S });
    expect(faultOf(() => verifySource(circuit.open, undefined, () => {}))).toContain('is not known');
    const first = new Circuit(undefined, undefined, {}, 1);
    expect(verifySource(first.open, undefined, () => {})).toMatchObject({ version: 1, signedAtS: undefined });
  });

  it.each([1, 2] as const)(
    'of handshake %d is read by the code of the other version as forged, never as another',
    (version) => {
      const circuit = new Circuit(undefined, undefined, {}, version);
      const parts = readProof(circuit.dial.proof);
      const other = Buffer.concat([
        parts.publicKey,
        parts.ephemeral,
        parts.signature,
        parts.keys,
        version === 1 ? encodeTerms({ mode: 1, signedAtS: NOW_S }) : Buffer.alloc(0),
      ]);
      expect(faultOf(() => circuit.answer(openWith(circuit.terms, other)))).toMatch(FORGED);
    },
  );
});

describe('A reply of handshake 2', () => {
  const changes: Array<[what: string, change: (reply: ReadReply) => ReadReply]> = [
    ['the port', (reply) => ({ ...reply, port: 1 })],
    ['the ephemeral key', (reply) => ({ ...reply, proof: flipped(reply.proof as Uint8Array, 32) })],
    ['the signature', (reply) => ({ ...reply, proof: flipped(reply.proof as Uint8Array, 64) })],
    ['the public key', (reply) => ({ ...reply, proof: flipped(reply.proof as Uint8Array, 0) })],
    ['another hint', (reply) => ({ ...reply, proof: flipped(reply.proof as Uint8Array, -1) })],
    ['no choice', (reply) => ({ ...reply, proof: (reply.proof as Buffer).subarray(0, -1) })],
    ['no proof', (reply) => ({ ...reply, proof: undefined })],
  ];

  it.each(changes)('in which a relay writes %s does not hold', (_what, change) => {
    for (const kem of [fakeKem, undefined]) {
      const circuit = new Circuit(undefined, createEnd({ kem }));
      const { reply, behind } = circuit.answer();
      const altered = change(reply);
      const said = circuit.dial.verify(altered, behind.subarray(0, circuit.dial.bytesBehind(altered)));
      expect(said).toMatchObject({ code: 'ERR_STARLANE_SECURE' });
    }
  });

  it('from which a relay has taken the offer of ML-KEM does not hold', () => {
    const circuit = new Circuit();
    const { reply } = circuit.answer();
    const proof = Buffer.from(reply.proof as Uint8Array);
    proof[proof.length - 1] &= ~0x80;
    const stripped = { ...reply, proof };
    expect(circuit.dial.bytesBehind(stripped)).toBe(0);
    expect(circuit.dial.verify(stripped)?.message).toMatch(/the reply is not what .{11} has signed/);
  });

  it.each([0, 600, 1183])('whose ML-KEM key was altered at byte %d does not hold', (at) => {
    const circuit = new Circuit();
    const { reply, behind } = circuit.answer();
    expect(circuit.dial.verify(reply, flipped(behind, at))?.message).toMatch(/is not what .{11} has signed/);
  });

  it('to another OPEN does not hold', () => {
    const [one, other] = [new Circuit(), new Circuit()];
    const { reply, behind } = one.answer();
    expect(other.dial.verify(reply, behind)).toBeDefined();
    const twin = new Circuit(one.source, one.server);
    expect(twin.dial.verify(reply, behind)?.message).toMatch(/is not what .{11} has signed/);
  });

  it('to an OPEN that offered no ML-KEM brings no key', () => {
    const circuit = new Circuit(createEnd({ kem: undefined }));
    const { reply, behind } = circuit.answer();
    expect([behind.length, circuit.dial.bytesBehind(reply)]).toEqual([0, 0]);
    const proof = flipped(reply.proof as Uint8Array, -1);
    proof[proof.length - 1] |= 0x80;
    expect(circuit.dial.bytesBehind({ ...reply, proof })).toBe(0);
  });
});

describe('A circuit that is only signed', () => {
  const [source, server] = [createEnd(), createEnd()];
  const known = { publicKey: server.identity.publicKey, isHybrid: true, nowS: NOW_S };
  const terms = { ...TERMS, src: source.nodeId, dst: server.nodeId };

  function open(): Open {
    return openWith(terms, signedProof(terms, source.identity, known));
  }

  it('shows its source, and when it was signed', () => {
    const accepted = new AcceptHandshake(open(), server);
    expect(accepted).toMatchObject({ isEncrypted: false, isQuantumSafe: false, signedAtS: NOW_S });
    expect(accepted.sourceKey).toEqual(source.identity.publicKey);
  });

  it('needs no secret in common', () => {
    expect(() => new AcceptHandshake(open(), createEndLike(server, { networkKeys: [OTHER_SECRET] }))).not.toThrow();
  });

  it('cannot be made one that is encrypted, nor the other way round', () => {
    const signed = open();
    const proof = Buffer.from(signed.proof as Uint8Array);
    proof[proof.length - 5] = 1;
    expect(faultOf(() => new AcceptHandshake({ ...signed, proof }, server))).toContain('is not what');
  });

  it.each(['srcPort', 'dstPort'] as const)('does not hold with another %s', (name) => {
    expect(faultOf(() => new AcceptHandshake({ ...open(), [name]: 1 }, server))).toContain('is not what');
  });

  function createEndLike(end: HandshakeContext, changes: Partial<HandshakeContext>): HandshakeContext {
    return { ...end, ...changes };
  }
});

const real = mlKem768();

(real === undefined ? describe.skip : describe)('ML-KEM-768 of this Node', () => {
  it('gives both ends of a circuit the same keys', async () => {
    const circuit = new Circuit(createEnd({ kem: real }), createEnd({ kem: real }));
    const [dialler, server] = await circuit.keys();
    expect([dialler === server, circuit.dial.isQuantumSafe]).toEqual([true, true]);
    const other = new Circuit(createEnd({ kem: real }), createEnd({ kem: real }));
    const [near, far] = await other.keys((ciphertext) => flipped(ciphertext, 9));
    expect(near).not.toBe(far);
  });
});
