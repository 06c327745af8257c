// Which paths the files of a bundle may have: those that name the same file on every system, below the folder of the bundle, and that no
// two of them share there. Pure.

/** In bytes of UTF-8. Together with the folder of the bundle it fits into the two fields of a tar header. */
export const MAX_PATH_BYTES = 230;
export const MAX_NAME_BYTES = 99;
export const MAX_DEPTH = 24;

/** Control characters, those of Windows that separate or name streams, and those that turn the direction of text. */
const FORBIDDEN = /[\p{Cc}\p{Cs}\\:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u;
/** Names of devices on Windows, with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i;

/** Returns what is wrong with a path; undefined when nothing is. */
export function pathFault(path: string): string | undefined {
  if (path === '') return 'is empty';
  if (path.startsWith('/')) return 'is absolute';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `has more than ${MAX_PATH_BYTES} bytes`;
  if (FORBIDDEN.test(path)) return 'has a character that paths must not have';
  if (path !== path.normalize('NFC')) return 'is not in the normal form NFC of Unicode';
  const names = path.split('/');
  if (names.length > MAX_DEPTH) return `is deeper than ${MAX_DEPTH} folders`;
  for (const name of names) {
    if (name === '' || name === '.' || name === '..') return 'has an empty name, . or ..';
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `has a name of more than ${MAX_NAME_BYTES} bytes`;
    if (name.endsWith('.') || name.endsWith(' ') || name.startsWith(' '))
      return 'has a name that begins or ends with a space, or ends with a dot';
    if (DEVICE.test(name)) return 'has the name of a device';
  }
  return undefined;
}

/**
 * Paths that lie in one folder. Two that some file system takes for one are a fault: file systems that ignore case or the form of Unicode
 * also take `ß` and `ss`, or a ligature and its letters, for the same.
 */
export class PathSet {
  private readonly files = new Set<string>();
  /** As they are folded, and as they are written. */
  private readonly folders = new Map<string, string>();

  /** Returns what is wrong with one more path; undefined when nothing is. */
  add(path: string, isFolder: boolean): string | undefined {
    const fault = pathFault(path);
    if (fault !== undefined) return fault;
    const names = path.split('/');
    for (let depth = 1; depth < names.length; depth++) {
      const clash = this.addFolder(names.slice(0, depth).join('/'));
      if (clash !== undefined) return clash;
    }
    const folded = fold(path);
    if (isFolder) {
      if (this.folders.has(folded)) return 'is there twice';
      return this.addFolder(path);
    }
    if (this.files.has(folded) || this.folders.has(folded)) return 'is there twice, as file systems see it';
    this.files.add(folded);
    return undefined;
  }

  private addFolder(path: string): string | undefined {
    const folded = fold(path);
    if (this.files.has(folded)) return 'is a file and a folder, as file systems see it';
    const known = this.folders.get(folded);
    if (known !== undefined && known !== path) return `differs from ${known} by what file systems ignore`;
    this.folders.set(folded, path);
    return undefined;
  }
}

/** Returns the same text for all paths that a file system may take for one. */
export function fold(path: string): string {
  // By way of capital letters: `ß` has two there.
  return path.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC');
}
