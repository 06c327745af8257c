// Bundles that are being received. The head comes first, and by itself: what it says is verified, and whether there is room, before any
// file is written. A circuit that breaks leaves the files that are complete; the sender goes on behind them.

import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, starlaneError } from '../../../errors.js';
import { clearTimeout, dateNow, setTimeout } from '../../../util/runtime/real-timers.js';
import { codedError } from '../../failure.js';
import { type BundleHead, HeadReader, verifyHead, verifySignature } from '../bundle/head.js';
import { bytesIn } from '../bundle/manifest.js';
import { Unpacker, type WritePiece } from '../bundle/unpack.js';
import type { AgentHost } from '../part.js';

/** Bundles that are received at a time, of all callers. */
const MAX_UPLOADS = 8;
/** How long a bundle waits for its sender to come back. */
const IDLE_MS = 10 * 60_000;
/** Room on the disk that bundles leave free. */
const SPARE_BYTES = 64 * 1024 * 1024;
/** What a file and a folder take beside their content, at least. */
const BLOCK_BYTES = 4_096;

export interface Upload {
  readonly head: BundleHead;
  /** SHA-256 of the manifest, in hex. */
  readonly digest: string;
  readonly folder: string;
  readonly unpacker: Unpacker;
  /** A sender that sends now. */
  isBusy: boolean;
}

/** What the uploads need from the apps. */
export interface UploadOwner {
  /** Checks whether the host takes that version. @throws ERR_STARLANE_BUNDLE_OLD and others */
  check(head: BundleHead, digest: string): 'installed' | 'new';
  /** The size of all versions of all apps. */
  readonly bytes: number;
}

/** Replaced by specs: the disk. */
export interface Disk {
  freeBytes(path: string): Promise<number>;
  readonly write?: WritePiece;
}

export const REAL_DISK: Disk = {
  async freeBytes(path) {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
};

export class Uploads {
  private readonly uploads = new Map<string, Upload>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private next = 0;

  constructor(
    private readonly host: AgentHost,
    private readonly owner: UploadOwner,
    private readonly disk: Disk,
  ) {}

  /**
   * Takes a head. Returns the upload, or that the version is there already.
   * @throws ERR_STARLANE_BUNDLE, ERR_STARLANE_BUNDLE_SIGNATURE, ERR_STARLANE_BUNDLE_OLD, ENOSPC, EAGAIN
   */
  async begin(app: string, bytes: Buffer): Promise<Upload | { readonly digest: string; readonly head: BundleHead }> {
    const { options, folder } = this.host;
    const read = new HeadReader((signed) => verifySignature(signed, options.signers)).push(bytes);
    if (read === undefined || read.rest.length > 0)
      throw starlaneError('ERR_STARLANE_BUNDLE', 'its head must come first, and by itself');
    const { head } = read;
    verifyHead(head, { app, signers: options.signers, nowMs: dateNow() });
    const digest = createHash('sha256').update(head.bytes).digest('hex');
    if (this.owner.check(head, digest) === 'installed') return { digest, head };
    const known = this.uploads.get(digest);
    if (known !== undefined) return known;
    await this.checkRoom(head);
    // Another one may have offered it meanwhile.
    const other = this.uploads.get(digest);
    if (other !== undefined) return other;
    if (this.uploads.size >= MAX_UPLOADS) throw codedError('EAGAIN', 'the host receives as many bundles as it can');
    const place = join(folder.incoming, `${this.next++}`);
    const files = join(place, 'files');
    mkdirSync(place, { mode: 0o700 });
    mkdirSync(files, { mode: 0o700 });
    const unpacker = new Unpacker(head.manifest, files, this.disk.write);
    const upload: Upload = { head, digest, folder: place, unpacker, isBusy: false };
    this.uploads.set(digest, upload);
    this.wait(upload);
    return upload;
  }

  /**
   * Receives the rest of a bundle, from an entry on. Resolves when it is complete.
   * @throws as {@link Unpacker.take}; ENOENT, EBUSY
   */
  async receive(app: string, digest: string, from: number, pieces: AsyncIterable<Uint8Array>): Promise<Upload> {
    const upload = this.uploads.get(digest);
    if (upload === undefined || upload.head.manifest.app !== app)
      throw codedError('ENOENT', 'no such bundle is expected; send its head first');
    if (upload.isBusy) throw codedError('EBUSY', 'another sender sends this bundle now');
    if (from !== upload.unpacker.next)
      throw starlaneError(
        'ERR_STARLANE_ARGUMENT',
        `from must be ${upload.unpacker.next}, where the last sender has ended`,
      );
    upload.isBusy = true;
    clearTimeout(this.timers.get(digest));
    try {
      await upload.unpacker.take(pieces);
      // The host may have dropped the key since the head came.
      verifyHead(upload.head, { app, signers: this.host.options.signers, nowMs: dateNow() });
      return upload;
    } catch (error) {
      // Only what the sender can mend is kept: a circuit that has broken.
      if (isBroken(error)) this.wait(upload);
      else this.forget(upload);
      throw error;
    } finally {
      upload.isBusy = false;
    }
  }

  /** Removes what was received, if it was not moved away. */
  forget({ digest, folder }: Upload): void {
    clearTimeout(this.timers.get(digest));
    this.timers.delete(digest);
    this.uploads.delete(digest);
    rmSync(folder, { recursive: true, force: true });
  }

  close(): void {
    for (const upload of [...this.uploads.values()]) this.forget(upload);
  }

  private wait(upload: Upload): void {
    clearTimeout(this.timers.get(upload.digest));
    const timer = setTimeout(() => this.forget(upload), IDLE_MS) as NodeJS.Timeout;
    timer.unref();
    this.timers.set(upload.digest, timer);
  }

  /** @throws ERR_STARLANE_BUNDLE, ENOSPC */
  private async checkRoom({ manifest }: BundleHead): Promise<void> {
    const { options, folder } = this.host;
    const bytes = bytesIn(manifest);
    if (bytes > options.maxBundleBytes)
      throw starlaneError(
        'ERR_STARLANE_BUNDLE',
        `it has ${bytes} bytes, more than the host takes (${options.maxBundleBytes})`,
      );
    const needed = bytes + (manifest.files.length + manifest.folders.length) * BLOCK_BYTES;
    let expected = 0;
    for (const { head } of this.uploads.values()) expected += bytesIn(head.manifest);
    if (this.owner.bytes + expected + bytes > options.maxDiskBytes)
      throw codedError('ENOSPC', `apps may take ${options.maxDiskBytes} bytes here, all together`);
    if ((await this.disk.freeBytes(folder.path)) - expected < needed + SPARE_BYTES)
      throw codedError('ENOSPC', `the disk of the host has no room for ${bytes} bytes`);
  }
}

/** Whether the sender, or the way to it, has ended in the middle. */
function isBroken(error: unknown): boolean {
  return ['ECONNRESET', 'ETIMEDOUT', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR', 'EPIPE'].includes(codeOf(error) ?? '');
}
