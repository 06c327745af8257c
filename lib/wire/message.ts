// The envelope of every message of the control stream, and a reader that cuts the stream into messages. Pure.
//
//   message        u32 length | u8 type | body                  the length counts type and body

import { readUint32, uint } from './fields.js';
import type { Message } from './messages.js';
import { malformed } from './text.js';

/** The longest message, type and body together; the bound of what a reader holds. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

/** The length in front of type and body. */
export const MESSAGE_LENGTH_BYTES = 4;

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
  MEMBERS: 13,
  MEMBERS_DIGEST: 14,
  MEMBER_HASHES: 15,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Returns a whole message with the body that these parts make up. `type` may also be one that does not exist yet. */
export function encodeMessage(type: number, body: readonly Uint8Array[]): Buffer {
  let length = 1;
  for (const part of body) length += part.length;
  if (length > MAX_MESSAGE_BYTES) throw malformed(`a message of ${length} bytes`);
  return Buffer.concat([uint(MESSAGE_LENGTH_BYTES, length, 'length'), uint(1, type, 'type'), ...body]);
}

const NOTHING = Buffer.alloc(0);

/**
 * Cuts a byte stream into messages, however it is chunked. Holds at most one incomplete message, and no more of it
 * than has arrived.
 */
export class MessageReader {
  private partial: Buffer = NOTHING;
  /** How many bytes of `partial` are in use. */
  private held = 0;
  private stopped = false;

  /**
   * @param decode reads the type and body of one message; undefined when the type is not known
   * @param handler called for every message before push returns, with its type and body, which are valid until it returns; it
   * may call {@link stop} and change {@link limitBytes}, but must not throw
   * @param limitBytes the longest message to take, at most and by default {@link MAX_MESSAGE_BYTES}
   */
  constructor(
    private readonly decode: (typeAndBody: Uint8Array) => Message | undefined,
    private readonly handler: (message: Message, typeAndBody: Uint8Array) => void,
    public limitBytes: number = MAX_MESSAGE_BYTES,
  ) {}

  /**
   * Messages of unknown type are skipped. After an error everything further is ignored.
   * @throws StarlaneError ERR_STARLANE_MESSAGE when the bytes are not messages
   */
  push(chunk: Uint8Array): void {
    let rest = chunk;
    while (!this.stopped && rest.length > 0) rest = this.held === 0 ? this.readWhole(rest) : this.readPartial(rest);
  }

  /** Ignores everything from here on. */
  stop(): void {
    this.stopped = true;
    this.partial = NOTHING;
    this.held = 0;
  }

  /** False when the input so far ends inside a message: an end there is a truncated message. */
  get betweenMessages(): boolean {
    return this.held === 0;
  }

  /** At the start of a message: takes it from the chunk when all of it is there. Returns what is left. */
  private readWhole(chunk: Uint8Array): Uint8Array {
    const end = chunk.length < MESSAGE_LENGTH_BYTES ? 0 : MESSAGE_LENGTH_BYTES + this.bodyLength(chunk);
    if (end === 0 || chunk.length < end) {
      this.keep(chunk, end);
      return NOTHING;
    }
    this.deliver(chunk.subarray(MESSAGE_LENGTH_BYTES, end));
    return chunk.subarray(end);
  }

  /** Inside a message: adds what it lacks, first the length, then the rest. Returns what is left. */
  private readPartial(chunk: Uint8Array): Uint8Array {
    const end =
      this.held < MESSAGE_LENGTH_BYTES ? MESSAGE_LENGTH_BYTES : MESSAGE_LENGTH_BYTES + this.bodyLength(this.partial);
    const take = Math.min(chunk.length, end - this.held);
    this.keep(chunk.subarray(0, take), end);
    if (this.held === MESSAGE_LENGTH_BYTES) this.bodyLength(this.partial);
    else if (this.held === end && end > MESSAGE_LENGTH_BYTES) {
      const body = this.partial.subarray(MESSAGE_LENGTH_BYTES, end);
      this.partial = NOTHING;
      this.held = 0;
      this.deliver(body);
    }
    return chunk.subarray(take);
  }

  private keep(chunk: Uint8Array, end: number): void {
    const size = this.held + chunk.length;
    if (size > this.partial.length) {
      // Doubling, but by what has arrived and not by what the length promises: a peer occupies no more than it has sent.
      const grown = Buffer.allocUnsafeSlow(Math.max(size, Math.min(end, 2 * size), 64));
      this.partial.copy(grown, 0, 0, this.held);
      this.partial = grown;
    }
    this.partial.set(chunk, this.held);
    this.held = size;
  }

  private bodyLength(bytes: Uint8Array): number {
    const length = readUint32(bytes, 0);
    if (length < 1 || length > this.limitBytes) {
      this.stop();
      throw malformed(`a message of ${length} bytes`);
    }
    return length;
  }

  private deliver(typeAndBody: Uint8Array): void {
    let message: Message | undefined;
    try {
      message = this.decode(typeAndBody);
    } catch (error) {
      this.stop();
      throw error;
    }
    if (message !== undefined) this.handler(message, typeAndBody);
  }
}
