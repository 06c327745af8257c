// Yamux frames for specs: made by hand, and written as a line of text that a failed expectation shows.

import { type NaiveFrame, naiveEncode } from './naive-codec.js';

export const SYN = 1;
export const ACK = 2;
export const FIN = 4;
export const RST = 8;

export function data(streamId: number, payload: Buffer | string, flags = 0): Buffer {
  const bytes = Buffer.from(payload);
  return naiveEncode({ type: 0, flags, streamId, length: bytes.length, payload: bytes });
}

/** The header of a data frame whose payload the spec sends by itself, or never. */
export function dataHeader(streamId: number, length: number, flags = 0): Buffer {
  return naiveEncode({ type: 0, flags, streamId, length, payload: Buffer.alloc(0) });
}

export function windowUpdate(streamId: number, delta: number, flags = 0): Buffer {
  return naiveEncode({ type: 1, flags, streamId, length: delta, payload: Buffer.alloc(0) });
}

export function ping(opaque: number, flags = SYN): Buffer {
  return naiveEncode({ type: 2, flags, streamId: 0, length: opaque, payload: Buffer.alloc(0) });
}

export function goAway(code: number): Buffer {
  return naiveEncode({ type: 3, flags: 0, streamId: 0, length: code, payload: Buffer.alloc(0) });
}

const TYPES = ['DATA', 'WINDOW', 'PING', 'GOAWAY'];
const FLAGS = ['SYN', 'ACK', 'FIN', 'RST'];

/** For instance `DATA 1 SYN+ACK 5`: type, stream id unless 0, flags unless none, length. */
export function frameText(frame: NaiveFrame): string {
  const flags = FLAGS.filter((_, bit) => frame.flags & (1 << bit)).join('+');
  return [TYPES[frame.type], frame.streamId || '', flags, frame.length].filter((part) => part !== '').join(' ');
}

/** The bytes that data frames carry for one stream, in order. */
export function payloadOf(frames: readonly NaiveFrame[], streamId: number): Buffer {
  return Buffer.concat(frames.filter((frame) => frame.streamId === streamId).map((frame) => frame.payload));
}

/** A prime, so that no frame or chunk size is in step with it. */
const PERIOD = 65_521;
const period = randomLike(2 * PERIOD);

/** Bytes without a rhythm, so that a lost, doubled or swapped piece shows. `seed` sets streams apart. */
export function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  const start = (seed * 7919) % PERIOD;
  for (let offset = 0; offset < length; offset += PERIOD) period.copy(bytes, offset, start, start + PERIOD);
  return bytes;
}

function randomLike(length: number): Buffer {
  const { imul } = Math;
  const bytes = Buffer.allocUnsafe(length);
  let value = 1;
  for (let index = 0; index < length; index++) {
    value = (imul(value, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = index < PERIOD ? value >>> 24 : bytes[index - PERIOD];
  }
  return bytes;
}
