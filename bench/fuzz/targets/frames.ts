// The frame decoder, against a second one that was written from the specification alone. A part is a chunk.

import { FrameDecoder, type FrameHandlers } from '../../../lib/wire/frame-decoder.js';
import { HEADER_BYTES, MAX_UINT32, writeHeader } from '../../../lib/wire/header.js';
import { naiveDecode } from '../../../spec/support/naive-codec.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type Parts, type PureTarget } from '../target.js';

export const frames: PureTarget = {
  name: 'frames',
  share: 20,

  generate(random) {
    const bytes = Buffer.concat(Array.from({ length: 1 + random.below(6) }, () => randomFrame(random)));
    const cut = random.below(bytes.length + 1);
    return random.below(2) === 0 ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
  },

  repair(parts, random) {
    const bytes = repairFrames(Buffer.concat(parts), random);
    let at = 0;
    for (const [index, { length }] of parts.entries()) {
      parts[index] = bytes.subarray(at, at + length);
      at += length;
    }
  },

  run: (parts) => new Comparison().run(parts),
};

class Comparison implements FrameHandlers {
  private readonly found: string[] = [];
  private payload: Buffer[] = [];
  private readonly payloads: Buffer[] = [];
  private malformed = 0;
  private left = 0;

  run(parts: Parts): Outcome[] {
    const decoder = new FrameDecoder(this);
    for (const part of parts) decoder.push(part);
    const whole = Buffer.concat(parts);
    const expected = naiveDecode(whole);
    this.endPayload();
    must(this.malformed === (expected.malformedAt === undefined ? 0 : 1), 'it takes what is malformed, or refuses');
    const lines = expected.frames.map((frame) => `${frame.type} ${frame.flags} ${frame.streamId} ${frame.length}`);
    must(this.found.join() === lines.join(), 'it finds other frames');
    const payloads = expected.frames.map(({ payload }) => payload);
    must(Buffer.concat(this.payloads).equals(Buffer.concat(payloads)), 'it finds other payload');
    if (expected.malformedAt === undefined) {
      must(decoder.betweenFrames === expected.atBoundary, 'it is not where the input ends');
    }
    const kinds = expected.frames.map(
      ({ type, flags, length, payload }) => `${type} ${flags} ${length > payload.length}`,
    );
    return [...kinds, `${expected.malformedAt === undefined} ${expected.atBoundary}`];
  }

  onFrame(type: number, flags: number, streamId: number, length: number): void {
    this.endPayload();
    this.found.push(`${type} ${flags} ${streamId} ${length}`);
    if (type === 0) this.left = length;
  }

  onPayload(chunk: Buffer, last: boolean): void {
    must(chunk.length > 0, 'an empty piece of payload');
    this.payload.push(chunk);
    this.left -= chunk.length;
    must(this.left >= 0 && last === (this.left === 0), 'the last piece is another one');
  }

  onMalformed(): void {
    this.malformed++;
  }

  private endPayload(): void {
    this.payloads.push(...this.payload);
    this.payload = [];
  }
}

const IDS = [1, 2, 3, 4, 5, 7, 9, 0x7fff_ffff, MAX_UINT32];
const LENGTHS = [0, 0, 1, 12, 100, 65_536, 262_144, 262_145, 0x7fff_ffff, MAX_UINT32];

/** A frame as a peer may send it, or nearly. */
export function randomFrame(random: Random, ids: readonly number[] = IDS): Buffer {
  const type = random.pick([0, 0, 0, 1, 1, 2, 3]);
  const flags = random.pick([0, 0, 1, 1, 2, 4, 5, 8, random.below(16)]);
  const payload = type === 0 ? random.bytes(random.below(40)) : Buffer.alloc(0);
  const length = type === 0 ? payload.length : type === 3 ? random.below(3) : random.pick(LENGTHS);
  return frame(type, flags, type > 1 ? 0 : random.pick(ids), length, payload);
}

export function frame(type: number, flags: number, streamId: number, length: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  writeHeader(bytes, 0, type, flags, streamId, length);
  payload.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** The same bytes as frames, most of them well-formed; the last payload may be cut short. */
export function repairFrames(bytes: Buffer, random: Random): Buffer {
  const repaired = Buffer.from(bytes);
  for (let at = 0; at + HEADER_BYTES <= repaired.length; at += HEADER_BYTES) {
    const type = repaired[at + 1] & 3;
    repaired[at] = 0;
    repaired[at + 1] = type;
    repaired[at + 2] = 0;
    repaired[at + 3] &= 0x0f;
    if (type > 1) repaired.writeUInt32BE(0, at + 4);
    else if (repaired.readUInt32BE(at + 4) === 0) repaired[at + 7] = 1 + random.below(4);
    if (type !== 0) continue;
    const left = repaired.length - at - HEADER_BYTES;
    const length = Math.min(left, repaired.readUInt32BE(at + 8) & 0xff);
    repaired.writeUInt32BE(random.below(50) === 0 ? random.pick(LENGTHS) : length, at + 8);
    at += length;
  }
  return repaired;
}
