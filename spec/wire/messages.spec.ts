import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MessageReader } from '../../lib/wire/message.js';
import {
  type Auth,
  decodeMessage,
  encodeAuth,
  encodeGoodbye,
  encodeHello,
  encodeMessage,
  encodeNotice,
  encodeSynced,
  envDigests,
  type Goodbye,
  GoodbyeCode,
  type Hello,
  MAX_MESSAGE_BYTES,
  type Message,
  MessageType,
} from '../../lib/wire/messages.js';
import { byte, bytesOf, damaged, nodeId, uint16, uint32 } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const SOME_HELLO: Hello = {
  version: 1,
  minVersion: 1,
  nodeId: 'AAECAwQFBgc',
  publicKey: Buffer.alloc(32, 0x11),
  bootId: '00112233-4455-6677-8899-aabbccddeeff',
  role: 'server',
  flags: 0,
  capabilities: 0x01020304,
  envDigests: ['e3b0c44298fc1c14'],
  listenAddresses: ['tcp://h:1'],
  nonce: Buffer.alloc(16, 0x22),
};

const hello: fc.Arbitrary<Hello> = fc.record({
  version: uint16,
  minVersion: uint16,
  nodeId,
  publicKey: bytesOf(32).map((bytes) => Buffer.from(bytes)),
  bootId: fc.uuid(),
  role: fc.constantFrom('peer' as const, 'client' as const, 'server' as const, 'router' as const),
  flags: byte,
  capabilities: uint32,
  envDigests: fc.array(
    bytesOf(8).map((bytes) => Buffer.from(bytes).toString('hex')),
    { maxLength: 16 },
  ),
  listenAddresses: fc.array(
    fc.string({ maxLength: 40, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 255),
    { maxLength: 8 },
  ),
  nonce: bytesOf(16).map((bytes) => Buffer.from(bytes)),
});

const proof = bytesOf(32).map((bytes) => Buffer.from(bytes));

const auth: fc.Arbitrary<Auth> = fc
  .tuple(
    fc.record({
      signature: bytesOf(64).map((bytes) => Buffer.from(bytes)),
      proof: fc.oneof(fc.constant(Buffer.alloc(0)), proof),
    }),
    fc.array(proof, { maxLength: 3 }),
    fc.option(fc.uint8Array({ minLength: 1, maxLength: 2_048 }), { nil: undefined }),
  )
  .map(([fields, furtherProofs, certificate]) => ({
    ...fields,
    ...(fields.proof.length === 0 || furtherProofs.length === 0 ? {} : { furtherProofs }),
    ...(certificate === undefined ? {} : { certificate: Buffer.from(certificate) }),
  }));

const goodbye: fc.Arbitrary<Goodbye> = fc.record({
  code: byte,
  reason: fc.string({ maxLength: 60, unit: 'grapheme-ascii' }),
});

/** A message and its bytes. */
const written: fc.Arbitrary<{ message: Message; bytes: Buffer }> = fc.oneof(
  hello.map((fields) => ({ message: { type: MessageType.HELLO, ...fields }, bytes: encodeHello(fields) })),
  auth.map((fields) => ({ message: { type: MessageType.AUTH, ...fields }, bytes: encodeAuth(fields) })),
  goodbye.map((fields) => ({ message: { type: MessageType.GOODBYE, ...fields }, bytes: encodeGoodbye(fields) })),
  goodbye.map((fields) => ({ message: { type: MessageType.NOTICE, ...fields }, bytes: encodeNotice(fields) })),
  fc.constant({ message: { type: MessageType.SYNCED }, bytes: encodeSynced() }),
);

function readAll(chunks: Iterable<Uint8Array>): Message[] {
  const messages: Message[] = [];
  const reader = new MessageReader(decodeMessage, (message) => messages.push(message));
  for (const chunk of chunks) reader.push(chunk);
  return messages;
}

function bodyOf(message: Buffer): Buffer {
  return message.subarray(5);
}

describe('messages', () => {
  it('have the bytes of the protocol', () => {
    const helloHex = [
      '00000067 01', // length 103, type
      '0001 0001', // version, least version
      '0001020304050607',
      '11'.repeat(32),
      '00112233445566778899aabbccddeeff',
      '02 00 01020304', // role, flags, capabilities
      '01 e3b0c44298fc1c14',
      '01 09 7463703a2f2f683a31',
      '22'.repeat(16),
    ];
    expect(encodeHello(SOME_HELLO).toString('hex')).toBe(helloHex.join('').replaceAll(' ', ''));
    const [signature, proof] = [Buffer.alloc(64, 0x33), Buffer.alloc(32, 0x44)];
    expect(encodeAuth({ signature, proof }).toString('hex')).toBe(`000000620b${'33'.repeat(64)}20${'44'.repeat(32)}`);
    expect(encodeAuth({ signature, proof: Buffer.alloc(0) }).toString('hex')).toBe(`000000420b${'33'.repeat(64)}00`);
    expect(encodeSynced().toString('hex')).toBe('0000000104');
    expect(encodeGoodbye({ code: GoodbyeCode.SELF_LINK, reason: 'me' }).toString('hex')).toBe(
      '00000005' + '0502026d65',
    );
  });

  it('are read as they were written, in order and however they are chunked', () => {
    fc.assert(
      fc.property(
        fc.array(written, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 }),
        (list, sizes) => {
          const bytes = Buffer.concat(list.map((item) => item.bytes));
          const chunks: Buffer[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = sizes[turn % sizes.length];
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(readAll(chunks)).toEqual(list.map((item) => item.message));
        },
      ),
    );
  });

  it('are read the same when split at any byte, and byte by byte', () => {
    const bytes = Buffer.concat([
      encodeHello(SOME_HELLO),
      encodeGoodbye({ code: 200, reason: 'größe' }),
      encodeSynced(),
      encodeGoodbye({ code: GoodbyeCode.NORMAL, reason: 'closing' }),
    ]);
    const whole = readAll([bytes]);
    expect(whole).toHaveLength(4);
    for (let at = 0; at <= bytes.length; at++) {
      expect(readAll([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(whole);
    }
    expect(readAll(Array.from(bytes, (value) => Uint8Array.of(value)))).toEqual(whole);
  });

  it('do not share bytes with the input, which may be reused', () => {
    const input = Buffer.from(encodeHello(SOME_HELLO));
    const [message] = readAll([input]);
    input.fill(0);
    expect(message).toEqual({ type: MessageType.HELLO, ...SOME_HELLO });
  });

  it('of an unknown type are skipped', () => {
    const unknown = encodeMessage(200, [Buffer.alloc(1_000, 7)]);
    expect(readAll([Buffer.concat([unknown, encodeSynced(), unknown, encodeSynced()])])).toHaveLength(2);
    expect(readAll([encodeMessage(0, []), encodeSynced()])).toHaveLength(1);
    // These two were in use once.
    expect(readAll([encodeMessage(2, []), encodeMessage(3, []), encodeSynced()])).toHaveLength(1);
  });

  it('may have fields at their end that a later version knows', () => {
    const goodbyeBody = bodyOf(encodeGoodbye({ code: 2, reason: 'x' }));
    const later = encodeMessage(MessageType.GOODBYE, [goodbyeBody, Buffer.from('later')]);
    expect(readAll([later])).toEqual([{ type: MessageType.GOODBYE, code: 2, reason: 'x' }]);
    const fields = { signature: Buffer.alloc(64, 3), proof: Buffer.alloc(32, 4), certificate: Buffer.from('member') };
    const certified = encodeMessage(MessageType.AUTH, [bodyOf(encodeAuth(fields)), Buffer.from('later')]);
    expect(readAll([certified])).toEqual([{ type: MessageType.AUTH, ...fields }]);
  });

  it('have the certificate of a member behind all proofs, where a reader that does not know it stops', () => {
    const fields = { signature: Buffer.alloc(64, 3), proof: Buffer.alloc(32, 4) };
    const plain = bodyOf(encodeAuth(fields));
    const certificate = Buffer.from('member');
    expect(bodyOf(encodeAuth({ ...fields, certificate }))).toEqual(
      Buffer.concat([plain, Buffer.from([0, 0, 6]), certificate]),
    );
    const furtherProofs = [Buffer.alloc(32, 5)];
    expect(bodyOf(encodeAuth({ ...fields, furtherProofs, certificate }))).toEqual(
      Buffer.concat([plain, Buffer.from([1]), furtherProofs[0], Buffer.from([0, 6]), certificate]),
    );
  });

  it('are refused when the certificate of a member is longer than any may be', () => {
    const fields = { signature: Buffer.alloc(64, 3), proof: Buffer.alloc(32, 4) };
    expect(() => encodeAuth({ ...fields, certificate: Buffer.alloc(2_049) })).toThrow('a certificate of 2049 bytes');
    const long = [bodyOf(encodeAuth(fields)), Buffer.from([0, 8, 1]), Buffer.alloc(2_049)];
    expect(() => readAll([encodeMessage(MessageType.AUTH, long)])).toThrow('a certificate of 2049 bytes');
  });

  it('read roles of a later version as peer', () => {
    const bytes = encodeHello(SOME_HELLO);
    bytes[5 + 2 + 2 + 8 + 32 + 16] = 77;
    expect(readAll([bytes])).toMatchObject([{ role: 'peer' }]);
  });

  it('are refused by their encoders when a field does not fit', () => {
    const bad: Array<() => Buffer> = [
      () => encodeHello({ ...SOME_HELLO, version: 65_536 }),
      () => encodeHello({ ...SOME_HELLO, capabilities: -1 }),
      () => encodeHello({ ...SOME_HELLO, publicKey: Buffer.alloc(31) }),
      () => encodeHello({ ...SOME_HELLO, nonce: Buffer.alloc(17) }),
      () => encodeHello({ ...SOME_HELLO, bootId: 'no uuid' }),
      () => encodeHello({ ...SOME_HELLO, role: 'king' as 'peer' }),
      () => encodeHello({ ...SOME_HELLO, envDigests: ['short'] }),
      () => encodeHello({ ...SOME_HELLO, envDigests: new Array(17).fill('e3b0c44298fc1c14') }),
      () => encodeHello({ ...SOME_HELLO, listenAddresses: new Array(9).fill(':1') }),
      () => encodeHello({ ...SOME_HELLO, listenAddresses: ['x'.repeat(256)] }),
      () => encodeAuth({ signature: Buffer.alloc(63), proof: Buffer.alloc(0) }),
      () => encodeAuth({ signature: Buffer.alloc(64), proof: Buffer.alloc(31) }),
      () => encodeGoodbye({ code: 256, reason: '' }),
      () => encodeMessage(9, [Buffer.alloc(MAX_MESSAGE_BYTES)]),
    ];
    for (const encode of bad) expect(thrownCode(encode)).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeHello({ ...SOME_HELLO, nodeId: 'x' }))).toBe('ERR_STARLANE_ADDRESS');
    expect(encodeMessage(9, [Buffer.alloc(MAX_MESSAGE_BYTES - 1)])).toHaveLength(MAX_MESSAGE_BYTES + 4);
  });
});

describe('envDigests', () => {
  it('are the first 8 bytes of the hash of each name, and of the empty name when there is none', () => {
    const digest = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 16);
    expect(envDigests(['prod', 'größe'])).toEqual([digest('prod'), digest('größe')]);
    expect(envDigests([])).toEqual([digest('')]);
  });
});

describe('MessageReader', () => {
  it.each<[string, number, string | Buffer]>([
    ['a HELLO that ends early', MessageType.HELLO, bodyOf(encodeHello(SOME_HELLO)).subarray(0, -1)],
    ['an empty HELLO', MessageType.HELLO, ''],
    ['an AUTH that ends early', MessageType.AUTH, '33'.repeat(63)],
    ['an AUTH with a proof of a kind that there is not', MessageType.AUTH, `${'33'.repeat(64)}10${'44'.repeat(16)}`],
    ['an AUTH with more proofs than there can be', MessageType.AUTH, `${'33'.repeat(64)}20${'44'.repeat(32)}04`],
    ['an AUTH with further proofs and no first one', MessageType.AUTH, `${'33'.repeat(64)}0001${'44'.repeat(32)}`],
    [
      'an AUTH with half a further proof',
      MessageType.AUTH,
      `${'33'.repeat(64)}20${'44'.repeat(32)}01${'44'.repeat(16)}`,
    ],
    ['an AUTH with half a proof', MessageType.AUTH, `${'33'.repeat(64)}20${'44'.repeat(16)}`],
    ['a GOODBYE with a reason that is longer than the message', MessageType.GOODBYE, '00ff616161'],
    ['a GOODBYE with an overlong encoding', MessageType.GOODBYE, '0002c181'],
    ['a GOODBYE with half a character', MessageType.GOODBYE, '0001c3'],
    ['an empty GOODBYE', MessageType.GOODBYE, ''],
  ])('refuses %s, whole and byte by byte', (_what, type, body) => {
    const bytes = encodeMessage(type, [typeof body === 'string' ? Buffer.from(body, 'hex') : body]);
    expect(thrownCode(() => readAll([bytes]))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => readAll(Array.from(bytes, (value) => Uint8Array.of(value))))).toBe('ERR_STARLANE_MESSAGE');
  });

  it.each([
    ['more envs than there may be', 66],
    ['more listen addresses than there may be', 75],
  ])('refuses a HELLO with %s', (_what, offset) => {
    const body = Buffer.concat([bodyOf(encodeHello(SOME_HELLO)), Buffer.alloc(5_000)]);
    expect(body[offset]).toBe(1);
    body[offset] = 17;
    expect(thrownCode(() => readAll([encodeMessage(MessageType.HELLO, [body])]))).toBe('ERR_STARLANE_MESSAGE');
  });

  it.each(['00000000', '00010001', 'ffffffff', '7fffffff'])('refuses the length %s at once', (hex) => {
    const bytes = Buffer.from(hex, 'hex');
    for (let at = 0; at <= 4; at++) {
      expect(thrownCode(() => readAll([bytes.subarray(0, at), bytes.subarray(at)]))).toBe('ERR_STARLANE_MESSAGE');
    }
  });

  it('takes a lower limit, as before a handshake', () => {
    const reader = new MessageReader(decodeMessage, () => {}, 200);
    reader.push(encodeMessage(99, [Buffer.alloc(199)]));
    expect(thrownCode(() => reader.push(encodeMessage(99, [Buffer.alloc(200)]).subarray(0, 4)))).toBe(
      'ERR_STARLANE_MESSAGE',
    );
  });

  it('ignores everything after an error, and after stop', () => {
    const messages: Message[] = [];
    const broken = new MessageReader(decodeMessage, (message) => messages.push(message));
    expect(thrownCode(() => broken.push(Buffer.alloc(4)))).toBe('ERR_STARLANE_MESSAGE');
    broken.push(encodeSynced());
    expect(messages).toEqual([]);

    const stopping: MessageReader = new MessageReader(decodeMessage, (message) => {
      messages.push(message);
      stopping.stop();
    });
    stopping.push(Buffer.concat([encodeSynced(), encodeSynced(), Buffer.alloc(4)]));
    stopping.push(encodeSynced());
    expect(messages).toHaveLength(1);
  });

  it('knows whether the input ends between two messages', () => {
    const reader = new MessageReader(decodeMessage, () => {});
    expect(reader.betweenMessages).toBe(true);
    const bytes = encodeHello(SOME_HELLO);
    for (let at = 0; at < bytes.length - 1; at++) {
      reader.push(bytes.subarray(at, at + 1));
      expect(reader.betweenMessages).toBe(false);
    }
    reader.push(bytes.subarray(-1));
    expect(reader.betweenMessages).toBe(true);
  });

  it('never throws anything but a coded error', () => {
    const hostile = fc.oneof(damaged(written.map((item) => item.bytes)), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 1, maxLength: 4 }), (chunks) => {
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(thrownCode(() => readAll(chunks)));
      }),
      { numRuns: 2_000 },
    );
  });

  it('never throws anything but a coded error from inside a body', () => {
    const body = damaged(written.map((item) => item.bytes.subarray(4))).filter(
      (bytes) => bytes.length > 0 && bytes.length <= MAX_MESSAGE_BYTES,
    );
    fc.assert(
      fc.property(body, (bytes) => {
        const framed = encodeMessage(bytes[0], [bytes.subarray(1)]);
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(thrownCode(() => readAll([framed])));
      }),
      { numRuns: 2_000 },
    );
  });
});
