// What a program prints, on disk: a stream of bytes with positions that only grow, also over restarts. It is kept in segments, of which
// the oldest goes when there is too much. Each segment is a file with the position of its first byte as its name.

import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../errors.js';

const NAME = /^(\d{16})\.log$/;
/** So many segments make a full journal. */
const SEGMENTS = 8;
const MIN_SEGMENT_BYTES = 4 * 1024;

interface Segment {
  readonly start: number;
  size: number;
}

export class Journal {
  private readonly segments: Segment[];
  private file: number | undefined;
  private lost = 0;
  private readonly listeners = new Set<() => void>();

  private constructor(
    private readonly folder: string,
    private maxBytes: number,
  ) {
    this.segments = readdirSync(folder)
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .map((text) => ({ start: Number(text), size: statSync(join(folder, `${text}.log`)).size }))
      .sort((a, b) => a.start - b.start);
  }

  /** Opens the journal in a folder, which is made if it is missing. @throws as node:fs */
  static open(folder: string, maxBytes: number): Journal {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return new Journal(folder, maxBytes);
  }

  /** The position of the oldest byte that is kept. */
  get start(): number {
    return this.segments[0]?.start ?? 0;
  }

  /** Returns the first position from `from` on that is kept. Behind a hole, as lost power may leave one, that is where the next part begins. */
  keptFrom(from: number): number {
    const segment = this.segments.find(({ start, size }) => start + size > from);
    return segment === undefined ? this.end : Math.max(from, segment.start);
  }

  /** The position that the next byte gets. */
  get end(): number {
    const last = this.segments.at(-1);
    return last === undefined ? 0 : last.start + last.size;
  }

  /** Bytes that could not be written, as when the disk is full. They have no position. */
  get lostBytes(): number {
    return this.lost;
  }

  set limit(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /**
   * Appends bytes. At once and not later: a program that prints faster than the disk takes it has to wait, and memory does not grow.
   * Never throws: a full disk must not end the program.
   */
  append(bytes: Uint8Array): void {
    let rest = bytes;
    try {
      while (rest.byteLength > 0) {
        const last = this.current();
        const room = Math.max(1, this.segmentBytes - last.size);
        const written = writeSync(this.file as number, rest.subarray(0, room));
        last.size += written;
        rest = rest.subarray(written);
      }
    } catch {
      this.lost += rest.byteLength;
      this.closeFile();
    }
    for (const listener of [...this.listeners]) listener();
  }

  /** Calls back after each append. Returns a function that ends it. */
  onAppend(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Returns bytes from a position on, up to `maxBytes`; none at the end. Undefined when they are not kept any more.
   * @throws as node:fs
   */
  async read(from: number, maxBytes: number): Promise<Buffer | undefined> {
    if (from >= this.end) return Buffer.alloc(0);
    const segment = this.segments.findLast(({ start }) => start <= from);
    if (segment === undefined || from >= segment.start + segment.size) return undefined;
    const bytes = Buffer.alloc(Math.min(maxBytes, segment.start + segment.size - from));
    try {
      const file = await open(this.pathOf(segment), 'r');
      try {
        const { bytesRead } = await file.read(bytes, 0, bytes.length, from - segment.start);
        return bytes.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      // It was the oldest one, and has gone meanwhile.
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Returns where the last lines of up to so many bytes begin. */
  async lastLines(maxBytes: number): Promise<number> {
    const wanted = this.end - maxBytes;
    const from = this.keptFrom(wanted);
    // What is before is not kept, so this counts as the begin of a line.
    if (from !== wanted || from === this.start) return from;
    const bytes = (await this.read(from, maxBytes)) ?? Buffer.alloc(0);
    return from + bytes.indexOf(0x0a) + 1;
  }

  /** Removes what there is. Positions go on. */
  clear(): void {
    this.closeFile();
    const { end } = this;
    for (const segment of this.segments.splice(0)) rmSync(this.pathOf(segment), { force: true });
    const empty = { start: end, size: 0 };
    closeSync(openSync(this.pathOf(empty), 'a', 0o600));
    this.segments.push(empty);
  }

  close(): void {
    this.closeFile();
  }

  private get segmentBytes(): number {
    return Math.max(MIN_SEGMENT_BYTES, Math.floor(this.maxBytes / SEGMENTS));
  }

  /** Returns the segment that takes the next byte, with its file open. */
  private current(): Segment {
    let last = this.segments.at(-1);
    if (last === undefined || last.size >= this.segmentBytes) {
      this.closeFile();
      last = { start: this.end, size: 0 };
      this.segments.push(last);
      this.removeOldest();
    }
    this.file ??= openSync(this.pathOf(last), 'a', 0o600);
    return last;
  }

  private removeOldest(): void {
    const { segments } = this;
    let bytes = segments.reduce((sum, { size }) => sum + size, 0) + this.segmentBytes;
    while (segments.length > 1 && bytes > Math.max(this.maxBytes, 2 * this.segmentBytes)) {
      const oldest = segments.shift() as Segment;
      bytes -= oldest.size;
      rmSync(this.pathOf(oldest), { force: true });
    }
  }

  private closeFile(): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }

  private pathOf({ start }: Segment): string {
    return join(this.folder, `${String(start).padStart(16, '0')}.log`);
  }
}
