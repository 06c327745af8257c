// Output of a job as frames: on disk, and on the way to a reader.
//
//   u8 kind | u32 length, big endian | content
//
// A position counts the bytes of both outputs in the order in which they came, without the frames around them: so any number is a position.

export const FrameKind = {
  /** Without content: the host is there, and nothing new is. */
  ALIVE: 0,
  STDOUT: 1,
  STDERR: 2,
  /** JSON of a JobStatus, the last frame to a reader. Never on disk. */
  STATUS: 3,
} as const;

export type OutputKind = typeof FrameKind.STDOUT | typeof FrameKind.STDERR;

export const HEADER_BYTES = 5;
/** The longest content of a frame of output. */
export const MAX_CONTENT_BYTES = 64 * 1024;
/** A status has parameters in it. */
const MAX_STATUS_BYTES = 1024 * 1024;

export function headerOf(kind: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt8(kind);
  header.writeUInt32BE(length, 1);
  return header;
}

/** Returns whether a frame of output may begin like that. */
export function isOutputHeader(kind: number, length: number): kind is OutputKind {
  return (kind === FrameKind.STDOUT || kind === FrameKind.STDERR) && length > 0 && length <= MAX_CONTENT_BYTES;
}

/** Reads frames from pieces of any size. Output is given on as it comes, a status as a whole. */
export class FrameReader {
  private header = Buffer.alloc(0);
  private kind = 0;
  private rest = 0;
  private status: Buffer[] = [];

  constructor(
    private readonly onOutput: (kind: OutputKind, data: Buffer) => void,
    private readonly onStatus: (text: string) => void,
  ) {}

  /** @throws Error for what is no frame */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.rest === 0) {
        const taken = chunk.subarray(at, at + HEADER_BYTES - this.header.length);
        this.header = Buffer.concat([this.header, taken]);
        at += taken.length;
        if (this.header.length < HEADER_BYTES) return;
        this.begin();
        continue;
      }
      const data = chunk.subarray(at, at + this.rest);
      at += data.length;
      this.rest -= data.length;
      if (this.kind !== FrameKind.STATUS) this.onOutput(this.kind as OutputKind, data);
      else {
        this.status.push(data);
        if (this.rest > 0) continue;
        const text = Buffer.concat(this.status).toString();
        this.status = [];
        this.onStatus(text);
      }
    }
  }

  private begin(): void {
    const kind = this.header.readUInt8();
    const length = this.header.readUInt32BE(1);
    this.header = Buffer.alloc(0);
    const isSound =
      isOutputHeader(kind, length) ||
      (kind === FrameKind.ALIVE && length === 0) ||
      (kind === FrameKind.STATUS && length > 0 && length <= MAX_STATUS_BYTES);
    if (!isSound) throw new Error('what came is no output of a job');
    this.kind = kind;
    this.rest = length;
  }
}
