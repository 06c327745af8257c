// Takes a circuit apart: frames, and the messages in them. What lies in one chunk is read where it is; what does not is put together. It can be
// stopped after any message, and continued later.

import { messageError } from '../../outcome.js';
import { DATA_HEAD_BYTES, FRAME_HEAD_BYTES, FrameType, MAX_CONTROL_BYTES, MESSAGE_HEAD_BYTES } from './layout.js';

/** What a reader calls. */
export interface FrameSink {
  /** Called for each frame but DATA. The body must not be kept. */
  onFrame(type: number, body: Buffer): void;
  /** Called at the begin of a DATA frame. */
  onData(first: number, mask: number): void;
  /** Called for each message. Its bytes may be kept. */
  onMessage(buffer: Buffer, start: number, end: number): void;
}

const State = { FRAME: 0, CONTROL: 1, DATA: 2, MESSAGE_HEAD: 3, MESSAGE: 4 } as const;

/** A message is put together in memory that grows with what has arrived, not with what was announced. */
const FIRST_UNIT_BYTES = 4 * 1024;

export class FrameReader {
  private state: number = State.FRAME;
  /** Bytes of the unit that is being read. */
  private want = FRAME_HEAD_BYTES;
  private unit: Buffer | undefined;
  private filled = 0;
  private type = 0;
  /** What is left of a DATA frame. */
  private left = 0;
  private isStopped = false;
  private isReading = false;
  /** Chunks that wait, the first from `heldAt` on. */
  private readonly held: Buffer[] = [];
  private heldAt = 0;

  /** @param maxBytes of a message without its head */
  constructor(
    private readonly sink: FrameSink,
    private readonly maxBytes: number,
  ) {}

  /** Stops behind the current message. */
  stop(): void {
    this.isStopped = true;
  }

  /** Goes on. @throws as {@link push} */
  resume(): void {
    if (!this.isStopped) return;
    this.isStopped = false;
    if (!this.isReading) this.readHeld();
  }

  /** @throws ERR_STARLANE_MESSAGE_PROTOCOL, and what the sink throws */
  push(chunk: Buffer): void {
    if (this.isStopped || this.held.length > 0) {
      this.held.push(chunk);
      return;
    }
    this.isReading = true;
    try {
      const at = this.read(chunk, 0);
      if (at < chunk.length) {
        this.held.push(chunk);
        this.heldAt = at;
      }
    } finally {
      this.isReading = false;
    }
  }

  private readHeld(): void {
    this.isReading = true;
    try {
      while (this.held.length > 0 && !this.isStopped) {
        const [chunk] = this.held;
        this.heldAt = this.read(chunk, this.heldAt);
        if (this.heldAt < chunk.length) continue;
        this.held.shift();
        this.heldAt = 0;
      }
    } finally {
      this.isReading = false;
    }
  }

  /** Reads from `at` on. Returns up to where. */
  private read(chunk: Buffer, from: number): number {
    let at = from;
    while (!this.isStopped) {
      const there = chunk.length - at;
      if (this.filled === 0 && there >= this.want) {
        const { want, state } = this;
        if (state === State.MESSAGE_HEAD) {
          // The head stays a part of the unit.
          this.announce(chunk, at);
          continue;
        }
        this.take(chunk, at);
        at += want;
        continue;
      }
      if (there === 0) break;
      const part = Math.min(this.want - this.filled, there);
      this.gather(chunk, at, part);
      at += part;
      if (this.filled < this.want) break;
      const unit = this.unit as Buffer;
      if (this.state === State.MESSAGE_HEAD) {
        this.announce(unit, 0);
        if (this.filled < this.want) continue;
      }
      this.unit = undefined;
      this.filled = 0;
      this.take(unit, 0);
    }
    return at;
  }

  private gather(chunk: Buffer, at: number, bytes: number): void {
    const needed = this.filled + bytes;
    if (this.unit === undefined || this.unit.length < needed) {
      const room = Math.min(this.want, Math.max(FIRST_UNIT_BYTES, 2 * needed));
      const larger = Buffer.allocUnsafeSlow(Math.max(room, needed));
      this.unit?.copy(larger, 0, 0, this.filled);
      this.unit = larger;
    }
    chunk.copy(this.unit, this.filled, at, at + bytes);
    this.filled = needed;
  }

  /** Reads the head of a message, which becomes the first part of the unit. */
  private announce(bytes: Buffer, at: number): void {
    const length = (bytes[at + 2] | (bytes[at + 3] << 8) | (bytes[at + 4] << 16) | (bytes[at + 5] << 24)) >>> 0;
    const total = MESSAGE_HEAD_BYTES + length;
    if (length > this.maxBytes) throw broken(`a message of ${length} bytes`);
    if (total > this.left) throw broken('a message that is longer than its frame');
    this.want = total;
    this.state = State.MESSAGE;
  }

  private take(bytes: Buffer, at: number): void {
    switch (this.state) {
      case State.MESSAGE: {
        const end = at + this.want;
        this.left -= this.want;
        this.next(this.left === 0 ? State.FRAME : State.MESSAGE_HEAD);
        this.sink.onMessage(bytes, at, end);
        break;
      }
      case State.FRAME: {
        this.type = bytes[at];
        const length = bytes.readUInt32LE(at + 1);
        if (this.type === FrameType.DATA) {
          if (length <= DATA_HEAD_BYTES) throw broken('an empty frame of messages');
          this.left = length - DATA_HEAD_BYTES;
          this.next(State.DATA);
        } else {
          if (length > MAX_CONTROL_BYTES) throw broken(`a frame of ${length} bytes`);
          if (length === 0) this.sink.onFrame(this.type, bytes.subarray(0, 0));
          else {
            this.next(State.CONTROL);
            this.want = length;
          }
        }
        break;
      }
      case State.CONTROL: {
        const body = bytes.subarray(at, at + this.want);
        this.next(State.FRAME);
        this.sink.onFrame(this.type, body);
        break;
      }
      default: {
        const first = bytes.readUIntLE(at, 6);
        const mask = bytes.readUInt32LE(at + 6);
        this.next(State.MESSAGE_HEAD);
        this.sink.onData(first, mask);
      }
    }
  }

  private next(state: number): void {
    this.state = state;
    this.want = state === State.FRAME ? FRAME_HEAD_BYTES : state === State.DATA ? DATA_HEAD_BYTES : MESSAGE_HEAD_BYTES;
  }
}

/** Returns the error for what the other end must not send. */
export function broken(what: string): Error {
  return messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', what);
}
