// Cuts a byte stream into yamux frames, however the bytes are chunked.
// Pure: no sockets, timers or events. Payload is passed on as slices of the chunk it came in, as soon as it is there,
// so a frame is never buffered and a length of 4 GiB costs nothing.

import {
  describeHeader,
  FrameType,
  HEADER_BYTES,
  KNOWN_FLAGS,
  readFlags,
  readLength,
  readStreamId,
  readType,
  readVersion,
  SESSION_STREAM_ID,
  YAMUX_VERSION,
} from './header.js';

/** The callbacks of a decoder. It calls none of them after {@link FrameDecoder.stop}. */
export interface FrameHandlers {
  /** Called when a whole header has arrived. For data frames `length` bytes of payload follow through {@link onPayload}. */
  onFrame(type: number, flags: number, streamId: number, length: number): void;
  /** Called with the next part of the payload of the last data frame; `last` when the frame is complete. Never empty. */
  onPayload(chunk: Buffer, last: boolean): void;
  /** Called when the bytes are not yamux; the decoder has stopped. */
  onMalformed(reason: string): void;
}

const State = {
  /** At the start of a header, none of its bytes seen. */
  HEADER: 0,
  /** Part of a header is in the scratch buffer. */
  SPLIT_HEADER: 1,
  /** Inside the payload of a data frame. */
  PAYLOAD: 2,
  /** Malformed input or {@link FrameDecoder.stop}: everything further is ignored. */
  STOPPED: 3,
} as const;

export class FrameDecoder {
  private state: number = State.HEADER;
  private payloadLeft = 0;
  private readonly scratch = Buffer.alloc(HEADER_BYTES);
  private scratchLength = 0;

  constructor(private readonly handlers: FrameHandlers) {}

  /** Handlers are called before this returns; they may call {@link stop}, but not push. */
  push(chunk: Buffer): void {
    const size = chunk.length;
    let offset = 0;
    while (offset < size) {
      switch (this.state) {
        case State.PAYLOAD: {
          const end = Math.min(size, offset + this.payloadLeft);
          this.payloadLeft -= end - offset;
          const last = this.payloadLeft === 0;
          if (last) this.state = State.HEADER;
          this.handlers.onPayload(offset === 0 && end === size ? chunk : chunk.subarray(offset, end), last);
          offset = end;
          break;
        }
        case State.HEADER:
          if (size - offset >= HEADER_BYTES) {
            this.header(chunk, offset);
            offset += HEADER_BYTES;
          } else {
            this.scratchLength = chunk.copy(this.scratch, 0, offset, size);
            this.state = State.SPLIT_HEADER;
            offset = size;
          }
          break;
        case State.SPLIT_HEADER: {
          const end = Math.min(size, offset + HEADER_BYTES - this.scratchLength);
          this.scratchLength += chunk.copy(this.scratch, this.scratchLength, offset, end);
          offset = end;
          if (this.scratchLength === HEADER_BYTES) {
            this.scratchLength = 0;
            this.state = State.HEADER;
            this.header(this.scratch, 0);
          }
          break;
        }
        default:
          return;
      }
    }
  }

  /** Ignores everything from here on. */
  stop(): void {
    this.state = State.STOPPED;
  }

  /** False while the input ends inside a header or a payload: an end of input there is a truncated frame. */
  get betweenFrames(): boolean {
    return this.state === State.HEADER || this.state === State.STOPPED;
  }

  /** The bytes of an invalid header, or of one whose rest has not arrived. */
  get stray(): Buffer {
    return this.scratch.subarray(0, this.scratchLength);
  }

  private header(bytes: Buffer, offset: number): void {
    const type = readType(bytes, offset);
    const flags = readFlags(bytes, offset);
    const streamId = readStreamId(bytes, offset);
    if (
      readVersion(bytes, offset) !== YAMUX_VERSION ||
      type > FrameType.GO_AWAY ||
      (flags & ~KNOWN_FLAGS) !== 0 ||
      // Data and windows belong to a stream, pings and GoAway to the session (spec: "StreamID Field").
      (streamId === SESSION_STREAM_ID) !== type > FrameType.WINDOW_UPDATE
    ) {
      this.state = State.STOPPED;
      this.scratchLength = bytes.copy(this.scratch, 0, offset, offset + HEADER_BYTES);
      this.handlers.onMalformed(`not a yamux frame: ${describeHeader(bytes, offset)}`);
      return;
    }
    const length = readLength(bytes, offset);
    if (type === FrameType.DATA && length > 0) {
      this.payloadLeft = length;
      this.state = State.PAYLOAD;
    }
    this.handlers.onFrame(type, flags, streamId, length);
  }
}
