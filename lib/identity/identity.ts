// Who a node is: a key pair, the id that follows from it, and an id for this run of it.
//
// The key may be kept in a file, in PEM (PKCS #8); beside it, in `<file>.epoch`, is the epoch of the last run, from which the
// records of the next one are counted. Both are read and written synchronously, as a node is made synchronously.

import { createPrivateKey, createPublicKey, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { v7 as uuid } from 'uuid';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';
import { codeOf, starlaneError } from '../errors.js';
import { rawPublicKey } from './raw-key.js';

export interface Identity {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * A UUID that no other run of any node has, so that a restarted node differs from its last run. It begins with the time, so that it
   * also shows which of two runs is newer.
   */
  readonly bootId: string;
  /** Returns the Ed25519 signature of these bytes, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** The identity of a node of this process. */
export interface OwnIdentity extends Identity {
  readonly privateKey: KeyObject;
}

/**
 * Returns the identity of a private key, or of a file with one, which is made if it is missing. By default it is a fresh one, which
 * lasts as long as the node.
 * @throws ERR_STARLANE_OPTION when it is not an Ed25519 key, or others than the owner may read its file
 */
export function createIdentity(key?: string | KeyObject): OwnIdentity {
  const privateKey = privateKeyOf(key);
  const raw = rawPublicKey(createPublicKey(privateKey));
  return {
    privateKey,
    nodeId: nodeIdFromPublicKey(raw),
    publicKey: raw,
    bootId: uuid(),
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

function privateKeyOf(key: string | KeyObject | undefined): KeyObject {
  if (key === undefined) return generateKeyPairSync('ed25519').privateKey;
  const privateKey = key instanceof KeyObject ? key : readIdentityFile(key);
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw starlaneError('ERR_STARLANE_OPTION', 'identity: must be a private key of Ed25519');
  }
  return privateKey;
}

/** Only the owner may read and write. */
const PRIVATE_MODE = 0o600;
/** Anything that others than the owner may do. */
const OTHERS = 0o077;
/** What a group may do with a file of root: secrets that are mounted for a service have mode 0440. */
const GROUP_READS = 0o040;
const ROOT = 0;
const MAX_EPOCH = 0xffff_ffff;

/** Returns the key in the file, which is made if it is missing. @throws ERR_STARLANE_OPTION */
function readIdentityFile(path: string): KeyObject {
  try {
    return readKey(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return makeKey(path);
    throw error;
  }
}

/** Returns the epoch beside the identity; 0 when there is none, or it cannot be read. */
export function readEpoch(path: string): number {
  try {
    const epoch = Number(readFileSync(`${path}.epoch`, 'utf8').trim());
    return Number.isInteger(epoch) && epoch >= 0 && epoch < MAX_EPOCH ? epoch : 0;
  } catch {
    // The file only saves time: the network knows the epoch as well.
    return 0;
  }
}

/** Writes the epoch for the next run. @throws as node:fs */
export function writeEpoch(path: string, epoch: number): void {
  const file = `${path}.epoch`;
  writeFileSync(`${file}.new`, `${epoch}\n`, { mode: PRIVATE_MODE });
  renameSync(`${file}.new`, file);
}

/** Returns whether only its owner may use a file with this mode and owner, or also a group that root lets read it. */
export function isPrivate(mode: number, uid: number): boolean {
  const forbidden = uid === ROOT ? OTHERS & ~GROUP_READS : OTHERS;
  return (mode & forbidden) === 0;
}

function readKey(path: string): KeyObject {
  let pem: Buffer;
  try {
    pem = readPrivateFile(path);
  } catch (error) {
    throw error instanceof PublicFileError
      ? starlaneError('ERR_STARLANE_OPTION', `identity: ${path} ${error.message}`)
      : error;
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} does not contain a private key`, error);
  }
}

/** Others than its owner may read a private file. */
class PublicFileError extends Error {}

/** Returns the content of a file that nobody but its owner may read. @throws an error that says so, or as node:fs */
export function readPrivateFile(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const { mode, uid } = fstatSync(file);
    // Windows has no such bits, and reports them all.
    if (process.platform !== 'win32' && !isPrivate(mode, uid)) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw new PublicFileError(`has mode ${octal}: must be 0600, or 0440 where root owns it`);
    }
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function makeKey(path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    // Two processes that start at the same time must not make two keys: 'wx' lets only one of them make it.
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: PRIVATE_MODE, flag: 'wx' });
    return privateKey;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return readKey(path);
    throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} cannot be written`, error);
  }
}
