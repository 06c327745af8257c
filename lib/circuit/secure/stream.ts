// A stream that is encrypted from end to end. It is the sink of the session's stream, and the stream of the socket. Other circuits
// have nothing between the two.
//
// What the socket writes becomes records, a few at a time: encrypted bytes must be sent, and take memory a second time. Credit for
// the overhead of a record is returned when the record arrives, credit for the plaintext when the reader has consumed it.

import { starlaneError } from '../../errors.js';
import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../../mux/hidden.js';
import { COPY_BYTES } from '../../mux/send/output.js';
import { ResetReason } from '../../mux/stream/resets.js';
import type { ByteSink, ByteStream } from '../../mux/stream/sink.js';
import { NO_SINK } from '../../mux/stream/sink.js';
import { FLUSH_BYTES, type MuxStream, type StreamSink } from '../../mux/stream/stream.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import type { KeyExchange } from './handshake.js';
import {
  giveBack,
  MAX_PLAIN_BYTES,
  NO_RECORD,
  RECORD_OVERHEAD,
  RecordOpener,
  RecordSealer,
  RecordType,
  takeMemory,
} from './secure-records.js';
import type { CircuitKeys } from './transcript.js';

/** Bytes of records that wait for the transport before no more is encrypted: as much as Node writes at once, twice. */
const AHEAD_BYTES = 128 * 1024;

/** Called once: the dialler has confirmed, or never will because of `failure`. `trace`: what it has put into the confirmation, maybe nothing. */
type ConfirmListener = (failure: Error | undefined, trace: Buffer) => void;

const EMPTY = Buffer.alloc(0);

/** Takes the place of keys that are not known yet. Nothing is ever sealed or opened with it. */
const NO_KEY = { key: EMPTY, iv: EMPTY };
const NO_KEYS: CircuitKeys = { fromDialler: NO_KEY, fromServer: NO_KEY };

/** What has come of what the keys need. */
interface PartialExchange {
  readonly exchange: KeyExchange;
  readonly received: Buffer[];
  length: number;
}

export class SecureStream implements StreamSink, ByteStream {
  /** Plaintext is passed on in memory of its own. */
  readonly keepsNothing = true;
  sink: ByteSink = NO_SINK;
  /** Chunks that are not encrypted yet, the first one from `queueAt` on. */
  private queue: Buffer[] | null = null;
  private queueAt = 0;
  /** Bytes of records that the session has not sent, and the records. */
  private unsent = 0;
  private unsentRecords: Buffer[] | null = null;
  /** Plaintext in them for which `write` has returned false. */
  private owed = 0;
  private isEnding = false;
  private isClosed = false;
  private hasPeerEnded = false;
  /** Bytes that have arrived, are not plaintext, and whose credit was not returned. */
  private uncredited = 0;
  /** Not null until the dialler has confirmed. */
  private onConfirm: ConfirmListener | null = null;
  /** Not null until what comes first has come, from which the keys follow. */
  private exchange: PartialExchange | null = null;

  private constructor(
    private readonly stream: MuxStream,
    private sealer: RecordSealer,
    private opener: RecordOpener,
  ) {
    stream.sink = this;
  }

  /**
   * Makes the dialler's end, when the reply has come. Confirms ahead of all that is written.
   * @param ciphertext goes ahead of that
   * @param trace the trace context for the other end, which knows it
   */
  static dialled(
    stream: MuxStream,
    { fromDialler, fromServer }: CircuitKeys,
    ciphertext?: Uint8Array,
    trace?: Buffer,
  ): SecureStream {
    const secure = new SecureStream(stream, new RecordSealer(fromDialler), new RecordOpener(fromServer));
    const confirmation = secure.sealer.seal(RecordType.CONFIRM, trace);
    secure.sendRecord(ciphertext === undefined ? confirmation : Buffer.concat([ciphertext, confirmation]));
    return secure;
  }

  /** Makes the server's end, ahead of the reply. It must not be written to before the dialler has confirmed. */
  static accepted(stream: MuxStream, keys: CircuitKeys | KeyExchange, onConfirm: ConfirmListener): SecureStream {
    const isExchange = 'bytes' in keys;
    const { fromDialler, fromServer } = isExchange ? NO_KEYS : keys;
    const secure = new SecureStream(stream, new RecordSealer(fromServer), new RecordOpener(fromDialler));
    secure.onConfirm = onConfirm;
    if (isExchange) secure.exchange = { exchange: keys, received: [], length: 0 };
    return secure;
  }

  // --- for the socket ---

  write(chunk: Buffer): boolean {
    if (this.isEnding || this.isClosed) return false;
    const { length } = chunk;
    if (length === 0) return true;
    if (this.queue === null && length <= MAX_PLAIN_BYTES && this.unsent < AHEAD_BYTES) {
      const before = this.unsent;
      this.send(RecordType.DATA, chunk);
      if (this.unsent === before) return true;
      this.owed += length;
      return false;
    }
    this.queue ??= [];
    this.queue.push(chunk);
    this.sendQueued();
    if (this.unsent > 0) return false;
    this.takeOwed();
    return true;
  }

  tryWrite(chunk: Buffer): boolean {
    // If the session cannot take the record at once, it is queued there, and the next one waits for it.
    if (this.unsent > 0 || this.queue !== null || this.isEnding || this.isClosed || chunk.length > COPY_BYTES)
      return false;
    this.send(RecordType.DATA, chunk);
    return true;
  }

  end(): void {
    if (this.isEnding || this.isClosed) return;
    this.isEnding = true;
    if (this.queue === null) this.sendEnd();
  }

  reset(reason: number = ResetReason.NONE): void {
    this.stream.reset(reason);
    this.finish(null);
  }

  /** Lets go of the stream, which the caller refuses then. */
  release(): void {
    this.onConfirm = null;
    this.isClosed = true;
  }

  close(flush = false): void {
    if (this.isClosed) return;
    if (this.exchange !== null) {
      this.reset();
      return;
    }
    // As with any stream: the overhead of records does not count.
    const waiting = this.queue === null ? 0 : this.queue.reduce((bytes, { length }) => bytes + length, -this.queueAt);
    if (!flush && this.stream.queuedBytes + waiting > FLUSH_BYTES) {
      this.reset();
      return;
    }
    this.sendQueued(Number.POSITIVE_INFINITY);
    this.end();
    this.stream.close(true);
    this.finish(null);
  }

  consumed(bytes: number): void {
    this.stream.consumed(bytes);
  }

  /** Ends the stream at once with `error`, which both ends see. */
  destroy(error: Error, reason: number): void {
    // Both halves may have ended, and only what came with the last end be invalid.
    if (this.stream.isClosed) this[kOnReset](this.stream, error, reason);
    else this.stream.destroy(error, reason);
  }

  // --- the stream of the session ---

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    this.uncredited += chunk.length;
    let opener: RecordOpener;
    try {
      const records = this.exchange === null ? chunk : this.takeExchange(this.exchange, chunk);
      opener = this.opener;
      opener.take(records);
      for (let type = opener.next(); type !== NO_RECORD; type = opener.next()) {
        this.onRecord(type, opener.plain);
        if (this.isClosed) return;
      }
    } catch (error) {
      this.destroy(error as Error, ResetReason.SECURE);
      return;
    }
    const due = this.uncredited - Math.max(0, opener.heldBytes - RECORD_OVERHEAD);
    if (due === 0) return;
    this.uncredited -= due;
    this.stream.consumed(due);
  }

  [kOnEnd](): void {
    if (!this.hasPeerEnded) {
      this.destroy(starlaneError('ERR_STARLANE_SECURE', 'it was cut off'), ResetReason.SECURE);
      return;
    }
    try {
      this.sink[kOnEnd](this);
    } catch (error) {
      throwLater(error);
    }
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.unsent -= bytes;
    if (this.unsent > 0) return;
    this.freeRecords();
    let sent = this.takeOwed();
    this.sendQueued();
    // The session may have taken all of it at once.
    if (this.unsent === 0) sent += this.takeOwed();
    if (sent > 0) this.sink[kOnSent](this, sent);
  }

  [kOnReset](_stream: MuxStream, error: Error, reason: number): void {
    const { sink } = this;
    this.finish(error);
    sink[kOnReset](this, error, reason);
  }

  [kReadOn](_stream: MuxStream, error: Error): boolean {
    if (this.sink[kReadOn]?.(this, error) !== true) return false;
    this.finish(error);
    return true;
  }

  private onRecord(type: number, plain: Buffer): void {
    if (this.onConfirm !== null) {
      if (type !== RecordType.CONFIRM) throw starlaneError('ERR_STARLANE_SECURE', 'it was not confirmed');
      this.settleConfirm(undefined, plain);
      return;
    }
    if (this.hasPeerEnded) throw starlaneError('ERR_STARLANE_SECURE', 'a record behind the end');
    if (type === RecordType.END) this.hasPeerEnded = true;
    else if (type === RecordType.DATA) {
      this.uncredited -= plain.length;
      try {
        this.sink[kOnData](this, plain);
      } catch (error) {
        // Of a listener: what follows has to reach it all the same.
        throwLater(error);
      }
    } else throw starlaneError('ERR_STARLANE_SECURE', 'it was confirmed twice');
  }

  /** Takes what the keys need, and returns the rest. @throws ERR_STARLANE_SECURE */
  private takeExchange(partial: PartialExchange, chunk: Buffer): Buffer {
    const { exchange, received } = partial;
    const taken = Math.min(chunk.length, exchange.bytes - partial.length);
    // Copied, since the memory of a chunk is used again.
    received.push(Buffer.from(chunk.subarray(0, taken)));
    partial.length += taken;
    if (partial.length < exchange.bytes) return EMPTY;
    this.exchange = null;
    const { fromDialler, fromServer } = exchange.keys(Buffer.concat(received));
    this.sealer = new RecordSealer(fromServer);
    this.opener = new RecordOpener(fromDialler);
    return chunk.subarray(taken);
  }

  private takeOwed(): number {
    const { owed } = this;
    this.owed = 0;
    return owed;
  }

  private send(type: RecordType, plain: Buffer = EMPTY): void {
    const { length } = plain;
    this.sendRecord(this.sealer.seal(type, plain, takeMemory(length + RECORD_OVERHEAD)));
  }

  private sendRecord(record: Buffer): void {
    if (this.stream.write(record)) {
      giveBack(record);
      return;
    }
    this.unsent += record.length;
    this.unsentRecords ??= [];
    this.unsentRecords.push(record);
  }

  private freeRecords(): void {
    if (this.unsentRecords === null) return;
    for (const record of this.unsentRecords) giveBack(record);
    this.unsentRecords = null;
  }

  /** Encrypts queued chunks, as long as not too much waits for the transport. */
  private sendQueued(aheadBytes = AHEAD_BYTES): void {
    const { queue } = this;
    if (queue === null) return;
    while (queue.length > 0 && this.unsent < aheadBytes) {
      const [chunk] = queue;
      const end = Math.min(this.queueAt + MAX_PLAIN_BYTES, chunk.length);
      const part = chunk.subarray(this.queueAt, end);
      this.queueAt = end;
      if (end === chunk.length) {
        queue.shift();
        this.queueAt = 0;
      }
      this.owed += part.length;
      this.send(RecordType.DATA, part);
    }
    if (queue.length > 0) return;
    this.queue = null;
    if (this.isEnding) this.sendEnd();
  }

  private sendEnd(): void {
    this.send(RecordType.END);
    this.stream.end();
  }

  /** Ends both directions. `error`: null when this end has given the stream up. */
  private finish(error: Error | null): void {
    this.isClosed = true;
    this.sink = NO_SINK;
    this.queue = null;
    // The transport may still have them.
    this.unsentRecords = null;
    if (this.onConfirm !== null) this.settleConfirm(error ?? starlaneError('ERR_STARLANE_CLOSED'));
  }

  private settleConfirm(failure: Error | undefined, trace: Buffer = EMPTY): void {
    const { onConfirm } = this;
    if (onConfirm === null) return;
    this.onConfirm = null;
    try {
      onConfirm(failure, trace);
    } catch (error) {
      throwLater(error);
    }
  }
}
