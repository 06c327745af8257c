import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  type EnrolmentMessage,
  EnrolmentType,
  encodeCertified,
  encodeEnrol,
  encodeHello,
  encodeNotice,
  encodeRefused,
  encodeRenew,
  MAX_ENROLMENT_BYTES,
  tryReadEnrolment,
} from '../../lib/wire/enrolment.js';
import { byte, bytesOf, damaged, nodeId } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const timeMs = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const blob = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const reason = fc
  .string({ maxLength: 60, unit: 'grapheme' })
  .filter((text) => Buffer.byteLength(text) <= 255 && !/\p{Cc}/u.test(text));
const name = fc.string({ maxLength: 16, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 64);

const hello = fc.record({ timeMs, statements: fc.array(blob(300), { maxLength: 10 }) });
const enrol = fc.record({
  networkId: bytesOf(16).map((bytes) => Buffer.from(bytes).toString('base64url')),
  issuer: nodeId,
  timeMs,
  codeId: bytesOf(16).map((bytes) => Buffer.from(bytes)),
  expiresAtMs: fc.integer({ min: 0, max: 0xffff_ffff }).map((seconds) => seconds * 1_000),
  publicKey: bytesOf(32).map((bytes) => Buffer.from(bytes)),
  name,
});
const renew = fc.record({ issuer: nodeId, timeMs, certificate: blob(2_048) });
const certified = fc.record({
  certificate: blob(2_048),
  authorities: fc.array(blob(400), { maxLength: 4 }),
  seeds: fc.array(
    fc.string({ maxLength: 60 }).filter((text) => Buffer.byteLength(text) <= 255),
    { maxLength: 16 },
  ),
  statements: fc.array(blob(60), { maxLength: 10 }),
});
const refused = fc.record({ code: byte, at: nodeId, timeMs, reason });
const notice = fc.record({ code: byte, timeMs, reason });

function digest(length: number, label: string): (bytes: Uint8Array) => Buffer {
  return (bytes) => createHash('shake256', { outputLength: length }).update(label).update(bytes).digest();
}
const sign = digest(64, 'sign');
const mac = digest(32, 'mac');

const frame: fc.Arbitrary<[Buffer, object]> = fc.oneof(
  hello.map((value) => [encodeHello(value), { type: EnrolmentType.HELLO, ...value }] as [Buffer, object]),
  enrol.map((value) => [encodeEnrol(value, sign, mac), { type: EnrolmentType.ENROL, ...value }] as [Buffer, object]),
  renew.map((value) => [encodeRenew(value, sign), { type: EnrolmentType.RENEW, ...value }] as [Buffer, object]),
  certified.map((value) => [encodeCertified(value), { type: EnrolmentType.CERTIFIED, ...value }] as [Buffer, object]),
  refused.map((value) => [encodeRefused(value), { type: EnrolmentType.REFUSED, ...value }] as [Buffer, object]),
  notice.map((value) => [encodeNotice(value), { type: EnrolmentType.NOTICE, ...value }] as [Buffer, object]),
);

function read(bytes: Uint8Array): EnrolmentMessage | undefined {
  return tryReadEnrolment(bytes)?.message;
}

describe('A message of enrolment', () => {
  it('has the bytes of the protocol', () => {
    expect(encodeRefused({ code: 2, at: 'AAECAwQFBgc', timeMs: 1_000, reason: 'no' }).toString('hex')).toBe(
      '00000015'.concat('05', '02', '0001020304050607', '00000000000003e8', '02', '6e6f'),
    );
    expect(encodeHello({ timeMs: 1_000, statements: [Buffer.from([7])] }).toString('hex')).toBe(
      '0000000d'.concat('01', '00000000000003e8', '01', '000107'),
    );
  });

  it('says the same after the way', () => {
    fc.assert(
      fc.property(frame, ([bytes, value]) => {
        const result = tryReadEnrolment(bytes);
        expect(result?.bytesRead).toBe(bytes.length);
        expect(result?.message).toMatchObject(value);
      }),
    );
  });

  it('is read when it has arrived as a whole, and nothing of what follows', () => {
    fc.assert(
      fc.property(frame, fc.nat(), ([bytes], cut) => {
        expect(tryReadEnrolment(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
        expect(tryReadEnrolment(Buffer.concat([bytes, Buffer.from('more')]))?.bytesRead).toBe(bytes.length);
      }),
    );
  });

  it('is malformed with a code, whatever arrives, and never waits for more than there may be', () => {
    fc.assert(
      fc.property(damaged(frame.map(([bytes]) => bytes)), (bytes) => {
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(thrownCode(() => tryReadEnrolment(bytes)));
      }),
    );
    const longest = Buffer.alloc(MAX_ENROLMENT_BYTES);
    longest.writeUInt32BE(MAX_ENROLMENT_BYTES - 4);
    expect(tryReadEnrolment(longest)).toMatchObject({ message: undefined });
    longest.writeUInt32BE(MAX_ENROLMENT_BYTES - 3);
    expect(thrownCode(() => tryReadEnrolment(longest.subarray(0, 4)))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => tryReadEnrolment(Buffer.alloc(4)))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('of a later version is skipped', () => {
    expect(tryReadEnrolment(Buffer.from('00000003ff0102', 'hex'))).toEqual({ message: undefined, bytesRead: 7 });
  });

  it('that asks for a certificate covers all its fields by its signature and its mac', () => {
    fc.assert(
      fc.property(enrol, (value) => {
        const bytes = encodeEnrol(value, sign, mac);
        const message = read(bytes) as Extract<EnrolmentMessage, { type: typeof EnrolmentType.ENROL }>;
        expect(sign(message.signed)).toEqual(message.signature);
        expect(mac(message.authenticated)).toEqual(message.mac);
        // Everything but the length and the type is in front of the mac, and covered by it.
        expect(message.authenticated.subarray(-(bytes.length - 4 - 1 - 32))).toEqual(bytes.subarray(5, -32));
      }),
    );
  });

  it('that asks for a certificate has nothing behind it', () => {
    const content = { networkId: 'A'.repeat(22), issuer: 'AAECAwQFBgc', timeMs: 0, expiresAtMs: 0, name: '' };
    const request = encodeEnrol({ ...content, codeId: Buffer.alloc(16), publicKey: Buffer.alloc(32) }, sign, mac);
    const renewal = encodeRenew({ issuer: 'AAECAwQFBgc', timeMs: 0, certificate: Buffer.alloc(9) }, sign);
    for (const bytes of [request, renewal]) {
      const longer = Buffer.concat([bytes, Buffer.alloc(1)]);
      longer.writeUInt32BE(longer.length - 4);
      expect(thrownCode(() => read(longer))).toBe('ERR_STARLANE_MESSAGE');
    }
  });

  it('that brings a certificate leaves out the statements for which there is no room', () => {
    const statements = Array.from({ length: 100 }, (_, index) => Buffer.alloc(140, index));
    const bytes = encodeCertified({
      certificate: Buffer.alloc(2_048),
      authorities: [Buffer.alloc(400)],
      seeds: ['tls://host:1'],
      statements,
    });
    expect(bytes.length).toBeLessThanOrEqual(MAX_ENROLMENT_BYTES);
    const message = read(bytes) as Extract<EnrolmentMessage, { type: typeof EnrolmentType.CERTIFIED }>;
    expect(message.statements.length).toBeGreaterThan(30);
    expect(message.statements).toEqual(statements.slice(0, message.statements.length));
  });
});
