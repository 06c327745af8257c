// Messages of the control stream: what neighbours tell each other. Big-endian, pure.
//
//   message        u32 length | u8 type | body                  the length counts type and body
//   HELLO          u16 version | u16 least version | 8 node id | 32 public key | 16 boot id | u8 role | u8 flags
//                  | u32 capabilities | u8 n + n * 8 env digests | u8 n + n * (u8 n + listen address) | 16 nonce
//   SERVICE_ADD    u8 n + name | u32 port | u8 weight | u16 n + meta
//   SERVICE_REMOVE u8 n + name | u32 port
//   SYNCED         empty: the list of services known at the start is complete
//   GOODBYE        u8 code | u8 n + reason
//
// A reader skips types that it does not know, and bytes behind the fields that it knows, so that later versions can
// add both.

import { createHash } from 'node:crypto';
import { MAX_LINK_ADDRESS_BYTES, NODE_ID_BYTES, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../address.js';
import { starlaneError } from '../errors.js';
import type { NodeRole } from '../options.js';
import { FieldReader } from './fields.js';
import { encodeReason, encodeServiceName, malformed, readReason, readServiceName, readText } from './text.js';

/** The protocol of the control stream that this version speaks, and the oldest that it understands. */
export const PROTOCOL_VERSION = 1;
export const MIN_PROTOCOL_VERSION = 1;

/** The longest message, type and body together; the bound of what a reader holds. */
export const MAX_MESSAGE_BYTES = 64 * 1024;
export const MAX_ENV_DIGESTS = 16;
export const MAX_LISTEN_ADDRESSES = 8;
export const MAX_META_BYTES = 4096;
export const NONCE_BYTES = 16;

const PUBLIC_KEY_BYTES = 32;
const BOOT_ID_BYTES = 16;
const ENV_DIGEST_BYTES = 8;
const LENGTH_BYTES = 4;
const NO_BYTES = Buffer.alloc(0);
const UUID_PARTS = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/;

/** The numbers are the wire: append only. */
export const MessageType = {
  HELLO: 1,
  SERVICE_ADD: 2,
  SERVICE_REMOVE: 3,
  SYNCED: 4,
  GOODBYE: 5,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Why a link is refused or closed. The numbers are the wire: append only. */
export const GoodbyeCode = {
  /** The node closes. */
  NORMAL: 0,
  WRONG_VERSION: 1,
  /** The link leads back to the node itself. */
  SELF_LINK: 2,
  /** There is a link to this peer already. */
  DUPLICATE: 3,
  /** Too many links. */
  LIMIT: 4,
  HANDSHAKE_REFUSED: 5,
  /** A message could not be understood. */
  MALFORMED: 6,
  /** Too many links, and the peer has others. */
  SHED: 7,
} as const;
export type GoodbyeCode = (typeof GoodbyeCode)[keyof typeof GoodbyeCode];

/** The first message of either side. */
export interface Hello {
  readonly version: number;
  /** The oldest version that the sender understands. */
  readonly minVersion: number;
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. That the node id is its hash is for the handshake to check. */
  readonly publicKey: Uint8Array;
  /** A UUID, new at every start of a node. */
  readonly bootId: string;
  /** A role of a later version is read as 'peer'. */
  readonly role: NodeRole;
  /** Bits for later versions, 0..255. */
  readonly flags: number;
  /** Bits for later versions, 0..4294967295. */
  readonly capabilities: number;
  /** From {@link envDigests}: nodes meet when they have one in common. */
  readonly envDigests: readonly string[];
  /** Link addresses under which the sender can be joined. */
  readonly listenAddresses: readonly string[];
  /** 16 random bytes, new for every link. */
  readonly nonce: Uint8Array;
}

/** A bind by name. A bind on a bare port is told to nobody. */
export interface ServiceAdd {
  readonly service: string;
  /** 0: it answers for any port. */
  readonly port: number;
  /** 0..255: how large a share of random dials it wants, against other instances. */
  readonly weight: number;
  /** Any JSON of at most 4096 bytes; undefined when there is none. */
  readonly meta?: unknown;
}

export interface ServiceRemove {
  readonly service: string;
  readonly port: number;
}

export interface Goodbye {
  /** One of {@link GoodbyeCode}, or the number of a later version. */
  readonly code: number;
  /** At most 255 bytes of UTF-8; a longer one is cut. */
  readonly reason: string;
}

export type Message =
  | ({ readonly type: typeof MessageType.HELLO } & Hello)
  | ({ readonly type: typeof MessageType.SERVICE_ADD } & ServiceAdd)
  | ({ readonly type: typeof MessageType.SERVICE_REMOVE } & ServiceRemove)
  | { readonly type: typeof MessageType.SYNCED }
  | ({ readonly type: typeof MessageType.GOODBYE } & Goodbye);

/** The place in this list is the number on the wire: append only. */
const ROLES: readonly NodeRole[] = ['peer', 'client', 'server', 'router'];

/**
 * What a HELLO says about envs without saying their names: the first 8 bytes of SHA-256 of each, as 16 hex digits.
 * No env at all is the env with the empty name.
 */
export function envDigests(env: readonly string[]): string[] {
  const names = env.length === 0 ? [''] : env;
  return names.map((name) =>
    createHash('sha256')
      .update(name)
      .digest('hex')
      .slice(0, 2 * ENV_DIGEST_BYTES),
  );
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, as all encoders here do */
export function encodeHello(hello: Hello): Buffer {
  const { envDigests: digests, listenAddresses: addresses } = hello;
  if (digests.length > MAX_ENV_DIGESTS) throw malformed(`more than ${MAX_ENV_DIGESTS} envs`);
  if (addresses.length > MAX_LISTEN_ADDRESSES) throw malformed(`more than ${MAX_LISTEN_ADDRESSES} listen addresses`);
  const role = ROLES.indexOf(hello.role);
  if (role < 0) throw malformed('unknown role');
  return encodeMessage(MessageType.HELLO, [
    uint(2, hello.version, 'version'),
    uint(2, hello.minVersion, 'least version'),
    nodeIdToBytes(hello.nodeId),
    exactly(PUBLIC_KEY_BYTES, hello.publicKey, 'public key'),
    exactly(BOOT_ID_BYTES, Buffer.from(hello.bootId.replaceAll('-', ''), 'hex'), 'boot id'),
    uint(1, role, 'role'),
    uint(1, hello.flags, 'flags'),
    uint(4, hello.capabilities, 'capabilities'),
    uint(1, digests.length, 'envs'),
    ...digests.map((digest) => exactly(ENV_DIGEST_BYTES, Buffer.from(digest, 'hex'), 'env digest')),
    uint(1, addresses.length, 'listen addresses'),
    ...addresses.map((address) => shortText(address, MAX_LINK_ADDRESS_BYTES, 'listen address')),
    exactly(NONCE_BYTES, hello.nonce, 'nonce'),
  ]);
}

export function encodeServiceAdd(add: ServiceAdd): Buffer {
  const meta = encodeMeta(add.meta);
  return encodeMessage(MessageType.SERVICE_ADD, [
    serviceName(add.service),
    port(add.port),
    uint(1, add.weight, 'weight'),
    uint(2, meta.length, 'meta'),
    meta,
  ]);
}

export function encodeServiceRemove(remove: ServiceRemove): Buffer {
  return encodeMessage(MessageType.SERVICE_REMOVE, [serviceName(remove.service), port(remove.port)]);
}

export function encodeSynced(): Buffer {
  return encodeMessage(MessageType.SYNCED, []);
}

export function encodeGoodbye(goodbye: Goodbye): Buffer {
  const reason = encodeReason(goodbye.reason);
  return encodeMessage(MessageType.GOODBYE, [uint(1, goodbye.code, 'code'), uint(1, reason.length, 'reason'), reason]);
}

/** A whole message around a body in parts. Its own function so that specs can make messages of any type. */
export function encodeMessage(type: number, body: readonly Uint8Array[]): Buffer {
  let length = 1;
  for (const part of body) length += part.length;
  if (length > MAX_MESSAGE_BYTES) throw malformed(`a message of ${length} bytes`);
  return Buffer.concat([uint(LENGTH_BYTES, length, 'length'), uint(1, type, 'type'), ...body]);
}

/**
 * Reads the type and body of one message; undefined when the type is not known.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when the body is malformed
 */
export function decodeMessage(typeAndBody: Uint8Array): Message | undefined {
  const fields = new FieldReader(typeAndBody);
  const type = fields.uint(1);
  switch (type) {
    case MessageType.HELLO:
      return decodeHello(fields);
    case MessageType.SERVICE_ADD: {
      const service = decodeServiceName(fields);
      return { type, service, port: fields.uint(4), weight: fields.uint(1), meta: decodeMeta(fields) };
    }
    case MessageType.SERVICE_REMOVE:
      return { type, service: decodeServiceName(fields), port: fields.uint(4) };
    case MessageType.SYNCED:
      return { type };
    case MessageType.GOODBYE:
      return { type, code: fields.uint(1), reason: fields.take(fields.uint(1), readReason) };
    default:
      return undefined;
  }
}

function decodeHello(fields: FieldReader): Message {
  return {
    type: MessageType.HELLO,
    version: fields.uint(2),
    minVersion: fields.uint(2),
    nodeId: nodeIdFromBytes(fields.copy(NODE_ID_BYTES)),
    publicKey: fields.copy(PUBLIC_KEY_BYTES),
    bootId: fields.copy(BOOT_ID_BYTES).toString('hex').replace(UUID_PARTS, '$1-$2-$3-$4-$5'),
    role: ROLES[fields.uint(1)] ?? 'peer',
    flags: fields.uint(1),
    capabilities: fields.uint(4),
    envDigests: fields.list(MAX_ENV_DIGESTS, () => fields.copy(ENV_DIGEST_BYTES).toString('hex')),
    listenAddresses: fields.list(MAX_LISTEN_ADDRESSES, () => fields.take(fields.uint(1), readText)),
    nonce: fields.copy(NONCE_BYTES),
  };
}

function decodeServiceName(fields: FieldReader): string {
  const length = fields.uint(1);
  if (length === 0) throw malformed('a service without a name');
  return fields.take(length, readServiceName);
}

function decodeMeta(fields: FieldReader): unknown {
  const length = fields.uint(2);
  if (length > MAX_META_BYTES) throw malformed(`meta of ${length} bytes`);
  if (length === 0) return undefined;
  const json = fields.take(length, readText);
  try {
    return JSON.parse(json);
  } catch {
    throw malformed('meta is not JSON');
  }
}

function encodeMeta(meta: unknown): Buffer {
  if (meta === undefined) return NO_BYTES;
  let json: string | undefined;
  try {
    json = JSON.stringify(meta);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_MESSAGE', 'meta is not JSON', error);
  }
  if (json === undefined) throw malformed('meta is not JSON');
  const bytes = Buffer.from(json);
  if (bytes.length > MAX_META_BYTES) throw malformed(`meta of ${bytes.length} bytes`);
  return bytes;
}

function serviceName(service: string): Buffer {
  const bytes = encodeServiceName(service);
  return Buffer.concat([uint(1, bytes.length, 'name'), bytes]);
}

function port(value: number): Buffer {
  return uint(4, value, 'port');
}

function shortText(text: string, maxBytes: number, what: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > maxBytes) throw malformed(`${what} of ${bytes.length} bytes`);
  return Buffer.concat([uint(1, bytes.length, what), bytes]);
}

function exactly(length: number, bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length !== length) throw malformed(`${what} of ${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function uint(size: 1 | 2 | 4, value: number, what: string): Buffer {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) throw malformed(`${what} ${value}`);
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}
