// Two public sessions over one link, and what specs do with their streams.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import { Session, type SessionOptions, type Stream } from '../../lib/mux/index.js';
import { within } from './deadline.js';
import { pattern } from './frames.js';

export interface SessionPair {
  readonly near: Session;
  readonly far: Session;
  readonly nearEnd: Duplex;
  readonly farEnd: Duplex;
}

/** `near` is the client of the pair unless the roles are reversed. */
export function sessionPair(
  ends: { near: Duplex; far: Duplex },
  { reversed = false, options = {} }: { reversed?: boolean; options?: Partial<SessionOptions> } = {},
): SessionPair {
  return {
    near: new Session(ends.near, { ...options, client: !reversed }),
    far: new Session(ends.far, { ...options, client: reversed }),
    nearEnd: ends.near,
    farEnd: ends.far,
  };
}

/** A stream opened by `near`, and its other end. */
export async function streamPair({ near, far }: SessionPair): Promise<{ here: Stream; there: Stream }> {
  const incoming = once(far, 'stream') as Promise<[Stream]>;
  const here = near.open();
  const [there] = await within('the stream at the other end', incoming);
  // How a stream fails is looked at where it matters; here only the end of a spec must not fail it.
  for (const stream of [here, there]) stream.on('error', () => {});
  return { here, there };
}

/** Everything that a stream brings until its end, from now on. */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await within('the end of the stream', once(stream, 'end'));
  return Buffer.concat(chunks);
}

/** The result of `read(bytes)` as soon as there is one. */
export function readAtOnce(stream: Readable, bytes: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const look = (): void => {
      const chunk = stream.read(bytes) as Buffer | null;
      if (chunk === null) return;
      stream.off('readable', look);
      resolve(chunk);
    };
    stream.on('readable', look);
  });
}

/** Resolved when the session has ended, for any reason. */
export function endOf(session: Session): Promise<void> {
  return new Promise((resolve) => {
    session.once('close', resolve);
  });
}

/** The error with which a stream closes, or undefined when it closes without one. */
export function closeOf(stream: Duplex): Promise<Error | undefined> {
  return within(
    'the stream is closed',
    new Promise((resolve) => {
      let error: Error | undefined;
      stream.on('error', (reason) => {
        error = reason;
      });
      stream.once('close', () => resolve(error));
    }),
  );
}

/** Writes `bytes` of a pattern in chunks of mixed sizes, no faster than they are taken, and ends the stream. */
export async function sendPattern(stream: Duplex, bytes: number, seed = 0): Promise<void> {
  const input = pattern(bytes, seed);
  const sizes = [65_536, 1, 100_000, 4_096, 16_384, 333];
  for (let offset = 0, turn = 0; offset < bytes; turn++) {
    const size = sizes[turn % sizes.length];
    if (!stream.write(input.subarray(offset, offset + size))) await within('drain', once(stream, 'drain'));
    offset += size;
  }
  stream.end();
}

/** Reads to the end; true when it was exactly that pattern, by its SHA-256. */
export async function receivesPattern(stream: Readable, bytes: number, seed = 0): Promise<boolean> {
  const sum = createHash('sha256');
  stream.on('data', (chunk: Buffer) => {
    sum.update(chunk);
  });
  await within('the end of the stream', once(stream, 'end'));
  return sum.digest('hex') === createHash('sha256').update(pattern(bytes, seed)).digest('hex');
}
