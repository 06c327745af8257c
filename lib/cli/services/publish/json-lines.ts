// Lets lines of JSON pass, and sorts out all others: what a careless MCP server prints on its standard output must not reach its client.

import { Transform, type TransformCallback } from 'node:stream';

const NEWLINE = 0x0a;
const MAX_STRAY_BYTES = 4_096;
const SPACES = new Set([0x20, 0x09, 0x0d]);

export class JsonLines extends Transform {
  /** Whether the line goes on to the reader; undefined before its first character that is no space. */
  private passes: boolean | undefined;
  private stray: Buffer[] = [];
  private strayBytes = 0;

  /** @param onStray called with each line that is not JSON, cut to 4096 bytes */
  constructor(private readonly onStray: (line: string) => void) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    let start = 0;
    while (start < chunk.length) {
      if (this.passes === undefined) {
        // Spaces and empty lines have no meaning here.
        while (start < chunk.length && (SPACES.has(chunk[start]) || chunk[start] === NEWLINE)) start++;
        if (start === chunk.length) break;
        this.passes = chunk[start] === 0x7b || chunk[start] === 0x5b;
      }
      const at = chunk.indexOf(NEWLINE, start);
      const end = at < 0 ? chunk.length : at + 1;
      const piece = chunk.subarray(start, end);
      if (this.passes) this.push(piece);
      else this.keep(piece);
      if (at >= 0) this.endLine();
      start = end;
    }
    callback();
  }

  override _flush(callback: TransformCallback): void {
    this.endLine();
    callback();
  }

  private keep(piece: Buffer): void {
    const kept = piece.subarray(0, MAX_STRAY_BYTES - this.strayBytes);
    this.stray.push(Buffer.from(kept));
    this.strayBytes += kept.length;
  }

  private endLine(): void {
    if (this.passes === false) this.onStray(Buffer.concat(this.stray).toString().trimEnd());
    this.passes = undefined;
    this.stray = [];
    this.strayBytes = 0;
  }
}
