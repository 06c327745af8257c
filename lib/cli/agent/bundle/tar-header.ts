// The one form of tar that bundles have: headers of the format ustar (POSIX.1-1988), for regular files and folders, without anything that
// is optional. A manifest has one tar: the host makes each header that must come, and compares. So there is nothing to be parsed in what
// others send: no links, no sizes in other bases, no extended headers, no long names.

import { starlaneError } from '../../../errors.js';

export const BLOCK_BYTES = 512;
/** What 11 octal digits hold. */
export const MAX_SIZE = 8 ** 11 - 1;

export interface TarEntry {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
  readonly isFolder?: boolean;
}

const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const CHECKSUM_AT = 148;

/** Returns the header. @throws ERR_STARLANE_BUNDLE when the path does not fit */
export function headerOf({ path, size, mode, isFolder = false }: TarEntry): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const [prefix, name] = splitPath(isFolder ? `${path}/` : path);
  header.write(name, 0);
  header.write(octal(mode & 0o7777, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size, 11), 124);
  header.write(octal(0, 11), 136);
  header.write('        ', CHECKSUM_AT);
  header.write(isFolder ? '5' : '0', 156);
  header.write('ustar\x0000', 257);
  header.write(octal(0, 7), 329);
  header.write(octal(0, 7), 337);
  header.write(prefix, 345);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${octal(sum, 6)} `, CHECKSUM_AT);
  return header;
}

/** Returns the size in a header, if it is that of a regular file with this path and mode; undefined for every other header. */
export function sizeIn(header: Buffer, path: string, mode: number): number | undefined {
  const text = header.toString('latin1', 124, 135);
  if (!/^[0-7]{11}$/.test(text)) return undefined;
  const size = Number.parseInt(text, 8);
  return headerOf({ path, size, mode }).equals(header) ? size : undefined;
}

/** Returns the zeros that fill the last block of a content. */
export function padding(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`;
}

/** Splits a path into the two fields of a header, at the first slash where both parts fit. */
function splitPath(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= NAME_BYTES) return ['', path];
  for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) {
    const prefix = path.slice(0, at);
    const name = path.slice(at + 1);
    if (Buffer.byteLength(prefix) > PREFIX_BYTES) break;
    if (name !== '' && Buffer.byteLength(name) <= NAME_BYTES) return [prefix, name];
  }
  throw starlaneError('ERR_STARLANE_BUNDLE', `the path ${JSON.stringify(path)} is too long`);
}
