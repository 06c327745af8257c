// Bytes without meaning, for measuring how fast they come: GET /v1/source. Few get them at a time, and none when the node drains.

import type { ServerResponse } from 'node:http';

/** Callers that get bytes at a time, of all. */
const MAX_BULK = 32;

const CHUNK_BYTES = 64 * 1024;

export class Bulk {
  private readonly open = new Set<ServerResponse>();

  get isFull(): boolean {
    return this.open.size >= MAX_BULK;
  }

  /** Sends so many bytes, as fast as the caller takes them. */
  send(response: ServerResponse, bytes: number, isHead: boolean): void {
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': bytes,
      'cache-control': 'no-store',
    });
    if (isHead) {
      response.end();
      return;
    }
    this.open.add(response);
    response.once('close', () => this.open.delete(response));
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let left = bytes;
    const more = () => {
      while (left > 0 && !response.destroyed) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!response.write(part)) break;
      }
      if (left === 0) response.end();
      else response.once('drain', more);
    };
    more();
  }

  /** Breaks all of them off. */
  end(): void {
    for (const response of [...this.open]) response.destroy();
  }
}
