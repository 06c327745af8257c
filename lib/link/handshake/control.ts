// The control stream of a link: messages over the client's first stream, in both directions, for as long as the link
// lives. Knows what a message is, not what it means.

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { MessageReader } from '../../wire/message-reader.js';
import type { Message } from '../../wire/messages.js';
import { type ControlInput, type ControlTurns, controlTurns } from './control-turns.js';

/** The longest message of a stranger: a HELLO has 2.3 KiB at most, and later versions may add to it. */
const MAX_STRANGER_BYTES = 8 * 1024;

export interface ControlOwner {
  /** `bytes`: type and body as they came, valid until it returns. */
  onMessage(message: Message, bytes: Uint8Array): void;
  /** Everything that {@link Control.send} has queued is on its way: more may be sent. */
  onControlDrain(): void;
  /** The peer ended or broke the control stream, which nothing follows. */
  onControlClose(error: Error | undefined): void;
}

export class Control implements StreamSink, ControlInput {
  private stream: MuxStream | undefined;
  /** Bytes of messages that wait for the peer to take them. */
  private queuedBytes = 0;
  private readonly reader: MessageReader;
  /** Copies of what came when a turn had taken in enough. The window of the stream bounds it: it is given no credit. */
  private waiting: Buffer[] = [];
  /** The peer has ended the stream behind what waits. */
  private hasEnded = false;

  constructor(
    private readonly owner: ControlOwner,
    private readonly turns: ControlTurns = controlTurns,
  ) {
    this.reader = new MessageReader((message, bytes) => this.owner.onMessage(message, bytes), MAX_STRANGER_BYTES);
  }

  /** The stream there is from now on; its sink is this. */
  attach(stream: MuxStream): void {
    this.stream = stream;
    stream.sink = this;
  }

  /** The peer has proved who it is: from now on messages may be that long. */
  trust(maxMessageBytes: number): void {
    this.reader.limitBytes = maxMessageBytes;
  }

  get isAttached(): boolean {
    return this.stream !== undefined;
  }

  /** True when the peer is slow: what is not urgent should wait for {@link ControlOwner.onControlDrain}. */
  get isBlocked(): boolean {
    return this.queuedBytes > 0;
  }

  /** Sends a message in any case. */
  send(message: Buffer): void {
    const { stream } = this;
    if (stream === undefined || stream.isClosed) return;
    if (!stream.write(message)) this.queuedBytes += message.length;
  }

  /** Sends nothing more. What has been sent arrives. */
  end(): void {
    this.stream?.end();
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    const now = this.waiting.length > 0 ? 0 : this.turns.claim(chunk.length);
    if (now < chunk.length) {
      this.waiting.push(Buffer.from(chunk.subarray(now)));
      this.turns.wait(this);
    }
    if (now > 0) this.read(stream, now < chunk.length ? chunk.subarray(0, now) : chunk);
  }

  takeIn(bytes: number): number {
    let taken = 0;
    while (taken < bytes) {
      const chunk = this.waiting[0];
      if (chunk === undefined || this.stream === undefined) break;
      const part = chunk.subarray(0, bytes - taken);
      if (part.length === chunk.length) this.waiting.shift();
      else this.waiting[0] = chunk.subarray(part.length);
      taken += part.length;
      this.read(this.stream, part);
    }
    if (this.waiting.length === 0 && this.hasEnded) {
      this.hasEnded = false;
      this.owner.onControlClose(undefined);
    }
    return taken;
  }

  [kOnEnd](): void {
    if (this.waiting.length > 0) this.hasEnded = true;
    else this.owner.onControlClose(undefined);
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.queuedBytes = Math.max(0, this.queuedBytes - bytes);
    if (this.queuedBytes === 0) this.owner.onControlDrain();
  }

  [kOnReset](_stream: MuxStream, error: Error): void {
    this.waiting = [];
    this.hasEnded = false;
    this.turns.leave(this);
    this.owner.onControlClose(error);
  }

  private read(stream: MuxStream, bytes: Buffer): void {
    try {
      this.reader.push(bytes);
    } catch (error) {
      this.reader.stop();
      this.owner.onControlClose(error as Error);
    }
    stream.consumed(bytes.length);
  }
}
