// The contents of messages: a header that says which message it is and what its handler shall do, and bytes that can be checked.

import { Readable } from 'node:stream';

export interface Header {
  readonly u: string;
  readonly key?: string;
  readonly throws?: boolean;
  readonly slowMs?: number;
  /** Bytes that follow the header. */
  readonly length: number;
}

export type Form = 'json' | 'text' | 'bytes' | 'stream';

const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, at) => (at * 89 + 7) & 0xff));
const LENGTH_BYTES = 4;
const CHUNK_BYTES = 24 * 1024;

/** The content of a message in one of the forms that `send` takes. */
export function contentOf(form: Form, header: Header): unknown {
  switch (form) {
    case 'json':
      return { ...header, filling: filling(header).toString('latin1') };
    case 'text':
      return `${JSON.stringify(header)}\n${filling(header).toString('latin1')}`;
    case 'bytes':
      return bytesOf(header);
    case 'stream':
      return Readable.from(chunksOf(bytesOf(header)), { objectMode: false });
  }
}

/** What arrived: the header, and what is wrong with the rest. */
export interface Opened {
  readonly header: Header | undefined;
  readonly damage: string | undefined;
}

export function open(data: unknown): Opened {
  try {
    if (typeof data === 'string') {
      const end = data.indexOf('\n');
      const header = JSON.parse(data.slice(0, end)) as Header;
      return compare(header, Buffer.from(data.slice(end + 1), 'latin1'));
    }
    if (data instanceof Uint8Array) return openBytes(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    const { filling: rest, ...header } = data as Header & { filling: string };
    return compare(header, Buffer.from(rest, 'latin1'));
  } catch (error) {
    return { header: undefined, damage: `not a message of this run: ${(error as Error).message}` };
  }
}

/** The header of a content of bytes, as soon as it is complete. */
export function headerOf(start: Buffer): Header | undefined {
  if (start.length < LENGTH_BYTES) return undefined;
  const length = start.readUInt32BE(0);
  if (start.length < LENGTH_BYTES + length) return undefined;
  return JSON.parse(start.toString('utf8', LENGTH_BYTES, LENGTH_BYTES + length)) as Header;
}

export function openBytes(bytes: Buffer): Opened {
  const header = headerOf(bytes);
  if (header === undefined) return { header, damage: `cut off after ${bytes.length} bytes` };
  return compare(header, bytes.subarray(LENGTH_BYTES + bytes.readUInt32BE(0)));
}

function bytesOf(header: Header): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, filling(header)]);
}

/** Different for each message, so that bytes of another one are noticed. */
function filling({ u, length }: Header): Buffer {
  let start = 0;
  for (const char of u) start = (start * 31 + char.charCodeAt(0)) % PATTERN.length;
  const turned = Buffer.concat([PATTERN.subarray(start), PATTERN.subarray(0, start)]);
  return Buffer.alloc(length, turned);
}

function compare(header: Header, rest: Buffer): Opened {
  const expected = filling(header);
  if (expected.equals(rest)) return { header, damage: undefined };
  return { header, damage: `${rest.length} bytes instead of ${expected.length}, or others` };
}

function* chunksOf(bytes: Buffer): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}
