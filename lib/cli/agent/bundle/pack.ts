// Makes bundles from folders: reads what is there, hashes it, and yields the tar.

import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Pattern } from '../../../util/pattern.js';
import { ExitCode, Failure, usage } from '../../failure.js';
import { MAX_FILES, type Manifest, type ManifestFile } from './manifest.js';
import { PathSet } from './paths.js';
import { BLOCK_BYTES, headerOf, padding } from './tar-header.js';
import { fileEntry, folderEntry } from './unpack.js';

const { O_RDONLY, O_NOFOLLOW = 0 } = constants;

export interface Listing {
  readonly files: readonly ManifestFile[];
  readonly folders: readonly string[];
}

/**
 * Lists a folder, with the hash of each file. Links and other special files are a fault, and not left out: an app that misses a file fails
 * later, and elsewhere.
 * @param ignored patterns of names, or of paths from the folder on
 * @throws Failure
 */
export async function listFolder(root: string, ignored: readonly string[]): Promise<Listing> {
  const patterns = ignored.map((text) => new Pattern(text));
  const paths = new PathSet();
  const files: ManifestFile[] = [];
  const folders: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    const entries = await readdir(join(root, folder), { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    const kept = entries.filter(({ name }) => {
      const path = folder === '' ? name : `${folder}/${name}`;
      return !patterns.some((pattern) => pattern.fits(name) || pattern.fits(path));
    });
    if (kept.length === 0 && folder !== '') {
      check(paths, folder, true);
      folders.push(folder);
    }
    for (const entry of kept) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile()) {
        check(paths, path, false);
        files.push(await hashed(root, path));
      } else
        throw usage(
          `${join(root, path)}: is neither a file nor a folder; bundles hold nothing else (--ignore leaves it out)`,
        );
      if (files.length > MAX_FILES) throw usage(`${root}: has more than ${MAX_FILES} files (--ignore leaves some out)`);
    }
  };
  await visit('');
  if (files.length === 0) throw usage(`${root}: has no files`);
  return { files, folders };
}

function check(paths: PathSet, path: string, isFolder: boolean): void {
  const fault = paths.add(path, isFolder);
  if (fault !== undefined) throw usage(`${path}: ${fault} (--ignore leaves it out)`);
}

async function hashed(root: string, path: string): Promise<ManifestFile> {
  const hash = createHash('sha256');
  const file = await open(join(root, path), O_RDONLY | O_NOFOLLOW);
  try {
    const { mode } = await file.stat();
    let size = 0;
    for await (const piece of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      hash.update(piece);
      size += piece.length;
    }
    return { path, size, mode: (mode & 0o111) === 0 ? 0o644 : 0o755, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

/**
 * Yields the tar behind the head, from an entry on.
 * @throws Failure when a file has changed its size meanwhile
 */
export async function* tarOf({ files, folders }: Listing | Manifest, root: string, from = 0): AsyncGenerator<Buffer> {
  for (const path of folders.slice(from)) yield headerOf(folderEntry(path));
  for (const file of files.slice(Math.max(0, from - folders.length))) {
    yield headerOf(fileEntry(file));
    let left = file.size;
    if (left > 0) {
      const end = left - 1;
      for await (const piece of createReadStream(join(root, file.path), { end }) as AsyncIterable<Buffer>) {
        left -= piece.length;
        yield piece;
      }
    }
    if (left !== 0) throw new Failure(`${join(root, file.path)}: has changed meanwhile`, ExitCode.FAILURE);
    if (padding(file.size) > 0) yield Buffer.alloc(padding(file.size));
  }
  yield Buffer.alloc(2 * BLOCK_BYTES);
}
