// The control stream of a link: messages over the client's first stream, in both directions, as long as the link lives. It reads and
// writes messages, and does not interpret them.

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxSession } from '../../mux/session.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { setImmediate } from '../../util/runtime/real-timers.js';
import { MessageReader } from '../../wire/message.js';
import { decodeMessage, type Message } from '../../wire/messages.js';

/** The longest message before the peer has proved its identity: a HELLO has 2.3 KiB at most, and later versions may add to it. */
const MAX_UNPROVED_BYTES = 8 * 1024;

interface ControlOwner {
  /** Called with each message. `bytes`: type and body as they came, valid until it returns. */
  onMessage(message: Message, bytes: Uint8Array): void;
  /** Called when everything that {@link Control.send} has queued is sent: more may follow. */
  onControlDrain(): void;
  /** Called when the peer has ended or broken the control stream. Nothing follows. */
  onControlClose(error: Error | undefined): void;
}

export class Control implements StreamSink, ControlInput {
  private stream: MuxStream | undefined;
  /** Bytes of messages that wait for credit of the peer. */
  private queuedBytes = 0;
  private readonly reader: MessageReader;
  /** Copies of bytes that came when a turn had taken in enough. They get no credit, so the window of the stream bounds them. */
  private waiting: Buffer[] = [];
  /** True when the peer has ended the stream after the bytes that wait. */
  private hasEnded = false;

  constructor(
    private readonly owner: ControlOwner,
    private readonly turns: ControlTurns = controlTurns,
  ) {
    this.reader = new MessageReader(
      decodeMessage,
      (message, bytes) => this.owner.onMessage(message, bytes),
      MAX_UNPROVED_BYTES,
    );
  }

  /** Sets the stream, and becomes its sink. */
  attach(stream: MuxStream): void {
    this.stream = stream;
    stream.sink = this;
  }

  /** Called when the peer has proved its identity: messages may be that long from now on. */
  trust(maxMessageBytes: number): void {
    this.reader.limitBytes = maxMessageBytes;
  }

  get isAttached(): boolean {
    return this.stream !== undefined;
  }

  /** Whether the stream is open in at least one direction. */
  get isOpen(): boolean {
    return this.stream?.isClosed === false;
  }

  /** True when the peer is slow: messages that are not urgent should wait for {@link ControlOwner.onControlDrain}. */
  get isBlocked(): boolean {
    return this.queuedBytes > 0;
  }

  /** Sends a message, even when the peer is slow. */
  send(message: Buffer): void {
    const { stream } = this;
    if (stream === undefined || stream.isClosed) return;
    if (!stream.write(message)) this.queuedBytes += message.length;
  }

  /** Half-closes the stream: messages that were sent still arrive. */
  end(): void {
    this.stream?.end();
  }

  /** Ends the session of the stream at once, but for the messages that have been sent. */
  abort(session: MuxSession, error: Error): void {
    session.abort(error, this.stream);
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

/** Bytes that all links of this process together take in during one turn: some milliseconds of work. */
const BYTES_PER_TURN = 32 * 1024;

/**
 * The most inputs that share a turn, which gives each of them 2 KiB: with a thousand links in a process, equal shares would be a few
 * bytes of a message each.
 */
const INPUTS_PER_TURN = 16;

interface ControlInput {
  /** Takes in up to that many of the bytes that wait. Returns how many it took: fewer when nothing is left. */
  takeIn(bytes: number): number;
}

/**
 * Limits how many bytes of control messages a turn of the event loop takes in. Processing records costs a hundred times what receiving
 * them costs, and a socket brings two megabytes in one poll: a flood of records would stop the circuits of all others for a tenth of
 * a second, again and again. What exceeds the limit waits unacknowledged, so its sender has to wait as well.
 */
export class ControlTurns {
  private left: number;
  private readonly waiting = new Set<ControlInput>();
  private isTurnDue = false;

  constructor(private readonly bytesPerTurn = BYTES_PER_TURN) {
    this.left = bytesPerTurn;
  }

  /** How many inputs have bytes that wait. */
  get size(): number {
    return this.waiting.size;
  }

  /** Counts bytes that an input is about to take in. Returns how many of them it may take in this turn; it must wait with the rest. */
  claim(bytes: number): number {
    const claimed = Math.min(bytes, this.left);
    this.left -= claimed;
    this.nextTurn();
    return claimed;
  }

  /** Adds an input with bytes that wait for a later turn. */
  wait(input: ControlInput): void {
    this.waiting.add(input);
    this.nextTurn();
  }

  /** Removes an input. */
  leave(input: ControlInput): void {
    this.waiting.delete(input);
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    setImmediate(() => {
      this.isTurnDue = false;
      this.left = this.bytesPerTurn;
      this.work();
    });
  }

  /** Gives each input a share, and what is left of it to the inputs that have waited longest. */
  private work(): void {
    while (this.left > 0 && this.waiting.size > 0) {
      const share = Math.max(Math.ceil(this.left / this.waiting.size), Math.ceil(this.bytesPerTurn / INPUTS_PER_TURN));
      // An input with more bytes goes to the end of the line.
      let inputs = this.waiting.size;
      for (const input of this.waiting) {
        if (inputs-- === 0) break;
        const bytes = Math.min(share, this.left);
        if (bytes === 0) break;
        this.waiting.delete(input);
        const taken = input.takeIn(bytes);
        this.left -= taken;
        if (taken === bytes) this.waiting.add(input);
      }
    }
    if (this.waiting.size > 0) this.nextTurn();
  }
}

/** Shared by all links in this process. */
const controlTurns = new ControlTurns();
