import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeIdToBytes } from '../../lib/address.js';
import {
  encodeOpen,
  MAX_OPEN_BYTES,
  type Open,
  type OpenRequest,
  openBytes,
  traceRoom,
  tryReadOpen,
  writeOpen,
} from '../../lib/wire/open.js';
import { byte, bytesOf, damaged, nodeId, serviceName, uint16, uint32 } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

/** A proof with so many key hints. */
const hinted = (count: number): fc.Arbitrary<Buffer> =>
  bytesOf(129 + 4 * count).map((bytes) => {
    const proof = Buffer.from(bytes);
    proof[128] = count;
    return proof;
  });

/** A proof with so many key hints, and terms of so many bytes. */
const withTerms = (count: number, bytes: number): fc.Arbitrary<Buffer> =>
  fc.tuple(hinted(count), bytesOf(bytes)).map(([proof, terms]) => Buffer.concat([proof, Buffer.from([bytes]), terms]));

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

/** The same with all that may follow the service. */
const FULL_OPEN: OpenRequest = {
  ...SOME_OPEN,
  env: '00112233aabbccdd',
  remainingMs: 1_239,
  relays: 1,
  proof: Buffer.alloc(128, 0x5a),
};
const FULL_OPEN_HEX = `00c4010708${SOME_OPEN_HEX.slice(10)}00112233aabbccdd007b01${'5a'.repeat(128)}`;

type TextRequest = Required<OpenRequest> & { dst: string; src: string; visited: string[] };

/** Every field with a value that is read as it was written. */
const request: fc.Arbitrary<TextRequest> = fc
  .record({
    flags: byte.map((flags) => flags & ~63),
    hopLimit: byte,
    dst: nodeId,
    dstPort: uint32,
    src: nodeId,
    srcPort: uint32,
    circuitId: bytesOf(16),
    visited: fc.array(nodeId, { maxLength: 32, size: 'max' }),
    service: fc.oneof(fc.constant(''), serviceName),
    env: bytesOf(8).map((bytes) => Buffer.from(bytes).toString('hex')),
    remainingMs: uint16.map((units) => units * 10),
    relays: byte,
    proof: fc.oneof(bytesOf(128), hinted(0), hinted(1), hinted(4), withTerms(0, 5), withTerms(4, 9)),
    trace: bytesOf(40),
    rest: fc.uint8Array({ maxLength: 20 }),
  })
  .map((open) => ({ ...open, relays: open.relays % (open.visited.length + 1) }));

/** What any node may send: fields may be left out. */
const anyRequest = fc
  .tuple(request, fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean())
  .map(([open, hasEnv, hasWay, isSecure, isTraced]) => ({
    ...open,
    proof: isSecure ? open.proof : undefined,
    trace: isTraced ? open.trace : undefined,
    env: hasEnv ? open.env : undefined,
    remainingMs: hasWay ? open.remainingMs : undefined,
    relays: hasWay ? open.relays : 0,
  }));

function plainOf(open: Open | undefined): object {
  const { circuitId, rest, proof, trace } = open ?? {};
  const parts = [circuitId, rest, proof, trace].map((bytes) => [...(bytes ?? [])]);
  return { ...open, circuitId: parts[0], rest: parts[1], proof: parts[2], trace: parts[3] };
}

describe('OPEN', () => {
  it('has the bytes of the protocol', () => {
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
        env: undefined,
        remainingMs: undefined,
        relays: 0,
        rest: Buffer.alloc(0),
      },
    });
  });

  it('has the fields of a relayed dial after the service', () => {
    expect(encodeOpen(FULL_OPEN).toString('hex')).toBe(FULL_OPEN_HEX);
    const { open } = tryReadOpen(Buffer.from(FULL_OPEN_HEX, 'hex')) as { open: Open };
    expect(open).toMatchObject({ flags: 0, service: 'echo', env: '00112233aabbccdd', remainingMs: 1_230, relays: 1 });
    expect(open.proof).toEqual(FULL_OPEN.proof);
    expect(
      encodeOpen({ ...SOME_OPEN, remainingMs: 1e9 })
        .subarray(-3)
        .toString('hex'),
    ).toBe('ffff00');
  });

  it('is read as it was written, whatever follows it', () => {
    fc.assert(
      fc.property(anyRequest, fc.uint8Array(), (open, data) => {
        const bytes = encodeOpen(open);
        expect(bytes.length).toBe(openBytes(open));
        const read = tryReadOpen(Buffer.concat([bytes, data]));
        expect(read?.bytesRead).toBe(bytes.length);
        expect(plainOf(read?.open)).toEqual(plainOf(open as Open));
      }),
    );
  });

  it('is passed on with what a later version has added', () => {
    fc.assert(
      fc.property(request, (written) => {
        const { open } = tryReadOpen(encodeOpen(written)) as { open: Open };
        expect(encodeOpen(open)).toEqual(encodeOpen(written));
      }),
    );
  });

  it('has the terms of handshake 2 where an earlier version reads what it does not know', () => {
    fc.assert(
      fc.property(request, withTerms(2, 5), (open, proof) => {
        const [known, terms] = [proof.subarray(0, -6), proof.subarray(-6)];
        const untraced = { ...open, trace: undefined };
        const earlier = encodeOpen({ ...untraced, proof: known, rest: Buffer.concat([terms, open.rest]) });
        earlier[3] |= 0x10;
        expect(encodeOpen({ ...untraced, proof }).equals(earlier)).toBe(true);
      }),
    );
  });

  it('has the trace context where an earlier version reads what it does not know, and passes it on', () => {
    fc.assert(
      fc.property(request, (open) => {
        const trace = Buffer.concat([Buffer.from([0, open.trace.length]), open.trace]);
        const earlier = encodeOpen({ ...open, trace: undefined, rest: Buffer.concat([trace, open.rest]) });
        earlier[3] |= 0x20;
        expect(encodeOpen(open).equals(earlier)).toBe(true);
      }),
    );
  });

  it('has room for a trace context, whatever relays add to it', () => {
    fc.assert(
      fc.property(anyRequest, (open) => {
        const { dst, src } = open;
        const room = traceRoom({ ...open, rest: undefined });
        expect(room).toBeGreaterThan(250);
        const trace = Buffer.alloc(Math.min(room, 537));
        const visited = new Array(32).fill('AAECAwQFBgc');
        const onItsWay = { ...open, dst, src, trace, visited, remainingMs: 1, relays: 32, rest: undefined };
        expect(encodeOpen(onItsWay).length).toBeLessThanOrEqual(MAX_OPEN_BYTES);
      }),
    );
  });

  it('is never longer than relays accept', () => {
    const full = {
      ...FULL_OPEN,
      service: 'x'.repeat(255),
      visited: new Array(32).fill(Buffer.alloc(8)),
      proof: Buffer.concat([Buffer.alloc(128), Buffer.from([4]), Buffer.alloc(16), Buffer.from([5]), Buffer.alloc(5)]),
    };
    expect(encodeOpen(full)).toHaveLength(720);
    const later = Buffer.concat([full.proof.subarray(0, -6), Buffer.from([255]), Buffer.alloc(255)]);
    expect(encodeOpen({ ...full, proof: later }).length).toBeLessThanOrEqual(MAX_OPEN_BYTES);
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
      fc.property(anyRequest, (open) => {
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
      { env: '0011' },
      { env: 'not hex, not hex' },
      { remainingMs: -1 },
      { remainingMs: Number.NaN },
      { remainingMs: 0, relays: 2 },
      { remainingMs: 0, relays: -1 },
      { proof: Buffer.alloc(127) },
      { proof: Buffer.alloc(130) },
      { proof: Buffer.concat([Buffer.alloc(128), Buffer.from([5]), Buffer.alloc(20)]) },
      { proof: Buffer.concat([Buffer.alloc(129), Buffer.from([4]), Buffer.alloc(4)]) },
      { proof: Buffer.concat([Buffer.alloc(129), Buffer.from([6]), Buffer.alloc(5)]) },
      { proof: Buffer.concat([Buffer.alloc(129), Buffer.from([5]), Buffer.alloc(6)]) },
      { trace: Buffer.alloc(538) },
      { rest: Buffer.alloc(MAX_OPEN_BYTES) },
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
    ['more relays passed than were visited', 69, 2],
  ])('is refused with %s', (_what, at, value) => {
    const bytes = Buffer.from(FULL_OPEN_HEX, 'hex');
    bytes[at] = value;
    expect(thrownCode(() => tryReadOpen(bytes))).toBe('ERR_STARLANE_MESSAGE');
  });

  it('is refused when its flags promise more than there is', () => {
    for (const flags of [1, 2, 3, 4, 7, 8, 12, 16, 20, 24, 28, 32, 33]) {
      const bytes = Buffer.from(SOME_OPEN_HEX, 'hex');
      bytes[3] = flags;
      expect(thrownCode(() => tryReadOpen(bytes))).toBe('ERR_STARLANE_MESSAGE');
    }
  });

  it('may have fields at its end that a later version knows', () => {
    const later = Buffer.concat([Buffer.from(SOME_OPEN_HEX, 'hex'), Buffer.from([1, 2, 3])]);
    later[1] += 3;
    expect(tryReadOpen(later)).toMatchObject({
      bytesRead: 62,
      open: { service: 'echo', rest: Buffer.from([1, 2, 3]) },
    });
  });

  it('never makes the reader throw anything but a coded error, or read beyond the input', () => {
    fc.assert(
      fc.property(damaged(anyRequest.map(encodeOpen)), (bytes) => {
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
      expect([read?.open.service, read?.open.dst]).toEqual([`service-${index}`, id.toString('base64url')]);
    }
  });
});
