import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { encodeReply, MAX_REPLY_BYTES, type ReadReply, ReplyCode, tryReadReply } from '../../lib/wire/open-reply.js';
import { byte, bytesOf, damaged, nodeId, uint32 } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const reply: fc.Arbitrary<ReadReply> = fc.record({
  code: byte,
  port: uint32,
  at: nodeId,
  reason: fc.string({ maxLength: 60, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 255),
  visited: fc.array(nodeId, { maxLength: 32, size: 'max' }),
  proof: fc.option(fc.oneof(bytesOf(128), bytesOf(129)), { nil: undefined }),
});

function plainOf(read: ReadReply | undefined): object {
  return { ...read, proof: [...(read?.proof ?? [])] };
}

/** What readers make of a reason: strangers write no control characters into logs. */
function plain(reason: string): string {
  return reason.replace(/\p{Cc}/gu, ' ');
}

describe('the reply to an OPEN', () => {
  it('has the bytes of the protocol', () => {
    const bytes = encodeReply({ code: ReplyCode.LIMIT, port: 80, at: 'AAECAwQFBgc', reason: 'full' });
    expect(bytes.toString('hex')).toBe('00120500000050000102030405060704'.concat('66756c6c'));
    expect(tryReadReply(bytes)).toEqual({
      bytesRead: 20,
      reply: { code: 5, port: 80, at: 'AAECAwQFBgc', reason: 'full', visited: [] },
    });
  });

  it('ends with the nodes that were visited, if any were', () => {
    const visited = ['CAkKCwwNDg8', 'oKGio6Slpqc'];
    const bytes = encodeReply({ code: ReplyCode.ACCEPTED, port: 80, at: 'AAECAwQFBgc', visited });
    expect(bytes.toString('hex')).toBe(
      '001f000000005000010203040506070002'.concat('08090a0b0c0d0e0f', 'a0a1a2a3a4a5a6a7'),
    );
    expect(tryReadReply(bytes)?.reply).toMatchObject({ reason: '', visited });
    const none = Buffer.concat([encodeReply({ code: 0, port: 80, at: 'AAECAwQFBgc' }), Buffer.from([0])]);
    none[1]++;
    expect(tryReadReply(none)).toMatchObject({ bytesRead: 17, reply: { visited: [] } });
  });

  it('has the proof of the destination behind them', () => {
    const proof = Buffer.alloc(128, 0x5a);
    const bytes = encodeReply({ code: ReplyCode.ACCEPTED, port: 80, at: 'AAECAwQFBgc', proof });
    expect(bytes.toString('hex')).toBe(`0090000000005000010203040506070000${'80'}${'5a'.repeat(128)}`);
    expect(tryReadReply(bytes)?.reply).toMatchObject({ visited: [], proof });
    const short = Buffer.from(bytes.subarray(0, -1));
    short[1]--;
    expect(thrownCode(() => tryReadReply(short))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeReply({ code: 0, port: 80, at: 'AAECAwQFBgc', proof: proof.subarray(1) }))).toBe(
      'ERR_STARLANE_MESSAGE',
    );
  });

  it('has no proof for a reader of this version when that is of another length', () => {
    const bytes = encodeReply({ code: ReplyCode.ACCEPTED, port: 80, at: 'AAECAwQFBgc', proof: Buffer.alloc(128) });
    bytes[17] = 127;
    expect(tryReadReply(bytes)?.reply.proof).toBeUndefined();
  });

  it.each([
    ['more of them than there may be', 33],
    ['more of them than there are bytes', 3],
  ])('is refused with %s', (_what, count) => {
    const visited = ['CAkKCwwNDg8', 'oKGio6Slpqc'];
    const bytes = encodeReply({ code: ReplyCode.ACCEPTED, port: 80, at: 'AAECAwQFBgc', visited });
    bytes[16] = count;
    expect(thrownCode(() => tryReadReply(bytes))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('may have fields at its end that a later version knows', () => {
    const visited = ['CAkKCwwNDg8'];
    const later = Buffer.concat([encodeReply({ code: 1, port: 0, at: 'AAECAwQFBgc', visited }), Buffer.from([1, 2])]);
    later[1] += 2;
    expect(tryReadReply(later)).toMatchObject({ bytesRead: later.length, reply: { visited } });
  });

  it('is read as it was written, whatever follows it', () => {
    fc.assert(
      fc.property(reply, fc.uint8Array(), (written, data) => {
        const bytes = encodeReply(written);
        const read = tryReadReply(Buffer.concat([bytes, data]));
        expect(read?.bytesRead).toBe(bytes.length);
        expect(plainOf(read?.reply)).toEqual(plainOf({ ...written, reason: plain(written.reason) }));
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

  it('brings no control characters into logs', () => {
    const bytes = encodeReply({ code: ReplyCode.DENIED, port: 0, at: 'AAECAwQFBgc', reason: 'a\u001b[31m\nb' });
    expect(tryReadReply(bytes)?.reply.reason).toBe('a [31m b');
  });

  it('is refused by the writer when a field does not fit', () => {
    const fields = { code: 0, port: 0, at: 'AAECAwQFBgc' };
    expect(thrownCode(() => encodeReply({ ...fields, code: 256 }))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeReply({ ...fields, port: -1 }))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => encodeReply({ ...fields, at: '' }))).toBe('ERR_STARLANE_ADDRESS');
    const visited = new Array(33).fill('AAECAwQFBgc');
    expect(thrownCode(() => encodeReply({ ...fields, visited }))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('is refused at its length, before anything else has arrived', () => {
    for (const length of ['0000', '000d', '03ff', 'ffff']) {
      expect(thrownCode(() => tryReadReply(Buffer.from(length, 'hex')))).toBe('ERR_STARLANE_MESSAGE');
    }
    expect(tryReadReply(Buffer.from('03fe', 'hex'))).toBeUndefined();
    expect(MAX_REPLY_BYTES).toBe(0x3fe + 2);
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
