// The output of a job on disk: frames in the order in which they came. One writer, any number of readers at any position.

import { type FileHandle, open } from 'node:fs/promises';
import { codeOf } from '../../../errors.js';
import { HEADER_BYTES, headerOf, isOutputHeader, MAX_CONTENT_BYTES, type OutputKind } from './frames.js';

/** Bytes that may wait to be written. */
const HIGH_BYTES = 1024 * 1024;
const BLOCK_BYTES = 256 * 1024;
/** How far the places are apart that a reader can begin at without reading what is in front of them. */
const MARK_BYTES = 1024 * 1024;
const PRIVATE_MODE = 0o600;

/** A place in the file, at the beginning of a frame. */
interface Mark {
  readonly position: number;
  readonly offset: number;
}

export class OutputLog {
  /** Bytes of output that were given to {@link append}. */
  bytes = 0;
  /** Called when writing has failed. Nothing more is written then. */
  onError: (error: Error) => void = () => {};
  /** Called when more can be appended again. */
  onDrain: () => void = () => {};
  /** The end of the last whole frame on disk. */
  private offset = 0;
  private position = 0;
  private readonly marks: Mark[] = [{ position: 0, offset: 0 }];
  private waiting: Array<{ readonly kind: OutputKind; readonly data: Buffer }> = [];
  private waitingBytes = 0;
  private writing: Promise<void> | undefined;
  private hasFailed = false;
  private readonly listeners = new Set<() => void>();

  private constructor(
    private path: string,
    private readonly file: FileHandle,
  ) {}

  /** Makes the file. @throws as node:fs, also when it is there */
  static async create(path: string): Promise<OutputLog> {
    return new OutputLog(path, await open(path, 'wx', PRIVATE_MODE));
  }

  /** Says where the file has been moved to. */
  movedTo(path: string): this {
    this.path = path;
    return this;
  }

  /** Adds output. Returns false when {@link onDrain} should be waited for. */
  append(kind: OutputKind, data: Buffer): boolean {
    if (this.hasFailed || data.length === 0) return true;
    this.bytes += data.length;
    this.waiting.push({ kind, data });
    this.waitingBytes += data.length;
    if (this.writing === undefined) this.writing = this.write();
    return this.waitingBytes < HIGH_BYTES;
  }

  /** Resolves when everything is on the disk, and closes the file. */
  async close(): Promise<void> {
    await this.writing;
    try {
      // What failed to be written has left a part of a frame.
      if (this.hasFailed) await this.file.truncate(this.offset);
      await this.file.sync();
    } catch (error) {
      this.fail(error as Error);
    } finally {
      await this.file.close().catch(() => {});
    }
  }

  /** Calls back whenever more can be read. Returns what ends that. */
  onGrowth(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Returns a reader, from the byte at that position. */
  read(from: number): OutputReader {
    let mark = this.marks[0];
    for (const other of this.marks) if (other.position <= from) mark = other;
    return new OutputReader(this.path, from, mark.position, mark.offset, () => this.offset);
  }

  /** How much of the output is on disk. */
  get written(): number {
    return this.position;
  }

  private async write(): Promise<void> {
    // In the next turn, with all that comes in this one.
    await Promise.resolve();
    while (this.waiting.length > 0 && !this.hasFailed) {
      const batch = this.waiting;
      this.waiting = [];
      const bytes = framesOf(batch);
      const contentBytes = batch.reduce((sum, { data }) => sum + data.length, 0);
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await this.file.write(bytes, done, bytes.length - done, this.offset + done);
          done += bytesWritten;
        }
      } catch (error) {
        this.fail(error as Error);
        break;
      }
      this.offset += bytes.length;
      this.position += contentBytes;
      if (this.position - this.marks[this.marks.length - 1].position >= MARK_BYTES) {
        this.marks.push({ position: this.position, offset: this.offset });
      }
      this.waitingBytes -= contentBytes;
      for (const listener of [...this.listeners]) listener();
      this.onDrain();
    }
    // In the same turn as the last look at what waits.
    this.writing = undefined;
  }

  private fail(error: Error): void {
    if (this.hasFailed) return;
    this.hasFailed = true;
    this.bytes = this.position;
    this.waiting = [];
    this.waitingBytes = 0;
    this.onError(error);
    this.onDrain();
  }
}

function framesOf(batch: ReadonlyArray<{ readonly kind: OutputKind; readonly data: Buffer }>): Buffer {
  const parts: Buffer[] = [];
  for (let index = 0; index < batch.length; ) {
    const { kind } = batch[index];
    const run: Buffer[] = [];
    for (; index < batch.length && batch[index].kind === kind; index++) run.push(batch[index].data);
    const content = run.length === 1 ? run[0] : Buffer.concat(run);
    for (let at = 0; at < content.length; at += MAX_CONTENT_BYTES) {
      const part = content.subarray(at, at + MAX_CONTENT_BYTES);
      parts.push(headerOf(kind, part.length), part);
    }
  }
  return Buffer.concat(parts);
}

/** Reads frames, of which the first may be the rest of one. Made by {@link OutputLog.read} and {@link readOutput}. */
export class OutputReader {
  private file: FileHandle | undefined;

  constructor(
    private readonly path: string,
    private readonly from: number,
    /** Of the next frame. */
    private position: number,
    private offset: number,
    /** Where the last whole frame ends. */
    private readonly end: () => number,
  ) {}

  /**
   * Resolves with whole frames from the position on, or with nothing when there are no more now. What a crash has cut off or filled with
   * zeros ends the output: of a frame without its end, the bytes that are there count.
   * @throws as node:fs
   */
  async next(): Promise<Buffer> {
    for (;;) {
      const block = await this.block();
      const parts: Buffer[] = [];
      let at = 0;
      while (at + HEADER_BYTES < block.length) {
        const kind = block.readUInt8(at);
        const length = block.readUInt32BE(at + 1);
        if (!isOutputHeader(kind, length)) break;
        const isWhole = at + HEADER_BYTES + length <= block.length;
        // The rest of it comes with the next block, unless this is the end of the file.
        if (!isWhole && at > 0) break;
        const data = block.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
        const skipped = Math.max(0, this.from - this.position);
        if (skipped < data.length) {
          const rest = data.subarray(skipped);
          parts.push(
            skipped === 0 && isWhole ? block.subarray(at, at + HEADER_BYTES) : headerOf(kind, rest.length),
            rest,
          );
        }
        at += HEADER_BYTES + data.length;
        this.position += data.length;
      }
      this.offset += at;
      if (parts.length > 0) return Buffer.concat(parts);
      if (at === 0) return Buffer.alloc(0);
    }
  }

  /** Where the next frame begins. */
  get reached(): number {
    return this.position;
  }

  async close(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  private async block(): Promise<Buffer> {
    const length = Math.min(BLOCK_BYTES, this.end() - this.offset);
    if (length <= 0) return Buffer.alloc(0);
    this.file ??= await open(this.path, 'r');
    const block = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.file.read(block, done, length - done, this.offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return block.subarray(0, done);
  }
}

/** Returns a reader of output that nobody writes any more. */
export function readOutput(path: string, from: number): OutputReader {
  return new OutputReader(path, from, 0, 0, () => Number.MAX_SAFE_INTEGER);
}

/** Returns how much output a file holds; 0 without a file. @throws as node:fs */
export async function outputBytesOf(path: string): Promise<number> {
  const reader = readOutput(path, Number.MAX_SAFE_INTEGER);
  try {
    await reader.next();
    return reader.reached;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  } finally {
    await reader.close();
  }
}
