// Writes the files of a bundle, as its manifest has them, into a fresh folder. What comes is compared with what must come, byte for byte:
// the first difference ends it.

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { starlaneError } from '../../../errors.js';
import { syncFolder } from '../../../identity/credentials.js';
import { FILES_FOLDER, type Manifest, type ManifestFile } from './manifest.js';
import { BLOCK_BYTES, headerOf, padding } from './tar-header.js';

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW = 0 } = constants;
const FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
/** A tar ends with two blocks of zeros; programs add up to so many. */
const END_BLOCKS = 2;
const MAX_END_BYTES = 64 * 1024;

/** Replaced by specs of full disks. */
export type WritePiece = (file: FileHandle, piece: Uint8Array) => Promise<unknown>;
const writePiece: WritePiece = (file, piece) => file.writeFile(piece);

export class Unpacker {
  /** Entries that are written and verified: folders first, then files. */
  private done = 0;
  private readonly folders = new Set<string>();
  /** The last file that was made. */
  private begun: string | undefined;

  /** @param folder exists, and nothing is in it */
  constructor(
    private readonly manifest: Manifest,
    private readonly folder: string,
    private readonly write = writePiece,
  ) {}

  /** How many entries are complete: the next attempt begins there. */
  get next(): number {
    return this.done;
  }

  /**
   * Reads entries from the one that is next to the end of the tar.
   * @throws ERR_STARLANE_BUNDLE when something else comes; what reading and writing fail with
   */
  async take(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const { folders, files } = this.manifest;
    const source = new ByteSource(pieces);
    try {
      while (this.done < folders.length) {
        const path = folders[this.done];
        await source.expect(headerOf(folderEntry(path)), path);
        await this.makeFolder(path);
        this.done++;
      }
      while (this.done < folders.length + files.length) {
        const file = files[this.done - folders.length];
        await source.expect(headerOf(fileEntry(file)), file.path);
        await this.writeFile(file, source);
        await source.expect(Buffer.alloc(padding(file.size)), file.path);
        this.done++;
      }
      await source.expect(Buffer.alloc(END_BLOCKS * BLOCK_BYTES), 'its end');
      await source.expectZeros(MAX_END_BYTES);
      for (const folder of this.folders) syncFolder(join(this.folder, folder));
      syncFolder(this.folder);
    } finally {
      await source.end();
    }
  }

  private async writeFile({ path, size, mode, sha256 }: ManifestFile, source: ByteSource): Promise<void> {
    await this.makeFolder(dirname(path));
    const target = join(this.folder, path);
    const hash = createHash('sha256');
    const file = await this.fresh(target);
    try {
      for (let left = size; left > 0; ) {
        const piece = await source.upTo(left);
        if (piece === undefined) throw starlaneError('ERR_STARLANE_BUNDLE', `it ends within ${path}`);
        hash.update(piece);
        await this.write(file, piece);
        left -= piece.length;
      }
      if (hash.digest('hex') !== sha256) throw starlaneError('ERR_STARLANE_BUNDLE', `${path} is not what was signed`);
      // Rights of others to write, and those that let a program run as another user, are dropped.
      await file.chmod((mode & 0o755) | 0o600);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Makes the file. Of an attempt that has broken in the middle of it, there is a part. */
  private async fresh(path: string): Promise<FileHandle> {
    if (this.begun === path) await rm(path, { force: true });
    this.begun = path;
    return open(path, FLAGS, 0o600);
  }

  /** Makes a folder and those above it. Each is made here, and nowhere else: what is there already is a fault. */
  private async makeFolder(path: string): Promise<void> {
    if (path === '.' || this.folders.has(path)) return;
    await this.makeFolder(dirname(path));
    await mkdir(join(this.folder, path), { mode: 0o755 });
    this.folders.add(path);
  }
}

/** Returns what a tar has for a file of the manifest. */
export function fileEntry({ path, size, mode }: Omit<ManifestFile, 'sha256'>) {
  return { path: `${FILES_FOLDER}/${path}`, size, mode };
}

/** Returns what a tar has for an empty folder. */
export function folderEntry(path: string) {
  return { path: `${FILES_FOLDER}/${path}`, size: 0, mode: 0o755, isFolder: true };
}

/** Bytes that are asked for by their number, and come in pieces. */
class ByteSource {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.pieces = pieces[Symbol.asyncIterator]();
  }

  /** Returns the next bytes, `most` of them at most and one at least; undefined at the end. */
  async upTo(most: number): Promise<Uint8Array | undefined> {
    while (this.rest.byteLength === 0) {
      const { done, value } = await this.pieces.next();
      if (done) return undefined;
      this.rest = value;
    }
    const piece = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(piece.byteLength);
    return piece;
  }

  /** @throws ERR_STARLANE_BUNDLE when other bytes come */
  async expect(wanted: Buffer, what: string): Promise<void> {
    for (let at = 0; at < wanted.length; ) {
      const piece = await this.upTo(wanted.length - at);
      if (piece === undefined) throw starlaneError('ERR_STARLANE_BUNDLE', `it ends before ${what}`);
      if (!wanted.subarray(at, at + piece.byteLength).equals(piece))
        throw starlaneError('ERR_STARLANE_BUNDLE', `something else comes where ${what} must be`);
      at += piece.byteLength;
    }
  }

  /** Reads to the end. @throws ERR_STARLANE_BUNDLE when there is something, or too much of nothing */
  async expectZeros(most: number): Promise<void> {
    let bytes = 0;
    for (let piece = await this.upTo(most); piece !== undefined; piece = await this.upTo(most)) {
      bytes += piece.byteLength;
      if (bytes > most || piece.some((byte) => byte !== 0))
        throw starlaneError('ERR_STARLANE_BUNDLE', 'there is something behind its end');
    }
  }

  /** Lets the source go, also where it has more. */
  async end(): Promise<void> {
    await this.pieces.return?.();
  }
}
