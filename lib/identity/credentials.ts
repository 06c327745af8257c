// The credentials of a member: a folder that makes a machine a member of a network.
//
//   node.key          the private key of the node, which never leaves the machine
//   certificate.pem   its certificate
//   authority.pem     the certificates of the authorities that hold
//   seeds             link addresses to join, one a line
//   statements        revocations and successions that are known, in base64, one a line; may be missing
//   authority.key     on issuers only: the key of the authority
//
// A folder comes into being as a whole, by renaming one that is complete; later each file is replaced by renaming as well. So there is no
// moment at which a crash leaves half of it, and a folder that is damaged all the same is reported and never written to.

import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseLinkAddress } from '../address.js';
import { codeOf, type StarlaneError, starlaneError } from '../errors.js';
import { pemOf } from './der.js';
import { readPrivateFile } from './identity.js';
import { authorityName, type Member, rawKeyOf, readCertificate } from './member-certificate.js';

const FileName = {
  KEY: 'node.key',
  CERTIFICATE: 'certificate.pem',
  AUTHORITIES: 'authority.pem',
  SEEDS: 'seeds',
  STATEMENTS: 'statements',
  AUTHORITY_KEY: 'authority.key',
} as const;

/** What makes a member. */
export interface CredentialsContent {
  readonly key: KeyObject;
  /** The certificate of the member, in DER. */
  readonly certificate: Uint8Array;
  /** The certificates of the authorities, in DER. */
  readonly authorities: readonly Uint8Array[];
  readonly seeds: readonly string[];
  readonly statements: readonly Uint8Array[];
}

/** A folder that has been read and checked. Whether the certificate is still valid is for the member book to say. */
export interface Credentials extends CredentialsContent {
  /** Absolute. */
  readonly folder: string;
  readonly member: Member;
  /** Raw keys of the authorities, in the order of the file: the newest last. */
  readonly authorityKeys: readonly Uint8Array[];
  /** The file of the key of the authority, if there is one in the folder. */
  readonly authorityFile: string | undefined;
}

const PRIVATE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const OTHERS = 0o077;
const MAX_FILE_BYTES = 16 * 1024 * 1024;
/** What follows the name of a folder in that of one that is being written. */
const FRESH = /^\.new-[0-9a-f]{16}$/;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Returns the path of the key in a folder of credentials; the epoch of the node's records is beside it. */
export function keyFileOf(folder: string): string {
  return join(resolve(folder), FileName.KEY);
}

/** Reads a folder of credentials. @throws ERR_STARLANE_CREDENTIALS, which says what is wrong with which file */
export function readCredentials(path: string): Credentials {
  const folder = resolve(path);
  checkFolder(folder);
  const key = read(folder, FileName.KEY, (file) => {
    const read = createPrivateKey(readPrivateFile(file));
    if (read.asymmetricKeyType !== 'ed25519') throw new Error('is not a key of Ed25519');
    return read;
  });
  const authorities = read(folder, FileName.AUTHORITIES, (file) => {
    const certificates = certificatesIn(readText(file));
    if (certificates.length === 0) throw new Error('has no certificate');
    return certificates;
  });
  const authorityKeys = authorities.map((certificate) => authorityKeyOf(certificate, folder));
  const member = read(folder, FileName.CERTIFICATE, (file) => {
    const [certificate] = certificatesIn(readText(file));
    if (certificate === undefined) throw new Error('has no certificate');
    return readCertificate(certificate, authorityKeys);
  });
  if (Buffer.compare(rawKeyOf(createPublicKey(key)) as Buffer, member.publicKey) !== 0) {
    throw damaged(folder, `${FileName.CERTIFICATE} is not the certificate of ${FileName.KEY}`);
  }
  const seeds = read(folder, FileName.SEEDS, (file) =>
    linesOf(readText(file)).map((seed) => {
      parseLinkAddress(seed, 'tls');
      return seed;
    }),
  );
  const statements = existsSync(join(folder, FileName.STATEMENTS))
    ? read(folder, FileName.STATEMENTS, (file) => linesOf(readText(file)).map((line) => Buffer.from(line, 'base64')))
    : [];
  const authorityFile = join(folder, FileName.AUTHORITY_KEY);
  return {
    folder,
    key,
    certificate: member.der,
    member,
    authorities,
    authorityKeys,
    seeds,
    statements,
    authorityFile: existsSync(authorityFile) ? authorityFile : undefined,
  };
}

/**
 * Makes a folder of credentials. `extra` has further files by their names.
 * @throws ERR_STARLANE_CREDENTIALS when there is something at the path already, which is left alone, or it cannot be written
 */
export function writeCredentials(
  path: string,
  content: CredentialsContent,
  extra: Readonly<Record<string, string | Uint8Array>> = {},
): void {
  const folder = resolve(path);
  if (isTaken(folder)) throw damaged(folder, 'it is there already, and is not overwritten');
  // Beside it, as only within one file system a folder can be renamed. Another process may want the same folder.
  const fresh = `${folder}.new-${randomBytes(8).toString('hex')}`;
  try {
    mkdirSync(fresh, { recursive: true, mode: FOLDER_MODE });
    const files: Record<string, string | Uint8Array> = {
      [FileName.KEY]: content.key.export({ type: 'pkcs8', format: 'pem' }) as string,
      [FileName.CERTIFICATE]: `${pemOf(content.certificate)}\n`,
      [FileName.AUTHORITIES]: pemList(content.authorities),
      [FileName.SEEDS]: lines(content.seeds),
      [FileName.STATEMENTS]: statementLines(content.statements),
      ...extra,
    };
    for (const [name, text] of Object.entries(files)) writeSynced(join(fresh, name), text);
    syncFolder(fresh);
    renameSync(fresh, folder);
    syncFolder(dirname(folder));
    removeFresh(folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (isTaken(folder)) throw damaged(folder, 'it is there already, and is not overwritten', error);
    throw damaged(folder, `it cannot be written (${codeOf(error) ?? (error as Error).message})`, error);
  }
}

/** Removes what other attempts have left, or write in vain: the folder is there. */
function removeFresh(folder: string): void {
  try {
    for (const name of readdirSync(dirname(folder))) {
      const isFresh = name.startsWith(basename(folder)) && FRESH.test(name.slice(basename(folder).length));
      if (isFresh) rmSync(join(dirname(folder), name), { recursive: true, force: true });
    }
  } catch {
    // They do no harm.
  }
}

/** Replaces the certificate. @throws ERR_STARLANE_CREDENTIALS when it cannot be written; then the old one is still there */
export function updateCertificate(folder: string, certificate: Uint8Array): void {
  replace(folder, FileName.CERTIFICATE, `${pemOf(certificate)}\n`);
}

/** Replaces the authorities, the newest last. @throws as {@link updateCertificate} */
export function updateAuthorities(folder: string, authorities: readonly Uint8Array[]): void {
  replace(folder, FileName.AUTHORITIES, pemList(authorities));
}

/** Replaces revocations and successions. @throws as {@link updateCertificate} */
export function updateStatements(folder: string, statements: readonly Uint8Array[]): void {
  replace(folder, FileName.STATEMENTS, statementLines(statements));
}

/** Replaces the seeds. @throws as {@link updateCertificate} */
export function updateSeeds(folder: string, seeds: readonly string[]): void {
  replace(folder, FileName.SEEDS, lines(seeds));
}

/** Writes a file and does not return before it is on the disk. @throws as node:fs */
export function writeSynced(path: string, content: string | Uint8Array): void {
  const file = openSync(path, 'w', PRIVATE_MODE);
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes what was created or renamed in a folder last. @throws as node:fs */
export function syncFolder(folder: string): void {
  // Windows cannot open folders.
  if (process.platform === 'win32') return;
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function replace(path: string, name: string, content: string): void {
  const folder = resolve(path);
  const file = join(folder, name);
  try {
    writeSynced(`${file}.new`, content);
    renameSync(`${file}.new`, file);
    syncFolder(folder);
  } catch (error) {
    throw damaged(folder, `${name} cannot be written (${codeOf(error) ?? (error as Error).message})`, error);
  }
}

function checkFolder(folder: string): void {
  let mode: number;
  try {
    const stats = statSync(folder);
    if (!stats.isDirectory()) throw damaged(folder, 'it is not a folder');
    mode = stats.mode;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw damaged(folder, 'it is missing', error);
    throw error;
  }
  if (process.platform !== 'win32' && (mode & OTHERS) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0');
    throw damaged(folder, `it has mode ${octal}, must be 0700`);
  }
}

/** Returns whether there is something at a path that a new folder would replace. */
function isTaken(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch (error) {
    return codeOf(error) !== 'ENOENT';
  }
}

function read<Value>(folder: string, name: string, parse: (file: string) => Value): Value {
  try {
    return parse(join(folder, name));
  } catch (error) {
    const reason = codeOf(error) === 'ENOENT' ? 'is missing' : (error as Error).message;
    throw damaged(folder, `${name}: ${reason}`, error);
  }
}

function readText(file: string): string {
  if (statSync(file).size > MAX_FILE_BYTES) throw new Error(`has more than ${MAX_FILE_BYTES} bytes`);
  return readFileSync(file, 'utf8');
}

function certificatesIn(text: string): Buffer[] {
  return (text.match(CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem).raw);
}

/** Returns the raw key of the certificate of an authority, which has signed itself. */
export function authorityKeyOf(certificate: Uint8Array, where: string): Buffer {
  const read = new X509Certificate(Buffer.from(certificate));
  const key = rawKeyOf(read.publicKey);
  if (key === undefined || !read.ca || read.subject !== `CN=${authorityName(key)}` || !read.verify(read.publicKey)) {
    throw damaged(where, `${FileName.AUTHORITIES} has a certificate that is not that of an authority`);
  }
  return key;
}

function pemList(certificates: readonly Uint8Array[]): string {
  return certificates.map((certificate) => `${pemOf(certificate)}\n`).join('');
}

function statementLines(statements: readonly Uint8Array[]): string {
  return lines(statements.map((statement) => Buffer.from(statement).toString('base64')));
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}

function linesOf(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line.trim() !== '');
}

function damaged(folder: string, what: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_CREDENTIALS', `${folder}: ${what}`, cause);
}
