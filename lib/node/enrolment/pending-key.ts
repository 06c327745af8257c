// The key of a machine that is about to become a member, in a file beside the folder of credentials to be: `<folder>.enrolling`. It is on the disk
// before a request is sent, so that after a crash the next attempt comes with the same key, and gets what the first one was granted.

import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { codeOf, starlaneError } from '../../errors.js';
import { syncFolder, writeSynced } from '../../identity/credentials.js';

/** Returns the key for a folder, made if there is none. @throws ERR_STARLANE_CREDENTIALS */
export function takePendingKey(folder: string): KeyObject {
  const path = pendingFileOf(folder);
  try {
    return readKey(path) ?? makeKey(path);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_CREDENTIALS', `${path}: ${(error as Error).message}`, error);
  }
}

/** Returns the key that an attempt has left for a folder, if there is one. @throws as node:crypto */
export function findPendingKey(folder: string): KeyObject | undefined {
  return readKey(pendingFileOf(folder));
}

/** Called when the folder is there: it has the key. */
export function dropPendingKey(folder: string): void {
  const path = pendingFileOf(folder);
  for (const name of readdirSync(dirname(path))) {
    // Another process may do the same.
    const isOne = name === basename(path) || name.startsWith(`${basename(path)}.`);
    if (isOne) rmSync(join(dirname(path), name), { force: true });
  }
}

function pendingFileOf(folder: string): string {
  return `${resolve(folder)}.enrolling`;
}

function readKey(path: string): KeyObject | undefined {
  try {
    return createPrivateKey(readFileSync(path));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Of two processes that make one at the same time, both get the same. */
function makeKey(path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519');
  const temporary = `${path}.${randomBytes(8).toString('hex')}`;
  mkdirSync(dirname(path), { recursive: true });
  writeSynced(temporary, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  } finally {
    unlinkSync(temporary);
  }
  syncFolder(dirname(path));
  return readKey(path) ?? privateKey;
}
