// What is around every message of the control stream: a length, and a number that says what it is.
//
//   message        u32 length | u8 type | body                  the length counts type and body

import { uint } from './field-parts.js';
import { malformed } from './text.js';

/** The longest message, type and body together; the bound of what a reader holds. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

export const LENGTH_BYTES = 4;

/** The numbers are the wire: append only. 2 and 3 announced services of neighbours once, and are not used again. */
export const MessageType = {
  HELLO: 1,
  SYNCED: 4,
  GOODBYE: 5,
  RECORDS: 6,
  DIGEST: 7,
  BUCKETS: 8,
  ENTRIES: 9,
  WANT: 10,
  AUTH: 11,
  NOTICE: 12,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** A whole message around a body in parts. Its own function so that specs can make messages of any type. */
export function encodeMessage(type: number, body: readonly Uint8Array[]): Buffer {
  let length = 1;
  for (const part of body) length += part.length;
  if (length > MAX_MESSAGE_BYTES) throw malformed(`a message of ${length} bytes`);
  return Buffer.concat([uint(LENGTH_BYTES, length, 'length'), uint(1, type, 'type'), ...body]);
}
