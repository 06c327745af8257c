// What the streams of the interop specs do, on this side. Both sides know the same verbs; ./peer/work.go lists them.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Stream } from '../../lib/mux/index.js';

const CHUNK_BYTES = 64 * 1024;
const DIGEST_BYTES = 64;

export function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Reads a stream piece by piece without ending it. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Buffer | undefined;

  constructor(stream: Readable) {
    this.chunks = stream.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** At least one and at most `limit` bytes; undefined at the end of the stream. */
  async some(limit = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    let chunk = this.rest;
    this.rest = undefined;
    if (chunk === undefined) {
      const next = await this.chunks.next();
      if (next.done) return undefined;
      chunk = next.value;
    }
    if (chunk.length > limit) {
      this.rest = chunk.subarray(limit);
      chunk = chunk.subarray(0, limit);
    }
    return chunk;
  }

  async exactly(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0; ) {
      const chunk = await this.some(left);
      if (chunk === undefined) throw new Error(`the stream ended ${left} bytes early`);
      parts.push(chunk);
      left -= chunk.length;
    }
    return Buffer.concat(parts);
  }

  async line(): Promise<string> {
    const parts: Buffer[] = [];
    for (;;) {
      const chunk = await this.some();
      if (chunk === undefined) return Buffer.concat(parts).toString();
      const end = chunk.indexOf(0x0a);
      if (end < 0) {
        parts.push(chunk);
        continue;
      }
      parts.push(chunk.subarray(0, end));
      if (end + 1 < chunk.length) this.rest = chunk.subarray(end + 1);
      return Buffer.concat(parts).toString();
    }
  }

  async toEnd(): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let chunk = await this.some(); chunk !== undefined; chunk = await this.some()) parts.push(chunk);
    return Buffer.concat(parts);
  }
}

/** The acceptor's side of the verbs that the Go peer opens streams for. */
export async function serve(stream: Stream): Promise<void> {
  const reader = new ByteReader(stream);
  const [verb, size] = (await reader.line()).split(' ');
  const bytes = Number(size);
  switch (verb) {
    case 'echo':
      await echoBack(stream, reader);
      break;
    case 'sink':
      stream.end(digest(await reader.toEnd()));
      break;
    case 'source':
      await sendSource(stream, bytes);
      stream.end();
      break;
    case 'exchange': {
      const good = await exchangeBothWays(stream, reader, bytes);
      stream.write(good ? 'good\n' : 'bad\n');
      await reader.toEnd();
      stream.end();
      break;
    }
    case 'quiet':
      await reader.toEnd();
      stream.end();
      break;
    case 'reset':
      stream.reset();
      return;
    default:
      throw new Error(`no such verb: ${verb}`);
  }
  await finished(stream);
}

/** The opener's side of 'echo': half-closes behind `payload` and gives all that came back. */
export async function echo(stream: Duplex, payload: Uint8Array): Promise<Buffer> {
  stream.write('echo\n');
  stream.end(payload);
  const answer = await new ByteReader(stream).toEnd();
  await finished(stream);
  return answer;
}

/** The opener's side of 'sink': true if the acceptor has the digest of what was sent. */
export async function sink(stream: Duplex, bytes: number): Promise<boolean> {
  const payload = randomBytes(bytes);
  stream.write('sink\n');
  stream.end(payload);
  const answer = await new ByteReader(stream).toEnd();
  await finished(stream);
  return answer.toString() === digest(payload);
}

/** The opener's side of 'source': true if what came has the digest that came behind it, and then an end. */
export async function source(stream: Duplex, bytes: number): Promise<boolean> {
  stream.end(`source ${bytes}\n`);
  const reader = new ByteReader(stream);
  const good = await checkSource(reader, bytes);
  const rest = await reader.toEnd();
  await finished(stream);
  return good && rest.length === 0;
}

/** The opener's side of 'exchange': true if both directions were good. */
export async function exchange(stream: Duplex, bytes: number): Promise<boolean> {
  stream.write(`exchange ${bytes}\n`);
  const reader = new ByteReader(stream);
  const good = await exchangeBothWays(stream, reader, bytes);
  const verdict = await reader.line();
  stream.end();
  await reader.toEnd();
  await finished(stream);
  return good && verdict === 'good';
}

async function exchangeBothWays(stream: Duplex, reader: ByteReader, bytes: number): Promise<boolean> {
  const [good] = await Promise.all([checkSource(reader, bytes), sendSource(stream, bytes)]);
  return good;
}

async function checkSource(reader: ByteReader, bytes: number): Promise<boolean> {
  const sum = createHash('sha256');
  for (let left = bytes; left > 0; ) {
    const chunk = await reader.some(left);
    if (chunk === undefined) throw new Error(`the source ended ${left} bytes early`);
    sum.update(chunk);
    left -= chunk.length;
  }
  const answer = await reader.exactly(DIGEST_BYTES);
  return answer.toString() === sum.digest('hex');
}

/** Sends pseudo-random bytes and their digest, no faster than the stream takes them. */
async function sendSource(stream: Duplex, bytes: number): Promise<void> {
  const sum = createHash('sha256');
  for (let left = bytes; left > 0; ) {
    const chunk = randomBytes(Math.min(left, CHUNK_BYTES));
    sum.update(chunk);
    left -= chunk.length;
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.write(sum.digest('hex'));
}

async function echoBack(stream: Duplex, reader: ByteReader): Promise<void> {
  for (let chunk = await reader.some(); chunk !== undefined; chunk = await reader.some()) {
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.end();
}
