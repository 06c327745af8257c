// The control stream of a link: messages over the client's first stream, in both directions, for as long as the link
// lives. Knows what a message is, not what it means.
//
// One poll of a socket may bring megabytes of records, which take ten times longer to read than to send. A turn of the event
// loop reads so much of them; the rest waits, and the peer gets credit for it when it has been read.

import type { MuxStream, StreamSink } from '../mux/mux-stream.js';
import type { Clock } from '../util/timers.js';
import { MessageReader } from '../wire/message-reader.js';
import type { Message } from '../wire/messages.js';

/** The longest message of a stranger: a HELLO has 2.3 KiB at most, and later versions may add to it. */
const MAX_STRANGER_BYTES = 8 * 1024;

/** What is read in one turn: half a millisecond of records, and as much as one message of a flood has. */
const TURN_BYTES = 16 * 1024;

/** What is still read of a link that is lost: why may be among it. */
const LAST_BYTES = 256 * 1024;

export interface ControlOwner {
  /** `bytes`: type and body as they came, valid until it returns. */
  onMessage(message: Message, bytes: Uint8Array): void;
  /** Everything that {@link Control.send} has queued is on its way: more may be sent. */
  onControlDrain(): void;
  /** The peer ended or broke the control stream, which nothing follows. */
  onControlClose(error: Error | undefined): void;
}

export class Control implements StreamSink {
  private stream: MuxStream | undefined;
  /** Bytes of messages that wait for the peer to take them. */
  private queuedBytes = 0;
  private readonly reader: MessageReader;
  /** What the peer has sent and no turn has read yet. */
  private readonly unread: Buffer[] = [];
  private turnBytes = 0;
  private isTurnDue = false;
  private isReading = false;
  /** Nothing is behind what is unread. */
  private hasEnded = false;

  constructor(
    private readonly owner: ControlOwner,
    private readonly clock: Clock,
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

  /** The link is lost: what it brought before is read now, and nothing after that. */
  readLast(): void {
    if (!this.isReading) this.read(LAST_BYTES);
    this.drop();
  }

  /** Nothing more of the peer is wanted. */
  drop(): void {
    this.unread.length = 0;
    this.reader.stop();
  }

  onData(_stream: MuxStream, chunk: Buffer): void {
    this.unread.push(chunk);
    this.readSome();
  }

  onEnd(): void {
    this.hasEnded = true;
    this.readSome();
  }

  onSent(_stream: MuxStream, bytes: number): void {
    this.queuedBytes = Math.max(0, this.queuedBytes - bytes);
    if (this.queuedBytes === 0) this.owner.onControlDrain();
  }

  onReset(_stream: MuxStream, error: Error): void {
    this.readLast();
    this.owner.onControlClose(error);
  }

  private readSome(): void {
    if (this.isReading) return;
    const bytes = this.read(TURN_BYTES - this.turnBytes);
    this.turnBytes += bytes;
    if (bytes > 0) this.stream?.consumed(bytes);
    if (this.unread.length === 0 && this.hasEnded) this.owner.onControlClose(undefined);
    else if (this.turnBytes > 0) this.nextTurn();
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    this.clock.setImmediate(() => {
      this.isTurnDue = false;
      this.turnBytes = 0;
      if (this.unread.length > 0) this.readSome();
    });
  }

  /** Returns how many bytes it has read. */
  private read(maxBytes: number): number {
    const { unread, reader } = this;
    let bytes = 0;
    this.isReading = true;
    while (unread.length > 0 && bytes < maxBytes) {
      const [chunk] = unread;
      const part = chunk.subarray(0, maxBytes - bytes);
      if (part.length === chunk.length) unread.shift();
      else unread[0] = chunk.subarray(part.length);
      bytes += part.length;
      try {
        reader.push(part);
      } catch (error) {
        this.drop();
        this.owner.onControlClose(error as Error);
      }
    }
    this.isReading = false;
    return bytes;
  }
}
