// The head of a bundle: the manifest and its signature, the first two files of the tar. It is read and verified before anything else is.

import { starlaneError } from '../../../errors.js';
import { isSignedBy, parseSigner, SIGNATURE_BYTES, type Signer, type SigningKey } from '../signer.js';
import { MAX_MANIFEST_BYTES, type Manifest, parseManifest } from './manifest.js';
import { BLOCK_BYTES, headerOf, padding, sizeIn } from './tar-header.js';

const MANIFEST_FILE = 'manifest.json';
const SIGNATURE_FILE = 'signature.json';
const MODE = 0o644;
const MAX_SIGNATURE_FILE_BYTES = 512;
export const MAX_HEAD_BYTES = MAX_MANIFEST_BYTES + 5 * BLOCK_BYTES;

/** A manifest that was not read yet. */
export interface SignedBytes {
  /** As it was signed. */
  readonly bytes: Buffer;
  readonly signer: string;
  readonly signature: Buffer;
}

export interface BundleHead extends SignedBytes {
  readonly manifest: Manifest;
}

/** Returns the bytes of a head. */
export function encodeHead(manifest: Manifest, key: SigningKey): Buffer {
  const bytes = Buffer.from(JSON.stringify(manifest));
  const signature = { key: key.signer, signature: key.sign(bytes).toString('base64url') };
  return Buffer.concat([
    ...fileBlocks(MANIFEST_FILE, bytes),
    ...fileBlocks(SIGNATURE_FILE, Buffer.from(JSON.stringify(signature))),
  ]);
}

function fileBlocks(path: string, content: Buffer): Buffer[] {
  return [headerOf({ path, size: content.length, mode: MODE }), content, Buffer.alloc(padding(content.length))];
}

/** Takes the pieces of a bundle up to the end of its head. */
export class HeadReader {
  private bytes: Buffer = Buffer.alloc(0);

  /** @param verify throws when no accepted key has signed it: the manifest is not looked at then, as that takes time */
  constructor(private readonly verify: (signed: SignedBytes) => void = () => {}) {}

  /**
   * Returns the head, and the bytes behind it; undefined while it is not complete.
   * @throws ERR_STARLANE_BUNDLE; what `verify` throws
   */
  push(piece: Uint8Array): { readonly head: BundleHead; readonly rest: Buffer } | undefined {
    this.bytes = this.bytes.length === 0 ? Buffer.from(piece) : Buffer.concat([this.bytes, piece]);
    const manifest = this.fileAt(0, MANIFEST_FILE, MAX_MANIFEST_BYTES);
    if (manifest === undefined) return undefined;
    const signed = this.fileAt(manifest.end, SIGNATURE_FILE, MAX_SIGNATURE_FILE_BYTES);
    if (signed === undefined) return undefined;
    const { content: bytes } = manifest;
    const found: SignedBytes = { bytes, ...signatureIn(signed.content) };
    this.verify(found);
    return { head: { ...found, manifest: parseManifest(bytes) }, rest: this.bytes.subarray(signed.end) };
  }

  private fileAt(at: number, path: string, maxBytes: number): { content: Buffer; end: number } | undefined {
    const header = this.bytes.subarray(at, at + BLOCK_BYTES);
    if (header.length < BLOCK_BYTES) return undefined;
    const size = sizeIn(header, path, MODE);
    if (size === undefined || size > maxBytes)
      throw starlaneError('ERR_STARLANE_BUNDLE', `it has no ${path} where that must be, or one that is too long`);
    const begin = at + BLOCK_BYTES;
    const end = begin + size + padding(size);
    if (this.bytes.length < end) return undefined;
    if (this.bytes.subarray(begin + size, end).some((byte) => byte !== 0))
      throw starlaneError('ERR_STARLANE_BUNDLE', `there is something behind ${path}`);
    return { content: Buffer.from(this.bytes.subarray(begin, begin + size)), end };
  }
}

function signatureIn(content: Buffer): Pick<BundleHead, 'signer' | 'signature'> {
  let value: { key?: unknown; signature?: unknown } | null;
  try {
    value = JSON.parse(content.toString());
  } catch {
    value = null;
  }
  const { key, signature } = value ?? {};
  const bytes = Buffer.from(typeof signature === 'string' ? signature : '', 'base64url');
  if (typeof key !== 'string' || bytes.length !== SIGNATURE_BYTES || bytes.toString('base64url') !== signature)
    throw starlaneError('ERR_STARLANE_BUNDLE', 'its signature has no such form');
  return { signer: key, signature: bytes };
}

/** What a head must fit. */
export interface HeadTerms {
  /** The name for which it was sent. */
  readonly app: string;
  /** The keys that the host accepts. */
  readonly signers: readonly Signer[];
  readonly nowMs: number;
}

/**
 * Checks the signature, the app that it is for, and its time.
 * @throws ERR_STARLANE_BUNDLE_SIGNATURE, ERR_STARLANE_BUNDLE
 */
export function verifyHead({ manifest, ...signed }: BundleHead, { app, signers, nowMs }: HeadTerms): void {
  verifySignature(signed, signers);
  if (manifest.app !== app) throw starlaneError('ERR_STARLANE_BUNDLE', `it is for ${manifest.app}, not for ${app}`);
  if (manifest.expiresMs <= nowMs) throw starlaneError('ERR_STARLANE_BUNDLE', 'it has expired');
  if (manifest.expiresMs <= manifest.createdMs)
    throw starlaneError('ERR_STARLANE_BUNDLE', 'it expires before it was made');
}

/** Checks that a key that the host accepts made the signature. @throws ERR_STARLANE_BUNDLE_SIGNATURE */
export function verifySignature({ bytes, signer, signature }: SignedBytes, signers: readonly Signer[]): void {
  const accepted = signers.find(({ text }) => text === signer);
  if (accepted !== undefined && isSignedBy(accepted, bytes, signature)) return;
  throw starlaneError(
    'ERR_STARLANE_BUNDLE_SIGNATURE',
    accepted === undefined ? 'the host does not accept the key' : 'it does not fit',
  );
}

/** Whether the signature fits its key, not whether a host accepts that key: for the sender of a bundle. */
export function isSound({ bytes, signer, signature }: BundleHead): boolean {
  const key = parseSigner(signer);
  return key !== undefined && isSignedBy(key, bytes, signature);
}
