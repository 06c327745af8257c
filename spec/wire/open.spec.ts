import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeIdToBytes } from '../../lib/address.js';
import {
  encodeOpen,
  encodeReply,
  MAX_OPEN_BYTES,
  MAX_REPLY_BYTES,
  type OpenReply,
  type OpenRequest,
  openBytes,
  ReplyCode,
  tryReadOpen,
  tryReadReply,
  writeOpen,
} from '../../lib/wire/open.js';
import { byte, bytesOf, damaged, nodeId, serviceName, uint32 } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const SOME_OPEN: OpenRequest = {
  hopLimit: 8,
  dst: Buffer.from('0001020304050607', 'hex'),
  dstPort: 80,
  src: Buffer.from('08090a0b0c0d0e0f', 'hex'),
  srcPort: 0x12345678,
  circuitId: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
  visited: [Buffer.from('a0a1a2a3a4a5a6a7', 'hex')],
  service: 'echo',
};

/** The protocol text, byte by byte. */
const SOME_OPEN_HEX = [
  '0039', // length: 57
  '01 00 08', // version, flags, hop limit
  '0001020304050607 00000050', // destination and port
  '08090a0b0c0d0e0f 12345678', // source and port
  '00112233445566778899aabbccddeeff', // circuit
  '01 a0a1a2a3a4a5a6a7', // visited
  '04 6563686f', // service
]
  .join('')
  .replaceAll(' ', '');

const request: fc.Arbitrary<Required<OpenRequest> & { dst: string; src: string; visited: string[] }> = fc.record({
  flags: byte,
  hopLimit: byte,
  dst: nodeId,
  dstPort: uint32,
  src: nodeId,
  srcPort: uint32,
  circuitId: bytesOf(16),
  visited: fc.array(nodeId, { maxLength: 32, size: 'max' }),
  service: fc.oneof(fc.constant(''), serviceName),
});

const reply: fc.Arbitrary<Required<OpenReply> & { at: string }> = fc.record({
  code: byte,
  port: uint32,
  at: nodeId,
  reason: fc.string({ maxLength: 60, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 255),
});

/** What readers make of a reason: strangers write no control characters into logs. */
function plain(reason: string): string {
  return reason.replace(/\p{Cc}/gu, ' ');
}

describe('OPEN', () => {
  it('is on the wire what the protocol says', () => {
    expect(encodeOpen(SOME_OPEN).toString('hex')).toBe(SOME_OPEN_HEX);
    const read = tryReadOpen(Buffer.from(SOME_OPEN_HEX, 'hex'));
    expect(read).toEqual({
      bytesRead: 59,
      open: {
        ...SOME_OPEN,
        flags: 0,
        dst: 'AAECAwQFBgc',
        src: 'CAkKCwwNDg8',
        visited: ['oKGio6Slpqc'],
      },
    });
  });

  it('is read as it was written, whatever follows it', () => {
    fc.assert(
      fc.property(request, fc.uint8Array(), (open, data) => {
        const bytes = encodeOpen(open);
        const read = tryReadOpen(Buffer.concat([bytes, data]));
        expect(read?.bytesRead).toBe(bytes.length);
        expect({ ...read?.open, circuitId: [...(read?.open.circuitId ?? [])] }).toEqual({
          ...open,
          circuitId: [...open.circuitId],
        });
      }),
    );
  });

  it('is the same from node ids as text and as bytes', () => {
    fc.assert(
      fc.property(request, (open) => {
        const encoded = { ...open, dst: nodeIdToBytes(open.dst), src: nodeIdToBytes(open.src) };
        expect(encodeOpen({ ...encoded, visited: open.visited.map(nodeIdToBytes) })).toEqual(encodeOpen(open));
      }),
    );
  });

  it('waits for more at every byte before its end', () => {
    fc.assert(
      fc.property(request, (open) => {
        const bytes = encodeOpen(open);
        for (let end = 0; end < bytes.length; end++) expect(tryReadOpen(bytes.subarray(0, end))).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  it('is written into the middle of a buffer and touches nothing else', () => {
    const target = Buffer.alloc(200, 0xee);
    const end = writeOpen(target, 10, SOME_OPEN);
    expect(end - 10).toBe(openBytes(SOME_OPEN));
    expect(target.subarray(10, end).toString('hex')).toBe(SOME_OPEN_HEX);
    expect(new Set([...target.subarray(0, 10), ...target.subarray(end)])).toEqual(new Set([0xee]));
  });

  it('is refused by the writer when a field does not fit', () => {
    const id = nodeIdToBytes('AAECAwQFBgc');
    const bad: Array<Partial<OpenRequest>> = [
      { hopLimit: 256 },
      { hopLimit: -1 },
      { flags: 1.5 },
      { dstPort: 2 ** 32 },
      { srcPort: Number.NaN },
      { circuitId: Buffer.alloc(15) },
      { dst: Buffer.alloc(7) },
      { visited: new Array(33).fill(id) },
      { service: 'two words' },
      { service: 'x'.repeat(256) },
    ];
    for (const fields of bad) {
      expect(thrownCode(() => encodeOpen({ ...SOME_OPEN, ...fields }))).toBe('ERR_STARLANE_MESSAGE');
    }
    expect(thrownCode(() => encodeOpen({ ...SOME_OPEN, src: 'not an id' }))).toBe('ERR_STARLANE_ADDRESS');
    expect(thrownCode(() => writeOpen(Buffer.alloc(58), 0, SOME_OPEN))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('is refused at its length, before anything else has arrived', () => {
    for (const length of ['0000', '002c', '03ff', 'ffff']) {
      expect(thrownCode(() => tryReadOpen(Buffer.from(length, 'hex')))).toBe('ERR_STARLANE_MESSAGE');
    }
    expect(tryReadOpen(Buffer.from('03fe', 'hex'))).toBeUndefined();
    expect(MAX_OPEN_BYTES).toBe(0x3fe + 2);
  });

  it.each([
    ['another version', 2, 2],
    ['more visited nodes than there may be', 45, 33],
    ['more visited nodes than there are bytes', 45, 2],
    ['a longer service than there are bytes', 54, 5],
    ['a service that is not UTF-8', 55, 0xff],
    ['a service that is no name', 56, 0x3a],
  ])('is refused with %s', (_what, at, value) => {
    const bytes = Buffer.from(SOME_OPEN_HEX, 'hex');
    bytes[at] = value;
    expect(thrownCode(() => tryReadOpen(bytes))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('may have fields at its end that a later version knows', () => {
    const later = Buffer.concat([Buffer.from(SOME_OPEN_HEX, 'hex'), Buffer.from([1, 2, 3])]);
    later[1] += 3;
    expect(tryReadOpen(later)).toMatchObject({ bytesRead: 62, open: { service: 'echo' } });
  });

  it('never makes the reader throw anything but a coded error, or read beyond the input', () => {
    fc.assert(
      fc.property(damaged(request.map(encodeOpen)), (bytes) => {
        const code = thrownCode(() => expect(tryReadOpen(bytes)?.bytesRead ?? 0).toBeLessThanOrEqual(bytes.length));
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(code);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is not confused by names and ids that share a place in the caches', () => {
    for (let index = 0; index < 5_000; index++) {
      const id = Buffer.alloc(8);
      id.writeUInt32BE(index % 3, 0);
      id.writeUInt32BE(index, 4);
      const read = tryReadOpen(encodeOpen({ ...SOME_OPEN, dst: id, service: `service-${index}` }));
      expect(read?.open.service).toBe(`service-${index}`);
      expect(read?.open.dst).toBe(id.toString('base64url'));
    }
  });
});

describe('the reply to an OPEN', () => {
  it('is on the wire what the protocol says', () => {
    const bytes = encodeReply({ code: ReplyCode.LIMIT, port: 80, at: 'AAECAwQFBgc', reason: 'full' });
    expect(bytes.toString('hex')).toBe('00120500000050000102030405060704'.concat('66756c6c'));
    expect(tryReadReply(bytes)).toEqual({
      bytesRead: 20,
      reply: { code: 5, port: 80, at: 'AAECAwQFBgc', reason: 'full' },
    });
  });

  it('is read as it was written, whatever follows it', () => {
    fc.assert(
      fc.property(reply, fc.uint8Array(), (written, data) => {
        const bytes = encodeReply(written);
        expect(tryReadReply(Buffer.concat([bytes, data]))).toEqual({
          bytesRead: bytes.length,
          reply: { ...written, reason: plain(written.reason) },
        });
      }),
    );
  });

  it('waits for more at every byte before its end', () => {
    const bytes = encodeReply({ code: ReplyCode.REFUSED, port: 0, at: 'AAECAwQFBgc', reason: 'nothing bound' });
    for (let end = 0; end < bytes.length; end++) expect(tryReadReply(bytes.subarray(0, end))).toBeUndefined();
  });

  it('has its reason cut between two characters', () => {
    const bytes = encodeReply({ code: ReplyCode.DENIED, port: 0, at: 'AAECAwQFBgc', reason: `x${'é'.repeat(200)}` });
    expect(tryReadReply(bytes)?.reply.reason).toBe(`x${'é'.repeat(127)}`);
    const emoji = encodeReply({ code: ReplyCode.DENIED, port: 0, at: 'AAECAwQFBgc', reason: '😀'.repeat(64) });
    expect(tryReadReply(emoji)?.reply.reason).toBe('😀'.repeat(63));
  });

  it('brings no control characters of a stranger into logs', () => {
    const bytes = encodeReply({ code: ReplyCode.DENIED, port: 0, at: 'AAECAwQFBgc', reason: 'a\u001b[31m\nb' });
    expect(tryReadReply(bytes)?.reply.reason).toBe('a [31m b');
  });

  it('is refused by the writer when a field does not fit', () => {
    const fields = { code: 0, port: 0, at: 'AAECAwQFBgc' };
    expect(thrownCode(() => encodeReply({ ...fields, code: 256 }))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeReply({ ...fields, port: -1 }))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeReply({ ...fields, at: '' }))).toBe('ERR_STARLANE_ADDRESS');
  });

  it('is refused at its length, before anything else has arrived', () => {
    for (const length of ['0000', '000d', '01ff', 'ffff']) {
      expect(thrownCode(() => tryReadReply(Buffer.from(length, 'hex')))).toBe('ERR_STARLANE_MESSAGE');
    }
    expect(tryReadReply(Buffer.from('01fe', 'hex'))).toBeUndefined();
    expect(MAX_REPLY_BYTES).toBe(0x1fe + 2);
  });

  it('never makes the reader throw anything but a coded error, or read beyond the input', () => {
    fc.assert(
      fc.property(damaged(reply.map(encodeReply)), (bytes) => {
        const code = thrownCode(() => expect(tryReadReply(bytes)?.bytesRead ?? 0).toBeLessThanOrEqual(bytes.length));
        expect([undefined, 'ERR_STARLANE_MESSAGE']).toContain(code);
      }),
      { numRuns: 2_000 },
    );
  });
});
