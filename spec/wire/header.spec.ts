import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  addFlags,
  describeHeader,
  encodeHeader,
  Flag,
  FrameType,
  GoAwayCode,
  HEADER_BYTES,
  INITIAL_WINDOW_BYTES,
  KNOWN_FLAGS,
  MAX_UINT32,
  readFlags,
  readLength,
  readStreamId,
  readType,
  readVersion,
  SESSION_STREAM_ID,
  writeHeader,
  YAMUX_VERSION,
} from '../../lib/wire/header.js';
import { byte, uint16, uint32 } from '../support/arbitraries.js';
import { naiveEncode } from '../support/naive-codec.js';
import { VECTORS } from '../support/vectors.js';

describe('The yamux header', () => {
  it('has the numbers of the specification', () => {
    expect({ YAMUX_VERSION, HEADER_BYTES, SESSION_STREAM_ID, INITIAL_WINDOW_BYTES }).toEqual({
      YAMUX_VERSION: 0,
      HEADER_BYTES: 12,
      SESSION_STREAM_ID: 0,
      INITIAL_WINDOW_BYTES: 262_144,
    });
    expect(FrameType).toEqual({ DATA: 0, WINDOW_UPDATE: 1, PING: 2, GO_AWAY: 3 });
    expect(Flag).toEqual({ SYN: 1, ACK: 2, FIN: 4, RST: 8 });
    expect(KNOWN_FLAGS).toBe(15);
    expect(GoAwayCode).toEqual({ NORMAL: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2 });
  });

  for (const { name, hex, frame } of VECTORS) {
    it(`is written and read as the vector has it: ${name}`, () => {
      const [type, flags, streamId, length] = frame;
      const header = hex.slice(0, 2 * HEADER_BYTES);
      expect(encodeHeader(type, flags, streamId, length).toString('hex')).toBe(header);
      const bytes = Buffer.from(hex, 'hex');
      expect(readVersion(bytes, 0)).toBe(0);
      expect([readType(bytes, 0), readFlags(bytes, 0), readStreamId(bytes, 0), readLength(bytes, 0)]).toEqual([
        type,
        flags,
        streamId,
        length,
      ]);
    });
  }

  it('is written at any offset, and nothing beside it', () => {
    fc.assert(
      fc.property(byte, uint16, uint32, uint32, fc.nat(40), (type, flags, streamId, length, offset) => {
        const bytes = Buffer.alloc(64, 0xee);
        writeHeader(bytes, offset, type, flags, streamId, length);
        const expected = Buffer.alloc(64, 0xee);
        naiveEncode({ type, flags, streamId, length, payload: Buffer.alloc(0) }).copy(expected, offset);
        expect(bytes.equals(expected)).toBe(true);
      }),
    );
  });

  it('is read back from any offset as it was written', () => {
    fc.assert(
      fc.property(byte, uint16, uint32, uint32, fc.nat(40), (type, flags, streamId, length, offset) => {
        const bytes = new Uint8Array(64);
        writeHeader(bytes, offset, type, flags, streamId, length);
        expect(readVersion(bytes, offset)).toBe(YAMUX_VERSION);
        expect(readType(bytes, offset)).toBe(type);
        expect(readFlags(bytes, offset)).toBe(flags);
        expect(readStreamId(bytes, offset)).toBe(streamId);
        expect(readLength(bytes, offset)).toBe(length);
      }),
    );
  });

  it('takes further flags after it was written', () => {
    fc.assert(
      fc.property(uint16, uint16, (flags, more) => {
        const bytes = encodeHeader(FrameType.DATA, flags, 7, MAX_UINT32);
        addFlags(bytes, 0, more);
        expect(readFlags(bytes, 0)).toBe(flags | more);
        expect([readStreamId(bytes, 0), readLength(bytes, 0)]).toEqual([7, MAX_UINT32]);
      }),
    );
  });

  it('is described in one line', () => {
    expect(describeHeader(encodeHeader(FrameType.WINDOW_UPDATE, 5, 9, 1000), 0)).toBe(
      'version 0 window update flags 0x5 stream 9 length 1000',
    );
    expect(describeHeader(Buffer.from('ff7700000000000000000000', 'hex'), 0)).toBe(
      'version 255 type 119 flags 0x0 stream 0 length 0',
    );
  });
});
