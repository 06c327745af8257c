// The file of an identity: the private key in PEM (PKCS #8), and beside it, in `<file>.epoch`, the epoch of its last run, from
// which the records of the next one are counted. Read and written at once, as a node is made synchronously.

import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { starlaneError } from '../errors.js';

/** Readable and writable by the owner alone. */
const PRIVATE_MODE = 0o600;
/** Anything that others than the owner may do. */
const OTHERS = 0o077;
/** What a group may do where the owner is root: secrets that are mounted for a service have mode 0440. */
const GROUP_READS = 0o040;
const ROOT = 0;
const MAX_EPOCH = 0xffff_ffff;

/** The key in the file, which is made if it is missing. @throws ERR_STARLANE_OPTION */
export function readIdentityFile(path: string): KeyObject {
  try {
    return readKey(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return makeKey(path);
    throw error;
  }
}

/** The epoch that is kept beside the identity, 0 when there is none that can be read. */
export function readEpoch(path: string): number {
  try {
    const epoch = Number(readFileSync(`${path}.epoch`, 'utf8').trim());
    return Number.isInteger(epoch) && epoch >= 0 && epoch < MAX_EPOCH ? epoch : 0;
  } catch {
    // What is lost is only the shortcut: the network knows the epoch as well.
    return 0;
  }
}

/** Keeps the epoch for the next run. @throws as node:fs */
export function writeEpoch(path: string, epoch: number): void {
  const file = `${path}.epoch`;
  writeFileSync(`${file}.new`, `${epoch}\n`, { mode: PRIVATE_MODE });
  renameSync(`${file}.new`, file);
}

/** Whether a file with this mode and owner is for its owner alone, or for a group that root has chosen to read it. */
export function isPrivate(mode: number, uid: number): boolean {
  const forbidden = uid === ROOT ? OTHERS & ~GROUP_READS : OTHERS;
  return (mode & forbidden) === 0;
}

function readKey(path: string): KeyObject {
  const file = openSync(path, 'r');
  try {
    const { mode, uid } = fstatSync(file);
    // Windows has no such bits, and reports them all.
    if (process.platform !== 'win32' && !isPrivate(mode, uid)) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      const needed = '0600 is needed, or 0440 where root owns it';
      throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} has mode ${octal}: ${needed}`);
    }
    const pem = readFileSync(file);
    try {
      return createPrivateKey(pem);
    } catch (error) {
      throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} holds no private key`, error);
    }
  } finally {
    closeSync(file);
  }
}

function makeKey(path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    // Two processes that start at once must not each have a key of their own: 'wx' lets one of them make it.
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: PRIVATE_MODE, flag: 'wx' });
    return privateKey;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return readKey(path);
    throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} cannot be made`, error);
  }
}
