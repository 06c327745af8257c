// Contents on circuits of their own, at either end: written under the back-pressure of the circuit, and read as a whole or as a Readable.

import { Readable } from 'node:stream';
import { netError, starlaneError } from '../errors.js';
import type { Socket } from '../socket/socket.js';
import type { ByteSource, Content } from './content.js';
import { CHUNK_BYTES, ChunkDecoder, chunkHead } from './wire/chunks.js';

/** Bytes that wait at the reading end of a stream before its circuit pauses. */
const READ_AHEAD_BYTES = 256 * 1024;

/** Writes a content and its end. @throws what the source throws, and when the circuit is lost */
export async function writeContent(
  socket: Socket,
  { payload, source }: Pick<Content, 'payload' | 'source'>,
): Promise<void> {
  if (source !== undefined) await writeSource(socket, source);
  else {
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : asBuffer(payload ?? Buffer.alloc(0));
    await writeChunks(socket, bytes);
  }
  await write(socket, chunkHead(0));
}

async function writeSource(socket: Socket, source: ByteSource): Promise<void> {
  for await (const chunk of source as AsyncIterable<unknown>) {
    if (typeof chunk === 'string') await writeChunks(socket, Buffer.from(chunk));
    else if (chunk instanceof Uint8Array) await writeChunks(socket, asBuffer(chunk));
    else throw starlaneError('ERR_STARLANE_ARGUMENT', 'a stream of bytes has yielded something else');
  }
}

async function writeChunks(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.subarray(at, at + CHUNK_BYTES);
    socket.write(chunkHead(chunk.length));
    await write(socket, chunk);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Resolves when there is room for more. */
function write(socket: Socket, chunk: Buffer): Promise<void> | undefined {
  if (socket.destroyed) throw lost();
  if (socket.write(chunk)) return undefined;
  return new Promise((resolve, reject) => {
    const onDrain = (): void => {
      socket.removeListener('close', onClose);
      resolve();
    };
    const onClose = (): void => {
      socket.removeListener('drain', onDrain);
      reject(lost());
    };
    socket.once('drain', onDrain);
    socket.once('close', onClose);
  });
}

function lost(): Error {
  return netError('ECONNRESET', 'write');
}

/** Shorter parts are copied together, or a peer that sends a content byte by byte makes it take a hundred times its memory. */
const SMALL_PART_BYTES = 4 * 1024;
const SLAB_BYTES = 64 * 1024;

/** The parts of a content. */
class Parts {
  private parts: Buffer[] = [];
  private slab: Buffer | undefined;
  private at = 0;

  add(bytes: Buffer): void {
    if (bytes.length >= SMALL_PART_BYTES) {
      this.cut();
      this.parts.push(bytes);
      return;
    }
    if (this.slab !== undefined && this.at + bytes.length > this.slab.length) this.cut();
    this.slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.at += bytes.copy(this.slab, this.at);
  }

  join(): Buffer {
    this.cut();
    return Buffer.concat(this.parts);
  }

  clear(): void {
    this.parts = [];
    this.slab = undefined;
    this.at = 0;
  }

  private cut(): void {
    if (this.slab === undefined) return;
    this.parts.push(this.slab.subarray(0, this.at));
    // What is left is used for the next ones.
    this.slab = this.at + SMALL_PART_BYTES <= this.slab.length ? this.slab.subarray(this.at) : undefined;
    this.at = 0;
  }
}

/** What becomes of a content that is read: one of the last three is called. */
export interface WholeOwner {
  /** Bytes have come. */
  onBytes?(count: number): void;
  onWhole(bytes: Buffer): void;
  /** The circuit is lost before the end. */
  onBroken(error: Error): void;
  /** There is more, or less, than there may be. */
  onMisfit(): void;
}

/**
 * Reads a content as a whole. Returns a function that gives it up.
 * @param rest bytes that were read already
 * @param expected bytes; undefined: up to `limit`
 */
export function readWhole(
  socket: Socket,
  rest: Buffer,
  expected: number | undefined,
  limit: number,
  owner: WholeOwner,
): () => void {
  const parts = new Parts();
  let total = 0;
  let isOver = false;
  const over = (): boolean => {
    if (isOver) return false;
    isOver = true;
    parts.clear();
    return true;
  };
  const decoder = new ChunkDecoder((bytes) => {
    total += bytes.length;
    owner.onBytes?.(bytes.length);
    if (total <= limit) parts.add(bytes);
  });
  const onData = (chunk: Buffer): void => {
    if (isOver) return;
    decoder.push(chunk);
    if (total > limit || decoder.isMalformed || (decoder.isWhole && expected !== undefined && total !== expected)) {
      if (!over()) return;
      socket.destroy();
      owner.onMisfit();
    } else if (decoder.isWhole) {
      const whole = parts.join();
      if (!over()) return;
      socket.end();
      owner.onWhole(whole);
    }
  };
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  const onEnd = (): void => {
    if (!over()) return;
    socket.destroy();
    owner.onBroken(failure ?? netError('ECONNRESET', 'read'));
  };
  socket.on('end', onEnd);
  socket.on('close', onEnd);
  socket.on('data', onData);
  socket.resume();
  if (rest.length > 0) onData(rest);
  return () => {
    if (over()) socket.destroy();
  };
}

/** Returns a content as a Readable, which reads from the circuit as fast as it is read. */
export function readStream(socket: Socket, rest: Buffer): Readable {
  const readable = new Readable({
    highWaterMark: READ_AHEAD_BYTES,
    read: () => socket.resume(),
    destroy: (error, callback) => {
      // In order when everything was read, so that the other end knows that it has arrived.
      if (decoder.isWhole) socket.end();
      else socket.destroy();
      callback(error);
    },
  });
  const decoder = new ChunkDecoder((bytes) => {
    if (!readable.destroyed && !readable.push(bytes)) socket.pause();
  });
  const onData = (chunk: Buffer): void => {
    if (readable.destroyed || decoder.isWhole) return;
    decoder.push(chunk);
    if (decoder.isMalformed)
      readable.destroy(starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', 'a content goes on after its end'));
    else if (decoder.isWhole) {
      readable.push(null);
      socket.resume();
    }
  };
  // A handler that does not read it now, or any more, has no listener: a peer that is lost must not end the process.
  readable.on('error', ignore);
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  const onEnd = (): void => {
    if (!decoder.isWhole && !readable.destroyed) readable.destroy(failure ?? netError('ECONNRESET', 'read'));
    socket.destroy();
  };
  socket.on('end', onEnd);
  socket.on('close', onEnd);
  socket.on('data', onData);
  if (rest.length > 0) onData(rest);
  return readable;
}

function ignore(): void {}
