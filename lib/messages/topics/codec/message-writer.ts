// Encodes messages side by side into pieces of memory: subscribers share the bytes, and a piece is used again when the last one has confirmed what
// lies in it.

import { starlaneError } from '../../../errors.js';
import { jsonOf } from '../../json.js';
import { messageError } from '../../outcome.js';
import { Flag, Kind, MESSAGE_HEAD_BYTES } from './layout.js';
import { type PiecePool, sharedPieces } from './piece-pool.js';

/** What can be published: bytes, a text, any value that JSON can hold, or nothing. */
export type TopicData = unknown;
/** Headers of a message: texts by name. */
export type TopicHeaders = Readonly<Record<string, string>>;

/** Shorter strings and arrays are copied byte by byte, which is faster than a call into Node. */
const SHORT = 40;
const MAX_HEADERS_BYTES = 0xffff;
const NOTHING = Buffer.alloc(0);

/** What a message has besides topic and data. */
export interface Extras {
  readonly headers?: TopicHeaders | undefined;
  /** Of a request: its number, and how long the answer is waited for. */
  readonly request?: number;
  readonly remainingMs?: number;
  /** Of a reply: the number of the request, and a status. */
  readonly reply?: number;
  readonly status?: number;
}

export class MessageWriter {
  /** Where the last message is. */
  buffer: Buffer = NOTHING;
  start = 0;
  end = 0;

  /** @param maxBytes of a message as it is encoded, without its head */
  constructor(
    private readonly maxBytes: number,
    private readonly pieces: PiecePool = sharedPieces,
  ) {}

  /**
   * Encodes a message behind the last one, at {@link buffer} from {@link start} to {@link end}.
   * @throws ERR_STARLANE_MESSAGE_SIZE, ERR_STARLANE_ARGUMENT
   */
  encode(topic: Uint8Array, data: TopicData, extras: Extras | undefined): void {
    let kind: number = Kind.BYTES;
    let text = '';
    let dataBytes = 0;
    if (typeof data === 'string') {
      kind = Kind.STRING;
      text = data;
    } else if (data === undefined) kind = Kind.NONE;
    else if (data instanceof Uint8Array) dataBytes = data.length;
    else {
      kind = Kind.JSON;
      text = jsonOf(data);
    }
    if (text !== '') dataBytes = text.length > SHORT ? 3 * text.length : 4 * SHORT;
    const headers = extras?.headers === undefined ? undefined : headerBytes(extras.headers);
    const headersLength = headers === undefined ? 0 : 2 + headers.length;
    const before = MESSAGE_HEAD_BYTES + topic.length + 8 + headersLength;
    if (dataBytes > this.maxBytes) {
      if (text !== '') dataBytes = Buffer.byteLength(text);
      if (dataBytes > this.maxBytes) throw tooLong(dataBytes, this.maxBytes);
    }
    this.reserve(before + dataBytes);

    const { buffer } = this;
    const start = this.end;
    let at = start + MESSAGE_HEAD_BYTES;
    if (topic.length <= SHORT) for (let index = 0; index < topic.length; index++) buffer[at + index] = topic[index];
    else buffer.set(topic, at);
    at += topic.length;
    let flags = kind;
    if (extras !== undefined) {
      if (extras.request !== undefined) {
        flags |= Flag.REQUEST;
        buffer.writeUInt32LE(extras.request, at);
        buffer.writeUInt32LE(Math.min(Math.ceil(extras.remainingMs ?? 0), 0xffff_ffff), at + 4);
        at += 8;
      } else if (extras.reply !== undefined) {
        flags |= Flag.REPLY;
        buffer.writeUInt32LE(extras.reply, at);
        buffer[at + 4] = extras.status ?? 0;
        at += 5;
      }
      if (headers !== undefined) {
        flags |= Flag.HEADERS;
        buffer.writeUInt16LE(headers.length, at);
        headers.copy(buffer, at + 2);
        at += headersLength;
      }
    }
    if (kind === Kind.BYTES) at += putBytes(buffer, at, data as Uint8Array);
    else if (text !== '') at += putText(buffer, at, text);

    const length = at - start - MESSAGE_HEAD_BYTES;
    if (length > this.maxBytes) throw tooLong(length, this.maxBytes);
    buffer[start] = flags;
    buffer[start + 1] = topic.length;
    buffer[start + 2] = length & 0xff;
    buffer[start + 3] = (length >>> 8) & 0xff;
    buffer[start + 4] = (length >>> 16) & 0xff;
    buffer[start + 5] = length >>> 24;
    this.start = start;
    this.end = at;
  }

  private reserve(bytes: number): void {
    if (this.buffer.length - this.end >= bytes) return;
    this.pieces.release(this.buffer);
    this.buffer = this.pieces.take(bytes);
    this.start = 0;
    this.end = 0;
  }
}

function putBytes(buffer: Buffer, at: number, data: Uint8Array): number {
  const { length } = data;
  if (length <= SHORT) for (let index = 0; index < length; index++) buffer[at + index] = data[index];
  else buffer.set(data, at);
  return length;
}

function putText(buffer: Buffer, at: number, text: string): number {
  const { length } = text;
  if (length > SHORT) return buffer.write(text, at);
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return buffer.write(text, at);
    buffer[at + index] = code;
  }
  return length;
}

/** @throws ERR_STARLANE_ARGUMENT */
function headerBytes(headers: TopicHeaders): Buffer {
  if (typeof headers !== 'object' || headers === null)
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'headers: an object of strings is needed');
  for (const value of Object.values(headers)) {
    if (typeof value !== 'string')
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'the value of a header must be a string');
  }
  const bytes = Buffer.from(JSON.stringify(headers));
  if (bytes.length > MAX_HEADERS_BYTES)
    throw messageError('ERR_STARLANE_MESSAGE_SIZE', 'not-handled', `headers of ${bytes.length} bytes`);
  return bytes;
}

function tooLong(bytes: number, most: number): Error {
  return messageError('ERR_STARLANE_MESSAGE_SIZE', 'not-handled', `${bytes} bytes, and maxMessageBytes is ${most}`);
}
