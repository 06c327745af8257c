// Where the sender of a bundle gets it: from a folder that is packed meanwhile, or from a file that was packed before.

import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { codeOf } from '../../../errors.js';
import { ExitCode, Failure } from '../../failure.js';
import type { SigningKey } from '../signer.js';
import { type BundleHead, encodeHead, HeadReader, isSound, MAX_HEAD_BYTES } from './head.js';
import type { Manifest } from './manifest.js';
import { tarOf } from './pack.js';
import { BLOCK_BYTES, padding } from './tar-header.js';

export interface BundleSource {
  readonly manifest: Manifest;
  /** The head as it is sent. */
  readonly head: Buffer;
  /** Returns the rest, from an entry on. */
  from(entry: number): Readable;
}

const GZIP = /\.(?:gz|tgz)$/;

/** Returns the bundle of a folder. */
export function folderSource(root: string, manifest: Manifest, key: SigningKey): BundleSource {
  return {
    manifest,
    head: encodeHead(manifest, key),
    from: (entry) => Readable.from(tarOf(manifest, root, entry), { objectMode: false }),
  };
}

/** Writes a bundle to a file; with gzip where its name says so. @throws Failure */
export async function writeBundle(source: BundleSource, path: string): Promise<void> {
  const part = `${path}.new`;
  async function* all() {
    yield source.head;
    yield* source.from(0) as AsyncIterable<Buffer>;
  }
  try {
    const file = createWriteStream(part, { mode: 0o644 });
    if (GZIP.test(path)) await pipeline(all, createGzip(), file);
    else await pipeline(all, file);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    if (error instanceof Failure) throw error;
    throw new Failure(`${path}: cannot be written (${codeOf(error)})`, ExitCode.FAILURE, { cause: error });
  }
}

/** Returns the bundle in a file. @throws Failure, ERR_STARLANE_BUNDLE */
export async function fileSource(path: string): Promise<BundleSource> {
  const reader = new HeadReader();
  const pieces: Buffer[] = [];
  let bytes = 0;
  let found: ReturnType<HeadReader['push']>;
  try {
    const stream = await unzipped(path);
    for await (const piece of stream as AsyncIterable<Buffer>) {
      pieces.push(piece);
      bytes += piece.length;
      found = reader.push(piece);
      if (found !== undefined) break;
      if (bytes > MAX_HEAD_BYTES) throw new Failure(`${path}: is no bundle`, ExitCode.USAGE);
    }
    stream.destroy();
  } catch (error) {
    if (error instanceof Failure || codeOf(error)?.startsWith('ERR_STARLANE_')) throw error;
    throw new Failure(`${path}: cannot be read (${codeOf(error)})`, ExitCode.NOT_FOUND, { cause: error });
  }
  if (found === undefined) throw new Failure(`${path}: is no bundle`, ExitCode.USAGE);
  checkSound(path, found.head);
  const head = Buffer.concat(pieces).subarray(0, bytes - found.rest.length);
  const { manifest } = found.head;
  return {
    manifest,
    head,
    from: (entry) => Readable.from(behind(path, head.length + offsetOf(manifest, entry)), { objectMode: false }),
  };
}

function checkSound(path: string, head: BundleHead): void {
  if (!isSound(head)) throw new Failure(`${path}: its signature is not valid`, ExitCode.REFUSED);
}

/** Returns where an entry begins behind the head. */
function offsetOf({ files, folders }: Manifest, entry: number): number {
  const before = files.slice(0, Math.max(0, entry - folders.length));
  const contents = before.reduce((sum, { size }) => sum + size + padding(size), 0);
  return entry * BLOCK_BYTES + contents;
}

async function* behind(path: string, offset: number): AsyncGenerator<Buffer> {
  let skip = offset;
  for await (const piece of (await unzipped(path)) as AsyncIterable<Buffer>) {
    if (skip < piece.length) yield piece.subarray(skip);
    skip = Math.max(0, skip - piece.length);
  }
}

/** Opens a file, and unpacks gzip if it is that. */
async function unzipped(path: string): Promise<Readable> {
  const start = createReadStream(path, { end: 1 });
  let magic = Buffer.alloc(0);
  for await (const piece of start as AsyncIterable<Buffer>) magic = Buffer.concat([magic, piece]);
  const file = createReadStream(path);
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return file;
  const gunzip = createGunzip();
  file.on('error', (error) => gunzip.destroy(error));
  gunzip.once('close', () => file.destroy());
  return file.pipe(gunzip);
}
