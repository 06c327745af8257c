// What users send, as bytes and back. It arrives as what it was: bytes as bytes, a text as a text, any other value as JSON has it.

import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { jsonOf } from './json.js';
import { Kind, MAX_INLINE_BYTES, type Payload, UNKNOWN_LENGTH } from './wire/frames.js';

/** A stream of bytes, which is sent as it is read. */
export type ByteSource = AsyncIterable<Uint8Array>;

/** A value, ready to be sent. */
export interface Content {
  readonly kind: number;
  /** Undefined for nothing, and for a stream. */
  readonly payload: Payload;
  /** In UTF-8; UNKNOWN_LENGTH for a stream. */
  readonly bytes: number;
  readonly source: ByteSource | undefined;
}

export const NOTHING: Content = Object.freeze({ kind: Kind.NONE, payload: undefined, bytes: 0, source: undefined });

/** @throws ERR_STARLANE_ARGUMENT for what {@link jsonOf} cannot write */
export function contentOf(data: unknown): Content {
  if (data === undefined) return NOTHING;
  if (typeof data === 'string') {
    return { kind: Kind.TEXT, payload: data, bytes: Buffer.byteLength(data), source: undefined };
  }
  if (data instanceof Uint8Array) {
    // A copy, as what waits must not change: a frame of another length than was announced would break the lane for all of its messages.
    const payload = data.length > MAX_INLINE_BYTES ? data : Buffer.from(data);
    return { kind: Kind.BYTES, payload, bytes: payload.length, source: undefined };
  }
  if (isByteSource(data)) {
    // It may fail before anybody reads it, which must not end the process: who reads it gets the error.
    if (data instanceof EventEmitter) data.on('error', ignore);
    return { kind: Kind.STREAM, payload: undefined, bytes: UNKNOWN_LENGTH, source: data };
  }
  const text = jsonOf(data);
  return { kind: Kind.JSON, payload: text, bytes: Buffer.byteLength(text), source: undefined };
}

function isByteSource(data: unknown): data is ByteSource {
  return typeof data === 'object' && data !== null && (data instanceof Readable || Symbol.asyncIterator in data);
}

/** Returns what can be kept of received bytes: a copy, or a text. */
export function payloadOf(kind: number, bytes: Buffer, from: number, to: number): Payload {
  if (kind === Kind.NONE) return undefined;
  if (kind === Kind.BYTES) return Buffer.from(bytes.subarray(from, to));
  return bytes.toString('utf8', from, to);
}

/** Returns the value of a received payload. @throws SyntaxError for what is no JSON */
export function readValue(kind: number, payload: Payload): unknown {
  return kind === Kind.JSON ? JSON.parse(payload as string) : payload;
}

/** Ends a stream that is not read any more, so that it gives back what it holds. */
export function endSource(source: ByteSource | undefined): void {
  const { destroy } = (source ?? {}) as { destroy?: unknown };
  if (typeof destroy === 'function') destroy.call(source);
}

function ignore(): void {}
