// Cuts the control stream into messages. Pure: bytes in, messages out.

import { readUint32 } from './fields.js';
import { LENGTH_BYTES, MAX_MESSAGE_BYTES } from './message-envelope.js';
import { decodeMessage, type Message } from './messages.js';
import { malformed } from './text.js';

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
   * @param handler called for every message before push returns, with its type and body, which are its own only until it
   * returns; it may call {@link stop} and change {@link limitBytes}, but must not throw
   * @param limitBytes the longest message to take, at most and by default {@link MAX_MESSAGE_BYTES}
   */
  constructor(
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
    const end = chunk.length < LENGTH_BYTES ? 0 : LENGTH_BYTES + this.bodyLength(chunk);
    if (end === 0 || chunk.length < end) {
      this.hold(chunk, end);
      return NOTHING;
    }
    this.deliver(chunk.subarray(LENGTH_BYTES, end));
    return chunk.subarray(end);
  }

  /** Inside a message: adds what it lacks, first the length, then the rest. Returns what is left. */
  private readPartial(chunk: Uint8Array): Uint8Array {
    const end = this.held < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + this.bodyLength(this.partial);
    const take = Math.min(chunk.length, end - this.held);
    this.hold(chunk.subarray(0, take), end);
    if (this.held === LENGTH_BYTES) this.bodyLength(this.partial);
    else if (this.held === end && end > LENGTH_BYTES) {
      const body = this.partial.subarray(LENGTH_BYTES, end);
      this.partial = NOTHING;
      this.held = 0;
      this.deliver(body);
    }
    return chunk.subarray(take);
  }

  private hold(chunk: Uint8Array, end: number): void {
    const size = this.held + chunk.length;
    if (size > this.partial.length) {
      // Doubling, but by what has arrived and not by what the length promises: a stranger pays for what he occupies.
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
      message = decodeMessage(typeAndBody);
    } catch (error) {
      this.stop();
      throw error;
    }
    if (message !== undefined) this.handler(message, typeAndBody);
  }
}
