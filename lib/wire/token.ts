// The token that a person pastes to make a machine a member: `starlane1.` and base64url. Big-endian, pure.
//
//   token          u8 version | u32 expires at (s) | 16 network id | 8 issuer | 16 code
//                  | u8 n + n * (u8 length + host:port) | 4 checksum
//
// The checksum is the start of a SHA-256: a token that was cut off or mistyped says so, and costs no request. Addresses are of tls, where the
// joiner can check whom it talks to before it says anything. Each token has exactly one form, but for white space, as terminals wrap lines.

import { createHash } from 'node:crypto';
import {
  formatLinkAddress,
  type LinkAddress,
  NODE_ID_BYTES,
  type NodeId,
  nodeIdToBytes,
  parseLinkAddress,
} from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';
import { INSPECT } from '../util/runtime/shown.js';
import { exactly, FieldReader, shortText, uint } from './fields.js';
import { readNodeId } from './node-ids.js';
import { readText } from './text.js';

export const NETWORK_ID_BYTES = 16;
export const CODE_BYTES = 16;
/** As many as a node announces. */
export const MAX_TOKEN_ADDRESSES = 8;

const PREFIX = 'starlane1.';
const VERSION = 1;
const CHECKSUM_BYTES = 4;
const CHECKSUM_LABEL = 'starlane token 1\n';
/** Without `tls://`: longer host names do not exist (RFC 1035, section 2.3.4). */
const MAX_ADDRESS_BYTES = 249;
const MAX_TOKEN_BYTES =
  1 +
  4 +
  NETWORK_ID_BYTES +
  NODE_ID_BYTES +
  CODE_BYTES +
  1 +
  MAX_TOKEN_ADDRESSES * (1 + MAX_ADDRESS_BYTES) +
  CHECKSUM_BYTES;
/** What is looked at: a token with room for line ends. */
const MAX_TEXT_LENGTH = 4_096;

/** What a token says. */
export interface Token {
  /** In whole seconds. */
  readonly expiresAtMs: number;
  /** 22 characters of base64url. */
  readonly networkId: string;
  /** The only node that can redeem it. */
  readonly issuer: NodeId;
  /** 16 bytes that must not be shown. */
  readonly code: Buffer;
  /** 1 to 8 link addresses of tls, of nodes that pass on requests to the issuer. */
  readonly addresses: readonly string[];
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, ERR_STARLANE_ADDRESS for a wrong address or node id */
export function encodeToken({ expiresAtMs, networkId, issuer, code, addresses }: Token): string {
  const content = Buffer.concat([
    uint(1, VERSION, 'version'),
    uint(4, Math.ceil(expiresAtMs / 1_000), 'expiry'),
    exactly(NETWORK_ID_BYTES, Buffer.from(networkId, 'base64url'), 'network id'),
    nodeIdToBytes(issuer),
    exactly(CODE_BYTES, code, 'code'),
    uint(1, listSize(addresses), 'number of addresses'),
    ...addresses.map((address) => shortText(withoutScheme(address), MAX_ADDRESS_BYTES, 'address')),
  ]);
  return PREFIX + Buffer.concat([content, checksumOf(content)]).toString('base64url');
}

/**
 * Reads a token, with white space anywhere in it.
 * @throws StarlaneError ERR_STARLANE_TOKEN, which says what to do and nothing of the token
 */
export function decodeToken(text: string): Token {
  if (typeof text !== 'string') throw unreadable('it must be a string');
  if (text.length > MAX_TEXT_LENGTH) throw unreadable('it is longer than any token');
  const token = text.replace(/\s+/g, '');
  if (token === '') throw unreadable('it is empty');
  if (!token.startsWith(PREFIX)) {
    if (/^starlane\d+\./.test(token)) throw unreadable('it was made by a later version of Starlane; update this one');
    throw unreadable(`it does not begin with ${PREFIX}`);
  }
  const digits = token.slice(PREFIX.length);
  if (!/^[\w-]*$/.test(digits)) throw unreadable('it has characters that no token has; copy it again');
  const bytes = Buffer.from(digits, 'base64url');
  const content = bytes.subarray(0, -CHECKSUM_BYTES);
  // One spelling for each: the decoder ignores bits behind the last byte.
  const isWhole = bytes.length > CHECKSUM_BYTES && bytes.toString('base64url') === digits;
  if (!isWhole || !checksumOf(content).equals(bytes.subarray(-CHECKSUM_BYTES))) {
    throw unreadable('it was cut off or mistyped; copy all of it again');
  }
  try {
    return readContent(content);
  } catch {
    throw unreadable('it is malformed');
  }
}

/** @throws */
function readContent(content: Buffer): Token {
  const fields = new FieldReader(content);
  if (content.length > MAX_TOKEN_BYTES - CHECKSUM_BYTES || fields.uint(1) !== VERSION) throw unreadable('version');
  const expiresAtMs = fields.uint(4) * 1_000;
  const networkId = fields.copy(NETWORK_ID_BYTES).toString('base64url');
  const issuer = fields.take(NODE_ID_BYTES, readNodeId);
  const code = hidden(fields.copy(CODE_BYTES));
  const addresses = fields.list(MAX_TOKEN_ADDRESSES, () => fields.take(fields.uint(1), readAddress));
  listSize(addresses);
  if (fields.left > 0) throw unreadable('bytes at the end');
  return { expiresAtMs, networkId, issuer, code, addresses };
}

function readAddress(bytes: Uint8Array, start: number, end: number): string {
  const text = `tls://${readText(bytes, start, end)}`;
  const address = formatLinkAddress(checked(text));
  if (address !== text || end - start > MAX_ADDRESS_BYTES) throw unreadable('address');
  return address;
}

/** Returns `host:port`. */
function withoutScheme(text: string): string {
  return formatLinkAddress(checked(text)).slice('tls://'.length);
}

function checked(text: string): LinkAddress {
  const address = parseLinkAddress(text, 'tls');
  if (address.scheme !== 'tls' || address.host === undefined || address.port === 0) {
    throw starlaneError(
      'ERR_STARLANE_ADDRESS',
      `${JSON.stringify(text)}: a token needs addresses of tls with host and port`,
    );
  }
  return address;
}

function listSize({ length }: readonly string[]): number {
  if (length < 1 || length > MAX_TOKEN_ADDRESSES) {
    throw starlaneError('ERR_STARLANE_ADDRESS', `a token has 1 to ${MAX_TOKEN_ADDRESSES} addresses, not ${length}`);
  }
  return length;
}

function checksumOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(CHECKSUM_LABEL).update(content).digest().subarray(0, CHECKSUM_BYTES);
}

/** Hides a code when an object that refers to it is printed. */
export function hidden(code: Buffer): Buffer {
  const show = () => '<code>';
  return Object.defineProperties(code, { [INSPECT]: { value: show }, toJSON: { value: show } });
}

function unreadable(reason: string): StarlaneError {
  return starlaneError('ERR_STARLANE_TOKEN', reason);
}
