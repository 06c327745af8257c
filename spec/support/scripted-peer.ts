// The other end of a session under the control of a spec: it feeds bytes and reads what the session wrote.

import { Duplex } from 'node:stream';
import { ACK, frameText, ping } from './frames.js';
import { type NaiveFrame, naiveDecode } from './naive-codec.js';
import { ProbeFinder, withoutProbes } from './probes.js';

type WriteCallback = (error?: Error | null) => void;

/** The Duplex that is given to the session. Apart from answers to probes, only the spec delivers bytes. */
export class ScriptedPeer extends Duplex {
  /** What each call of write or writev brought, in pieces as the session handed them over. */
  readonly writes: Buffer[][] = [];
  /** The session has ended its side. */
  sawEnd = false;
  /** Whether pings in line with the data are answered once the data are taken, as every peer does that reads. */
  answersProbes = true;
  private untaken: Buffer[] = [];
  private blocked = false;
  private waiting: WriteCallback | undefined;
  private readonly probes = new ProbeFinder();

  constructor() {
    super({ allowHalfOpen: true, highWaterMark: 16 * 1024 });
  }

  /** Delivers bytes to the session as one chunk, at once. */
  feed(...parts: Buffer[]): void {
    this.push(Buffer.concat(parts));
  }

  /** The peer sends no more. */
  feedEnd(): void {
    this.answersProbes = false;
    this.push(null);
  }

  /** From now on writes are taken and not confirmed. */
  block(): void {
    this.blocked = true;
  }

  /** Confirms what waits, and everything from now on. */
  unblock(): void {
    this.blocked = false;
    this.confirmOne();
  }

  /** Confirms the write that waits; the next one waits again. */
  confirmOne(): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting !== undefined) this.confirm(waiting);
  }

  /** All bytes the session has written so far. */
  get written(): Buffer {
    return Buffer.concat(this.writes.flat());
  }

  get writtenBytes(): number {
    let bytes = 0;
    for (const write of this.writes) for (const piece of write) bytes += piece.length;
    return bytes;
  }

  /** Frames that the session has written since the last call, probes left out. */
  takeFrames(): NaiveFrame[] {
    const { frames, atBoundary } = naiveDecode(Buffer.concat(this.untaken));
    if (!atBoundary) throw new Error('the session wrote something else than whole yamux frames');
    this.untaken = [];
    return withoutProbes(frames);
  }

  /** As {@link takeFrames}, each frame as a line of text. */
  takeText(): string[] {
    return this.takeFrames().map(frameText);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.record([chunk], callback);
  }

  override _writev(items: Array<{ chunk: Buffer }>, callback: WriteCallback): void {
    this.record(
      items.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _final(callback: WriteCallback): void {
    this.sawEnd = true;
    callback();
  }

  private record(pieces: Buffer[], callback: WriteCallback): void {
    // The session uses its memory again once a write is confirmed.
    const copies = pieces.map((piece) => Buffer.from(piece));
    this.writes.push(copies);
    this.untaken.push(...copies);
    for (const piece of copies) this.probes.push(piece);
    if (this.blocked) this.waiting = callback;
    else this.confirm(callback);
  }

  private confirm(callback: WriteCallback): void {
    callback();
    const probes = this.probes.take();
    if (probes.length === 0) return;
    setImmediate(() => {
      if (!this.answersProbes || this.destroyed) return;
      this.feed(...probes.map((opaque) => ping(opaque, ACK)));
    });
  }
}
