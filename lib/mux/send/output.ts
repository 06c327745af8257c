// The sending side of a session and the only place that writes to the underlying Duplex.
//
// Frames of one turn of the event loop gather in a batch: small ones are copied side by side into a slab, large
// chunks are referenced. The batch leaves at the end of the turn as one write or one writev. At most a bounded number
// of bytes is handed to the Duplex; beyond that, streams keep their data and are asked for it in turn, so that what is
// urgent still has a queue that it can overtake.

import { copyOf } from '../../util/buffers.js';
import { nextTick, setImmediate } from '../../util/runtime/real-timers.js';
import { addFlags, Flag, FrameType, HEADER_BYTES, SESSION_STREAM_ID, writeHeader } from '../../wire/header.js';
import { CONTROL_QUEUE_BYTES, ControlQueue } from './control-queue.js';
import { Reports, type Sender } from './reports.js';
import { SLAB_BYTES, type Slab, SlabPool } from './slab-pool.js';

/** The part of a Duplex that is written to. */
export interface Writer {
  write(chunk: Buffer, callback?: (error?: Error | null) => void): boolean;
  cork(): void;
  uncork(): void;
  readonly destroyed: boolean;
  readonly writableEnded: boolean;
}

/** How much may be on its way to the peer; `sent` are bytes since the start. */
export interface Pace {
  /** Bytes of bulk that may follow. */
  room(sent: number): number;
  /** Bytes that a small message may have. */
  smallRoom(sent: number): number;
  /** A small message was sent. */
  sentSmall(): void;
  /** The longest frame of bulk, in bytes. */
  readonly frameBytes: number;
  /** Whether a ping should follow here. */
  isProbeDue(sent: number): boolean;
  /** The opaque value of that ping. */
  probe(sent: number): number;
}

/** What the output asks of its session. */
export interface OutputHost {
  /** Called when there is room: write stream data until {@link Output.room} is used up or nothing waits. */
  fillBatch(): void;
  /** Called before a batch leaves, while frames can still be added to it. */
  beforeFlush(): void;
  /** More control frames wait than a peer that reads can cause. */
  onControlFlood(): void;
}

/**
 * Bytes handed to the Duplex and not yet confirmed, at most (one batch may go beyond by one frame). Enough to keep a
 * local TCP socket busy; more would only add queue that nothing can overtake.
 */
export const MAX_OUTSTANDING_BYTES = 512 * 1024;

/**
 * Bytes handed over between two polls of the event loop, at most. The kernel may take all that is written at once, and a
 * writer that goes on with every confirmation would never let this process read what has come meanwhile.
 */
const MAX_BYTES_PER_POLL = 512 * 1024;

/** Payloads up to this size are copied next to their header, which spares an element of a writev. */
export const COPY_BYTES = 4 * 1024;

/**
 * Credit is granted at the end of the poll phase, so that one write answers all that was read in it (libuv reads a busy
 * socket up to 32 times in a row); at once when this much is due, so that the peer need not pause. In bytes.
 */
const URGENT_CREDIT_BYTES = 512 * 1024;

/** One batch on its way. */
interface Flush {
  bytes: number;
  /** The slab that was in use when it left, and those that it had filled before. */
  slab: Slab;
  fullSlabs: Slab[] | null;
  reports: Reports | null;
}

export class Output {
  /** Bytes written to the Duplex since the start, headers included. */
  bytesOut = 0;

  private readonly pool = new SlabPool();
  private slab: Slab;
  /** Bytes of the slab that are in use, and where the part that is not yet in `pieces` begins. */
  private slabEnd = 0;
  private slabStart = 0;
  private pieces: Buffer[] = [];
  private fullSlabs: Slab[] | null = null;
  private batchBytes = 0;
  private reports: Reports | null = null;

  private readonly control: ControlQueue;

  private outstanding = 0;
  /** Bytes handed over since the last poll. */
  private sincePoll = 0;
  private readonly unconfirmed: Flush[] = [];
  private flushScheduled = false;
  private lateFlushScheduled = false;
  private isGathering = false;
  /** Credit granted by frames that still wait for the late flush. */
  private waitingCredit = 0;
  /** No more frames are taken. */
  private sealed = false;
  /** Nothing is confirmed any more either. */
  private stopped = false;
  /** The last frame of the batch, to which a FIN can still be added. */
  private tailStreamId = 0;
  private tailType = 0;
  private tailOffset = 0;

  private readonly flushLater = (): void => {
    this.flushScheduled = false;
    this.flush();
  };
  private readonly flushLate = (): void => {
    this.lateFlushScheduled = false;
    this.sincePoll = 0;
    this.flush();
  };
  private readonly confirm = (error?: Error | null): void => this.onConfirmed(error);

  /**
   * @param copies whether the writer has copied a chunk by the time it confirms it, as a socket of the kernel has. One in
   * memory hands it on to its reader, who may keep it for long: then chunks are copied and slabs are not used again.
   */
  constructor(
    private readonly writer: Writer,
    private readonly host: OutputHost,
    private readonly copies: boolean,
    private readonly pace: Pace,
    controlQueueBytes = CONTROL_QUEUE_BYTES,
  ) {
    this.control = new ControlQueue(controlQueueBytes);
    this.slab = this.pool.take();
  }

  /** Bytes of bulk that may join the batch now. */
  get room(): number {
    return Math.min(this.freeBytes, this.pace.room(this.bytesOut + this.batchBytes));
  }

  /** Bytes that a small message may have now. Half is left to those who wait for a turn: small messages could take all. */
  smallRoom(othersWait: boolean): number {
    const freeBytes = this.freeBytes - (othersWait ? MAX_OUTSTANDING_BYTES / 2 : 0);
    return Math.min(freeBytes, this.pace.smallRoom(this.bytesOut + this.batchBytes));
  }

  /** The longest frame of bulk that should be written now, in bytes. */
  get frameBytes(): number {
    return this.pace.frameBytes;
  }

  /** True when everything has been handed to the Duplex and confirmed. */
  get isIdle(): boolean {
    return this.outstanding === 0 && this.batchBytes === 0 && this.control.byteLength === 0;
  }

  /** Bytes that wait for the Duplex, or that it holds. */
  get pendingBytes(): number {
    return this.outstanding + this.batchBytes + this.control.byteLength;
  }

  /** A frame without payload. While the Duplex is blocked it waits ahead of all stream data. */
  frame(type: number, flags: number, streamId: number, length: number): void {
    if (this.sealed) return;
    if (this.isBlocked) {
      if (!this.control.push(type, flags, streamId, length)) this.host.onControlFlood();
      return;
    }
    this.header(type, flags, streamId, length);
    this.scheduleFlush();
  }

  /** A window update. It can wait for others of its kind, up to the end of the poll phase. */
  credit(flags: number, streamId: number, bytes: number): void {
    if (this.sealed) return;
    if (this.isBlocked) {
      if (!this.control.push(FrameType.WINDOW_UPDATE, flags, streamId, bytes)) this.host.onControlFlood();
      return;
    }
    this.header(FrameType.WINDOW_UPDATE, flags, streamId, bytes);
    this.waitingCredit += bytes;
    if (this.waitingCredit >= URGENT_CREDIT_BYTES) this.scheduleFlush();
    else this.scheduleLateFlush();
  }

  /** A data frame around `chunk`, copied; the caller may use the chunk again at once. At most {@link COPY_BYTES}. */
  copiedData(flags: number, streamId: number, chunk: Uint8Array): void {
    const length = chunk.length;
    this.header(FrameType.DATA, flags, streamId, length, length);
    (this.slab.bytes as Uint8Array).set(chunk, this.slabEnd);
    this.slabEnd += length;
    this.batchBytes += length;
    this.pace.sentSmall();
    this.scheduleFlush();
  }

  /** The header of a data frame whose payload follows by {@link payload}. */
  dataHeader(flags: number, streamId: number, length: number): void {
    this.header(FrameType.DATA, flags, streamId, length);
    this.scheduleFlush();
  }

  /** A part of the payload announced by {@link dataHeader}. */
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

  /** `sender` is told when the batch that holds these bytes of it has been taken by the Duplex. */
  report(sender: Sender, bytes: number): void {
    this.reports ??= new Reports();
    this.reports.add(sender, bytes);
  }

  /**
   * Adds flags to the last frame of the batch if that belongs to the stream and has not left.
   * `evenData`: also to a data frame (hashicorp/yamux could then report the end before the data).
   */
  tryAddFlags(streamId: number, flags: number, evenData: boolean): boolean {
    if (this.tailStreamId !== streamId || (!evenData && this.tailType === FrameType.DATA)) return false;
    addFlags(this.slab.bytes, this.tailOffset, flags);
    return true;
  }

  /** Something waits: it leaves at the end of this turn, or as soon as the Duplex has room. */
  scheduleFlush(): void {
    if (this.flushScheduled || this.sealed) return;
    this.flushScheduled = true;
    if (!this.isGathering) nextTick(this.flushLater);
  }

  /** Until {@link release}, what is written is only collected. */
  gather(): void {
    this.isGathering = !this.flushScheduled;
  }

  release(): void {
    if (!this.isGathering) return;
    this.isGathering = false;
    if (this.flushScheduled) this.flushLater();
  }

  /** Hands the batch to the Duplex now; when that is blocked, only if `force`. */
  flush(force = false): void {
    if (this.sealed) return;
    if (this.isBlocked && !force) {
      if (this.sincePoll >= MAX_BYTES_PER_POLL) this.scheduleLateFlush();
      return;
    }
    // What joins the batch from here leaves with it: no further flush is due for that.
    const wasScheduled = this.flushScheduled;
    this.flushScheduled = true;
    if (this.control.byteLength > 0) this.releaseControl();
    this.host.fillBatch();
    this.host.beforeFlush();
    this.probeIfDue();
    this.flushScheduled = wasScheduled;
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
      reports: this.reports,
    };
    this.pieces = [];
    this.fullSlabs = null;
    this.reports = null;
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

  /** Hands over all frames that wait, whatever the bound, and takes no more. What is in flight is still confirmed. */
  finish(): void {
    if (this.sealed) return;
    this.flush(true);
    this.sealed = true;
  }

  /** Drops everything that waits; nothing is written or reported any more. */
  stop(): void {
    this.sealed = true;
    this.stopped = true;
    this.pieces = [];
    this.fullSlabs = null;
    this.reports = null;
    this.batchBytes = 0;
    this.control.clear();
    this.unconfirmed.length = 0;
    this.tailStreamId = 0;
  }

  /** The batch is empty then: what joins it waits for the Duplex, or for a poll. */
  private get isBlocked(): boolean {
    return this.outstanding >= MAX_OUTSTANDING_BYTES || this.sincePoll >= MAX_BYTES_PER_POLL;
  }

  /** What the Duplex may be given before its next confirmation, or the next poll. */
  private get freeBytes(): number {
    return Math.min(MAX_OUTSTANDING_BYTES - this.outstanding, MAX_BYTES_PER_POLL - this.sincePoll) - this.batchBytes;
  }

  /** Adds a ping that tells when what was written so far has arrived, unless one stands not far before. */
  probeIfDue(): void {
    const sent = this.bytesOut + this.batchBytes;
    if (this.pace.isProbeDue(sent)) this.header(FrameType.PING, Flag.SYN, SESSION_STREAM_ID, this.pace.probe(sent));
  }

  private scheduleLateFlush(): void {
    if (this.lateFlushScheduled) return;
    this.lateFlushScheduled = true;
    setImmediate(this.flushLate);
  }

  private onConfirmed(error?: Error | null): void {
    // The Duplex reports its failure by 'error' or 'close' as well; the session acts on that.
    if (this.stopped || error) return;
    const flush = this.unconfirmed.shift();
    if (flush === undefined) return;
    this.outstanding -= flush.bytes;
    this.releaseSlab(flush.slab);
    if (flush.fullSlabs !== null) for (const slab of flush.fullSlabs) this.releaseSlab(slab);
    flush.reports?.tell();
    this.flush();
  }

  private releaseSlab(slab: Slab): void {
    slab.pending--;
    if (slab.pending > 0 || !this.copies) return;
    if (slab !== this.slab) this.pool.giveBack(slab);
    else if (this.batchBytes === 0) {
      // Nothing of it flies or stands in the batch: from the start again, while it is warm in the cache.
      this.slabStart = 0;
      this.slabEnd = 0;
    }
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

  /** What was written into the slab since the last piece becomes a piece. */
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
    this.slab = this.pool.take();
    this.slabStart = 0;
    this.slabEnd = 0;
    this.tailStreamId = 0;
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
