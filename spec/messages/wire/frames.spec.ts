import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  FrameDecoder,
  FrameType,
  FrameWriter,
  Kind,
  MAX_INLINE_BYTES,
  MalformedFrame,
  readMessage,
  readNumber,
  readOutcome,
  readWelcome,
} from '../../../lib/messages/wire/frames.js';
import { CircuitKind, encodePreamble, type Preamble, readPreamble } from '../../../lib/messages/wire/preamble.js';
import { byte, damaged, uint32 } from '../../support/arbitraries.js';
import { cutAt } from '../../support/decoding.js';

const text = fc.oneof(fc.string({ maxLength: 30, unit: 'grapheme' }), fc.constant('x'.repeat(MAX_INLINE_BYTES)));
const key = fc.option(fc.string({ minLength: 1, maxLength: 40 }), { nil: undefined });
const command = fc.option(uint32, { nil: undefined });

/** What a frame says, in a form that can be compared. */
type Said = Record<string, unknown>;

interface Case {
  readonly write: (writer: FrameWriter) => void;
  readonly said: Said;
}

const message = fc
  .record({ number: uint32, command, remainingMs: uint32, text, key })
  .map(({ number, command: to, remainingMs, text: payload, key: name }): Case => {
    const bytes = Buffer.byteLength(payload);
    return {
      write: (writer) => writer.message(number, to, remainingMs, Kind.TEXT, payload, bytes, name),
      said: { number, command: to, remainingMs, kind: Kind.TEXT, key: name, isApart: false, apartBytes: 0, payload },
    };
  });

const apart = fc.record({ number: uint32, command, remainingMs: uint32, bytes: fc.nat(2 ** 31), key }).map(
  ({ number, command: to, remainingMs, bytes, key: name }): Case => ({
    write: (writer) => writer.messageApart(number, to, remainingMs, Kind.BYTES, bytes, name),
    said: {
      number,
      command: to,
      remainingMs,
      kind: Kind.BYTES,
      key: name,
      isApart: true,
      apartBytes: bytes,
      payload: '',
    },
  }),
);

const outcome = fc.record({ number: uint32, code: fc.nat(11), payload: text }).map(
  ({ number, code, payload }): Case => ({
    write: (writer) => writer.outcome(number, code, Kind.TEXT, payload, Buffer.byteLength(payload), false),
    said: { number, code, kind: Kind.TEXT, isApart: false, payload },
  }),
);

const numbered = fc
  .record({ type: fc.constantFrom(FrameType.ACK, FrameType.CANCEL, FrameType.SKIP, FrameType.WANT), number: uint32 })
  .map(
    ({ type, number }): Case => ({
      write: (writer) => writer.number(type, number),
      said: { type, number },
    }),
  );

const welcome = fc.record({ status: fc.nat(4), next: uint32, count: uint32, bytes: uint32 }).map(
  ({ status, next, count, bytes }): Case => ({
    write: (writer) => writer.welcome(status, next, count, bytes),
    said: { status, next, count, bytes },
  }),
);

const frames = fc.array(fc.oneof(message, apart, outcome, numbered, welcome), { maxLength: 12 });

function read(type: number, bytes: Buffer, from: number, to: number): Said {
  switch (type) {
    case FrameType.MESSAGE:
    case FrameType.CALL: {
      const { from: at, to: end, ...fields } = readMessage(type, bytes, from, to);
      return { ...fields, payload: bytes.toString('utf8', at, end) };
    }
    case FrameType.OUTCOME: {
      const { from: at, to: end, ...fields } = readOutcome(bytes, from, to);
      return { ...fields, payload: bytes.toString('utf8', at, end) };
    }
    case FrameType.WELCOME:
      return { ...readWelcome(bytes, from, to) };
    default:
      return { type, number: readNumber(bytes, from, to) };
  }
}

function written(cases: readonly Case[]): Buffer {
  const writer = new FrameWriter();
  for (const { write } of cases) write(writer);
  return Buffer.concat(writer.take());
}

describe('frames', () => {
  it('are read as they were written, however they are chunked', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 20 }), (cases, cuts) => {
        const bytes = written(cases);
        const said: Said[] = [];
        const decoder = new FrameDecoder((...frame) => said.push(read(...frame)));
        const places = cuts.map((cut) => cut % (bytes.length + 1));
        for (const chunk of cutAt(bytes, places)) decoder.push(chunk);
        expect(said).toEqual(cases.map((one) => one.said));
        expect(decoder.isBetween).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('are written into memory that is not used again', () => {
    const writer = new FrameWriter();
    const taken: Buffer[] = [];
    const copies: Buffer[] = [];
    for (let number = 0; number < 20_000; number++) {
      writer.number(FrameType.ACK, number);
      if (number % 7 !== 0) continue;
      for (const piece of writer.take()) {
        taken.push(piece);
        copies.push(Buffer.from(piece));
      }
    }
    expect(Buffer.concat(taken).equals(Buffer.concat(copies))).toBe(true);
    const numbers: number[] = [];
    const decoder = new FrameDecoder((_type, bytes, from, to) => numbers.push(readNumber(bytes, from, to)));
    for (const piece of [...taken, ...writer.take()]) decoder.push(piece);
    expect(numbers).toEqual(Array.from({ length: 20_000 }, (_, number) => number));
  });

  it('that are damaged or noise are refused, or read as something that could have been written', () => {
    const small = fc.array(fc.oneof(apart, numbered, welcome), { maxLength: 4 }).map(written);
    const noise = fc.array(byte, { maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(damaged(small), noise), (bytes) => {
        const decoder = new FrameDecoder((...frame) => void read(...frame));
        try {
          decoder.push(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedFrame);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

const run = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('latin1'));

const preamble: fc.Arbitrary<Preamble> = fc.oneof(
  fc.record({ kind: fc.constant(CircuitKind.LANE), run, epoch: uint32, isResumed: fc.boolean(), outcomes: uint32 }),
  fc.record({ kind: fc.constantFrom(CircuitKind.BODY, CircuitKind.FETCH), run, epoch: uint32, number: uint32 }),
  fc.record({ kind: fc.constant(CircuitKind.CALL), header: fc.uint8Array().map((bytes) => Buffer.from(bytes)) }),
);

describe('a preamble', () => {
  it('is read as it was written, and not before it is complete', () => {
    fc.assert(
      fc.property(preamble, fc.uint8Array({ maxLength: 5 }), (given, more) => {
        const bytes = encodePreamble(given);
        for (let length = 0; length < bytes.length; length++) {
          expect(readPreamble(bytes.subarray(0, length))).toBeUndefined();
        }
        expect(readPreamble(Buffer.concat([bytes, more]))).toEqual({ preamble: given, bytes: bytes.length });
      }),
    );
  });

  it('that is damaged is refused with its first wrong byte', () => {
    fc.assert(
      fc.property(damaged(preamble.map(encodePreamble)), (bytes) => {
        try {
          readPreamble(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedFrame);
        }
      }),
    );
    expect(() => readPreamble(Buffer.from('GET'))).toThrow(MalformedFrame);
    expect(() => readPreamble(Buffer.from('G'))).toThrow(MalformedFrame);
    expect(() => readPreamble(Buffer.from([0x53, 0x4c, 0x4d, 1, CircuitKind.CALL, 0xff, 0xff]))).toThrow(
      MalformedFrame,
    );
  });
});
