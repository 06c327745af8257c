// The batch of a session, and the only place that writes to the underlying Duplex.
//
// Frames of one turn of the event loop gather in the batch: small ones are copied side by side into a slab, large chunks are
// referenced. At the end of the turn the output calls the flush of its session, which lets streams add to the batch while there is
// room, and the batch leaves as one write or one writev. A bounded number of bytes is handed to the Duplex at a time; beyond that,
// streams keep their data, so that urgent data can still overtake it.

import { copyOf } from '../../util/buffers.js';
import { nextTick, setImmediate } from '../../util/runtime/real-timers.js';
import { addFlags, Flag, FrameType, HEADER_BYTES, SESSION_STREAM_ID, writeHeader } from '../../wire/header.js';
import type { MuxSession } from '../session.js';
import type { Pacer } from './pacer.js';

/** The part of a Duplex that is written to. */
export interface Writer {
  write(chunk: Buffer, callback?: (error?: Error | null) => void): boolean;
  cork(): void;
  uncork(): void;
  readonly destroyed: boolean;
  readonly writableEnded: boolean;
}

/** Something whose bytes are referenced by a batch. */
export interface Sender {
  /** Called when the Duplex has taken a batch with `bytes` of this sender. */
  onFlushed(bytes: number): void;
}

/** Bytes that the Duplex holds and has not confirmed, at most. Enough to keep a local TCP socket busy; more only adds delay. */
export const MAX_OUTSTANDING_BYTES = 512 * 1024;

/**
 * Bytes handed over between two polls of the event loop, at most. The kernel may take everything at once, and a writer that
 * continues at every confirmation would never let this process read what has arrived meanwhile.
 */
const MAX_BYTES_PER_POLL = 512 * 1024;

/** Payloads up to this size are copied next to their header, which spares an element of a writev. */
export const COPY_BYTES = 4 * 1024;

/**
 * Credit is granted at the end of the poll phase, so that one write answers everything that was read in it (libuv reads a busy
 * socket up to 32 times in a row); at once when this much is due, so that the peer need not pause. In bytes.
 */
const URGENT_CREDIT_BYTES = 512 * 1024;

/** Room for some 800 frames of 64 bytes. */
export const SLAB_BYTES = 64 * 1024;
/** Slabs that one session keeps for reuse; the garbage collector takes the others. */
const KEPT_SLABS = 4;

/**
 * Bytes of control frames that may wait, by default. The number of streams bounds window updates; whatever else a peer can cause
 * without reading (pongs, resets of its opens) is hostile beyond this.
 */
export const CONTROL_QUEUE_BYTES = 16 * 1024 * 1024;

/** Memory for small frames side by side. It is reused once every write that holds a part of it has been confirmed. */
interface Slab {
  readonly bytes: Buffer;
  /** Unconfirmed writes that hold a part of it. */
  pending: number;
}

/** A batch that was handed to the Duplex and is not confirmed. */
interface Flush {
  bytes: number;
  /** The slab that was in use when the batch left, and the slabs that the batch had filled before. */
  slab: Slab;
  fullSlabs: Slab[] | null;
  callbacks: FlushCallbacks | null;
}

export class Output {
  /** Bytes written to the Duplex since the start, headers included. */
  bytesOut = 0;

  private readonly keptSlabs: Slab[] = [];
  private slab: Slab;
  /** Bytes of the slab that are in use, and where the part begins that is not in `pieces` yet. */
  private slabEnd = 0;
  private slabStart = 0;
  private pieces: Buffer[] = [];
  private fullSlabs: Slab[] | null = null;
  private batchBytes = 0;
  private callbacks: FlushCallbacks | null = null;

  private readonly control: ControlQueue;

  private outstanding = 0;
  /** Bytes handed over since the last poll. */
  private sincePoll = 0;
  private readonly unconfirmed: Flush[] = [];
  private flushScheduled = false;
  /** The same, when the flush that is going on began. */
  private wasScheduled = false;
  private lateFlushScheduled = false;
  private isGathering = false;
  /** Credit granted by frames that still wait for the late flush. */
  private waitingCredit = 0;
  /** No more frames are taken. */
  private isSealed = false;
  /** Nothing is confirmed any more either. */
  private isStopped = false;
  /** The last frame of the batch, to which a FIN can still be added. */
  private tailStreamId = 0;
  private tailType = 0;
  private tailOffset = 0;

  private readonly flushNow = (): void => {
    this.flushScheduled = false;
    this.session.flush();
  };
  private readonly flushLate = (): void => {
    this.lateFlushScheduled = false;
    this.sincePoll = 0;
    this.session.flush();
  };
  private readonly confirm = (error?: Error | null): void => this.onConfirmed(error);

  /**
   * @param copies whether the writer has copied a chunk by the time it confirms it, as a socket of the kernel has. A Duplex in
   * memory passes the chunk on to its reader, which may keep it for long: then chunks are copied and slabs are not reused.
   */
  constructor(
    private readonly writer: Writer,
    private readonly session: Pick<MuxSession, 'flush' | 'onControlFlood'>,
    private readonly copies: boolean,
    private readonly pacer: Pacer,
    controlQueueBytes = CONTROL_QUEUE_BYTES,
  ) {
    this.control = new ControlQueue(controlQueueBytes);
    this.slab = this.takeSlab();
  }

  /** Bytes of bulk that may join the batch now. */
  get room(): number {
    return Math.min(this.freeBytes, this.pacer.room(this.bytesOut + this.batchBytes));
  }

  /** Bytes that a small message may have now. Half is left to streams that wait for a turn: small messages could take all of it. */
  smallRoom(othersWait: boolean): number {
    const freeBytes = this.freeBytes - (othersWait ? MAX_OUTSTANDING_BYTES / 2 : 0);
    return Math.min(freeBytes, this.pacer.smallRoom(this.bytesOut + this.batchBytes));
  }

  /** The longest frame of bulk that should be written now, in bytes. */
  get frameBytes(): number {
    return this.pacer.frameBytes;
  }

  /** True when everything has been handed to the Duplex and confirmed. */
  get isIdle(): boolean {
    return this.outstanding === 0 && this.batchBytes === 0 && this.control.byteLength === 0;
  }

  /** Bytes that wait for the Duplex, or that it holds. */
  get pendingBytes(): number {
    return this.outstanding + this.batchBytes + this.control.byteLength;
  }

  // --- adding to the batch ---

  /** Adds a frame without payload. While the Duplex is blocked, the frame waits ahead of all stream data. */
  frame(type: number, flags: number, streamId: number, length: number): void {
    if (this.isSealed) return;
    if (this.isBlocked) {
      if (!this.control.push(type, flags, streamId, length)) this.session.onControlFlood();
      return;
    }
    this.header(type, flags, streamId, length);
    this.scheduleFlush();
  }

  /** Adds a window update. It can wait for others of its kind, up to the end of the poll phase. */
  credit(flags: number, streamId: number, bytes: number): void {
    if (this.isSealed) return;
    if (this.isBlocked) {
      if (!this.control.push(FrameType.WINDOW_UPDATE, flags, streamId, bytes)) this.session.onControlFlood();
      return;
    }
    this.header(FrameType.WINDOW_UPDATE, flags, streamId, bytes);
    this.waitingCredit += bytes;
    if (this.waitingCredit >= URGENT_CREDIT_BYTES) this.scheduleFlush();
    else this.scheduleLateFlush();
  }

  /** Adds a data frame with a copy of `chunk`, at most {@link COPY_BYTES}; the caller may reuse the chunk at once. */
  copiedData(flags: number, streamId: number, chunk: Uint8Array): void {
    const length = chunk.length;
    this.header(FrameType.DATA, flags, streamId, length, length);
    (this.slab.bytes as Uint8Array).set(chunk, this.slabEnd);
    this.slabEnd += length;
    this.batchBytes += length;
    this.pacer.sentSmall();
    this.scheduleFlush();
  }

  /** Adds the header of a data frame; its payload follows by {@link payload}. */
  dataHeader(flags: number, streamId: number, length: number): void {
    this.header(FrameType.DATA, flags, streamId, length);
    this.scheduleFlush();
  }

  /** Adds a part of the payload that {@link dataHeader} has announced. */
  payload(chunk: Buffer): void {
    const length = chunk.length;
    if (length <= COPY_BYTES) {
      if (this.slabEnd + length > SLAB_BYTES) this.nextSlab();
      (this.slab.bytes as Uint8Array).set(chunk, this.slabEnd);
      this.slabEnd += length;
    } else {
      this.closeSegment();
      this.pieces.push(this.copies ? chunk : copyOf(chunk));
    }
    this.batchBytes += length;
  }

  /** Calls `sender.onFlushed` once the Duplex has taken the batch, which holds `bytes` of the sender. */
  notifyFlushed(sender: Sender, bytes: number): void {
    this.callbacks ??= new FlushCallbacks();
    this.callbacks.add(sender, bytes);
  }

  /**
   * Adds flags to the last frame of the batch, if that frame belongs to the stream and has not left.
   * `evenData`: also to a data frame (hashicorp/yamux could then report the end before the data).
   */
  tryAddFlags(streamId: number, flags: number, evenData: boolean): boolean {
    if (this.tailStreamId !== streamId || (!evenData && this.tailType === FrameType.DATA)) return false;
    addFlags(this.slab.bytes, this.tailOffset, flags);
    return true;
  }

  /** Adds a ping whose answer shows when everything written so far has arrived, unless there is one shortly before. */
  probeIfDue(): void {
    const sent = this.bytesOut + this.batchBytes;
    if (this.pacer.isProbeDue(sent)) this.header(FrameType.PING, Flag.SYN, SESSION_STREAM_ID, this.pacer.probe(sent));
  }

  // --- when the batch leaves ---

  /** Schedules a flush for the end of this turn. */
  scheduleFlush(): void {
    if (this.flushScheduled || this.isSealed) return;
    this.flushScheduled = true;
    if (!this.isGathering) nextTick(this.flushNow);
  }

  /** Only collects what is written, until {@link release}. */
  gather(): void {
    this.isGathering = !this.flushScheduled;
  }

  /** Flushes what was collected since {@link gather}. */
  release(): void {
    if (!this.isGathering) return;
    this.isGathering = false;
    if (this.flushScheduled) this.flushNow();
  }

  /**
   * Begins a flush: control frames that waited join the batch, and after them whatever is written before {@link write}.
   * False when the Duplex is blocked, unless `force` is set.
   */
  beginFlush(force: boolean): boolean {
    if (this.isSealed) return false;
    if (this.isBlocked && !force) {
      if (this.sincePoll >= MAX_BYTES_PER_POLL) this.scheduleLateFlush();
      return false;
    }
    // What joins the batch from here leaves with it: no further flush is due for that.
    this.wasScheduled = this.flushScheduled;
    this.flushScheduled = true;
    if (this.control.byteLength > 0) this.releaseControl();
    return true;
  }

  /** Ends the flush: hands the batch to the Duplex. */
  write(): void {
    this.flushScheduled = this.wasScheduled;
    if (this.batchBytes === 0) return;
    if (this.writer.destroyed || this.writer.writableEnded) {
      this.stop();
      return;
    }
    this.closeSegment();
    this.slab.pending++;
    const { pieces } = this;
    const flush: Flush = {
      bytes: this.batchBytes,
      slab: this.slab,
      fullSlabs: this.fullSlabs,
      callbacks: this.callbacks,
    };
    this.pieces = [];
    this.fullSlabs = null;
    this.callbacks = null;
    this.tailStreamId = 0;
    this.waitingCredit = 0;
    this.outstanding += this.batchBytes;
    this.sincePoll += this.batchBytes;
    this.bytesOut += this.batchBytes;
    this.batchBytes = 0;
    this.unconfirmed.push(flush);
    const last = pieces.length - 1;
    if (last === 0) {
      this.writer.write(pieces[0], this.confirm);
      return;
    }
    this.writer.cork();
    for (let i = 0; i < last; i++) this.writer.write(pieces[i]);
    this.writer.write(pieces[last], this.confirm);
    this.writer.uncork();
  }

  /** Takes no more frames. What is in flight is still confirmed. */
  seal(): void {
    this.isSealed = true;
  }

  /** Drops everything that waits; nothing is written or confirmed any more. */
  stop(): void {
    this.isSealed = true;
    this.isStopped = true;
    this.pieces = [];
    this.fullSlabs = null;
    this.callbacks = null;
    this.batchBytes = 0;
    this.control.clear();
    this.unconfirmed.length = 0;
    this.tailStreamId = 0;
  }

  /** While it is blocked the batch is empty: new frames wait for the Duplex, or for a poll. */
  private get isBlocked(): boolean {
    return this.outstanding >= MAX_OUTSTANDING_BYTES || this.sincePoll >= MAX_BYTES_PER_POLL;
  }

  /** Bytes that the Duplex may be given before its next confirmation, or before the next poll. */
  private get freeBytes(): number {
    return Math.min(MAX_OUTSTANDING_BYTES - this.outstanding, MAX_BYTES_PER_POLL - this.sincePoll) - this.batchBytes;
  }

  private scheduleLateFlush(): void {
    if (this.lateFlushScheduled) return;
    this.lateFlushScheduled = true;
    setImmediate(this.flushLate);
  }

  private onConfirmed(error?: Error | null): void {
    // The Duplex reports its failure by 'error' or 'close' as well; the session acts on that.
    if (this.isStopped || error) return;
    const flush = this.unconfirmed.shift();
    if (flush === undefined) return;
    this.outstanding -= flush.bytes;
    this.releaseSlab(flush.slab);
    if (flush.fullSlabs !== null) for (const slab of flush.fullSlabs) this.releaseSlab(slab);
    flush.callbacks?.call();
    this.session.flush();
  }

  private header(type: number, flags: number, streamId: number, length: number, extra = 0): void {
    if (this.slabEnd + HEADER_BYTES + extra > SLAB_BYTES) this.nextSlab();
    writeHeader(this.slab.bytes, this.slabEnd, type, flags, streamId, length);
    this.tailStreamId = streamId;
    this.tailType = type;
    this.tailOffset = this.slabEnd;
    this.slabEnd += HEADER_BYTES;
    this.batchBytes += HEADER_BYTES;
  }

  /** Makes a piece of what was written into the slab since the last piece. */
  private closeSegment(): void {
    if (this.slabEnd === this.slabStart) return;
    this.pieces.push(this.slab.bytes.subarray(this.slabStart, this.slabEnd));
    this.slabStart = this.slabEnd;
  }

  private nextSlab(): void {
    this.closeSegment();
    this.slab.pending++;
    this.fullSlabs ??= [];
    this.fullSlabs.push(this.slab);
    this.slab = this.takeSlab();
    this.slabStart = 0;
    this.slabEnd = 0;
    this.tailStreamId = 0;
  }

  private takeSlab(): Slab {
    return this.keptSlabs.pop() ?? { bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), pending: 0 };
  }

  private releaseSlab(slab: Slab): void {
    slab.pending--;
    if (slab.pending > 0 || !this.copies) return;
    if (slab !== this.slab) {
      if (this.keptSlabs.length < KEPT_SLABS) this.keptSlabs.push(slab);
    } else if (this.batchBytes === 0) {
      // No part of it is in flight or in the batch: fill it from the start again, while it is warm in the cache.
      this.slabStart = 0;
      this.slabEnd = 0;
    }
  }

  private releaseControl(): void {
    const frames = this.control.take();
    this.tailStreamId = 0;
    if (frames.length <= COPY_BYTES) {
      this.payload(frames);
      return;
    }
    this.closeSegment();
    this.pieces.push(frames);
    this.batchBytes += frames.length;
  }
}

/** The senders of one batch, and how many bytes of each it holds. */
class FlushCallbacks {
  private readonly senders: Sender[] = [];
  private readonly amounts: number[] = [];

  add(sender: Sender, bytes: number): void {
    this.senders.push(sender);
    this.amounts.push(bytes);
  }

  call(): void {
    for (let i = 0; i < this.senders.length; i++) this.senders[i].onFlushed(this.amounts[i]);
  }
}

/** Frames without payload that wait while the Duplex is blocked, twelve bytes each. */
class ControlQueue {
  private frames: Buffer | null = null;
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get byteLength(): number {
    return this.bytes;
  }

  /** False when too many frames wait already. */
  push(type: number, flags: number, streamId: number, length: number): boolean {
    const end = this.bytes + HEADER_BYTES;
    if (end > this.maxBytes) return false;
    if (this.frames === null || end > this.frames.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, end * 2));
      this.frames?.copy(larger, 0, 0, this.bytes);
      this.frames = larger;
    }
    writeHeader(this.frames, this.bytes, type, flags, streamId, length);
    this.bytes = end;
    return true;
  }

  /** Returns all frames in order, and empties the queue, which must not be empty. */
  take(): Buffer {
    const frames = (this.frames as Buffer).subarray(0, this.bytes);
    this.clear();
    return frames;
  }

  clear(): void {
    this.frames = null;
    this.bytes = 0;
  }
}
