// What users send, as bytes and back: bytes, text, or any value of JSON. Each arrives as what it was.

import { jsonOf } from '../json.js';
import { messageError } from '../outcome.js';
import { Format } from './frames.js';

/** What can be sent: bytes, text, or anything that JSON can hold. */
export type BroadcastData = Uint8Array | string | number | boolean | null | object;

export interface Content {
  readonly format: Format;
  readonly payload: Uint8Array;
}

/** @throws ERR_STARLANE_ARGUMENT for what JSON cannot hold, ERR_STARLANE_MESSAGE_SIZE */
export function encodeContent(data: BroadcastData, maxBytes: number): Content {
  const content = contentOf(data);
  const { length } = content.payload;
  if (length > maxBytes) {
    throw messageError('ERR_STARLANE_MESSAGE_SIZE', 'not-handled', `${length} bytes, and ${maxBytes} are allowed`);
  }
  return content;
}

/** @throws SyntaxError when another node has sent malformed JSON */
export function decodeContent(format: Format, payload: Uint8Array): unknown {
  if (format === Format.BYTES) return payload;
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString();
  return format === Format.TEXT ? text : JSON.parse(text);
}

function contentOf(data: BroadcastData): Content {
  // A copy: it may be sent again later, when the user has changed the bytes.
  if (data instanceof Uint8Array) return { format: Format.BYTES, payload: Buffer.from(data) };
  if (typeof data === 'string') return { format: Format.TEXT, payload: Buffer.from(data) };
  return { format: Format.JSON, payload: Buffer.from(jsonOf(data)) };
}
