// A few chunks of bulk input are kept for a while, so that malloc keeps the memory of all others. Every read gets 64 KiB of its
// own, and the collector frees tens of MiB of them at once. Where these are the top of the heap, glibc gives them back to the
// kernel (mallopt(3), M_TRIM_THRESHOLD), which clears every page again for the next reads: half of the time of a process that
// reads 1 GiB/s. With a chunk in use every few MiB there is never much at the top.

/** How many are kept, and how far apart, in bytes: together what comes between two runs of the collector. */
const KEPT = 8;
const APART_BYTES = 4 * 1024 * 1024;

/** Smaller ones are no bulk, in bytes. Half of a TLS record. */
const MIN_BYTES = 8 * 1024;
/** What a chunk may be part of, in bytes: as much as libuv reads at once. Other streams may give parts of what is huge. */
const MAX_MEMORY_BYTES = 64 * 1024;

export class KeptReads {
  readonly chunks: Buffer[] = [];
  private next = 0;
  private bytesSince = 0;

  /** A chunk was read into memory of its own. */
  onRead(chunk: Buffer): void {
    if (chunk.length < MIN_BYTES || chunk.buffer.byteLength > MAX_MEMORY_BYTES) return;
    this.bytesSince += chunk.length;
    if (this.bytesSince < APART_BYTES) return;
    this.bytesSince = 0;
    this.chunks[this.next] = chunk;
    this.next = (this.next + 1) % KEPT;
  }
}

/** Those of all links of this process: the heap is theirs together. */
export const keptReads = new KeptReads();
