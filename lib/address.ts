// The grammar of names and addresses: node ids, service addresses (virtual) and link addresses (physical).
//
//   service address   name | name:port | :port | @nodeId:port              port 0..4294967295; a name may be instance.name
//   link address      tcp://host:port | tls://host:port | host:port        port 0..65535
//                     | :port (every interface) | unix:/path
//
// Names of services come from users and from peers. They are data: keep them in Maps, never as keys of objects.

import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { type StarlaneError, starlaneError } from './errors.js';

/** 64 bits as 11 characters of base64url. */
export type NodeId = string;

export const NODE_ID_BYTES = 8;

/** Virtual ports are 32 bits, as in astranet. */
export const MAX_VIRTUAL_PORT = 0xffff_ffff;

/** The longest name of a service, in bytes of UTF-8: its length is encoded in one byte. */
const MAX_SERVICE_NAME_BYTES = 255;

/** The longest name of an instance: that of a label in DNS, and of a host in StatefulSets. All characters have one byte. */
export const MAX_INSTANCE_NAME_BYTES = 63;

/** The longest link address, in bytes of UTF-8: its length is encoded in one byte. */
export const MAX_LINK_ADDRESS_BYTES = 255;

// Eleven characters hold 66 bits, so the last one has only every fourth value.
const NODE_ID = /^[\w-]{10}[AEIMQUYcgkosw048]$/;

/** Returns whether this is a node id: 11 characters of base64url for 8 bytes. */
export function isNodeId(text: unknown): text is NodeId {
  return typeof text === 'string' && text.length === 11 && NODE_ID.test(text);
}

/** Returns the node id of a raw Ed25519 public key of 32 bytes: the first 8 bytes of its SHA-256. */
export function nodeIdFromPublicKey(raw32: Uint8Array): NodeId {
  if (raw32.length !== 32) throw starlaneError('ERR_STARLANE_ARGUMENT', 'a raw public key must have 32 bytes');
  return nodeIdFromBytes(createHash('sha256').update(raw32).digest());
}

/** @throws StarlaneError ERR_STARLANE_ADDRESS when `id` is not a node id. */
export function nodeIdToBytes(id: NodeId): Buffer {
  if (!isNodeId(id)) throw addressError(id, 'a node id must be 8 bytes in 11 characters of base64url');
  return Buffer.from(id, 'base64url');
}

/** Reads the 8 bytes at `offset`. */
export function nodeIdFromBytes(bytes: Uint8Array, offset = 0): NodeId {
  if (offset + NODE_ID_BYTES > bytes.length)
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'a node id must have 8 bytes');
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('base64url', offset, offset + NODE_ID_BYTES);
}

/** The address of a dial or of a bind. */
export type ServiceAddress =
  /** By name; `port` undefined means any port (dial), or every port (bind). */
  | { readonly kind: 'service'; readonly service: string; readonly port: number | undefined }
  | { readonly kind: 'port'; readonly port: number }
  | { readonly kind: 'node'; readonly nodeId: NodeId; readonly port: number };

// Matches nearly every name, which saves the check of Unicode properties and the count of bytes.
const PLAIN_NAME = /^[A-Za-z0-9_][\w.-]{0,254}$/;
const NOT_IN_NAME = /[\p{Cc}\p{Cs}\p{White_Space}:]/u;

/**
 * Returns whether this is a name for a service: 1 to 255 bytes of UTF-8, no `@` at the start, and no `:`, white space, control
 * character or lone surrogate anywhere.
 */
export function isServiceName(text: string): boolean {
  if (PLAIN_NAME.test(text)) return true;
  return (
    text.length > 0 &&
    text[0] !== '@' &&
    text.length <= MAX_SERVICE_NAME_BYTES &&
    Buffer.byteLength(text) <= MAX_SERVICE_NAME_BYTES &&
    !NOT_IN_NAME.test(text)
  );
}

const INSTANCE_NAME = /^[A-Za-z0-9_][\w-]{0,62}$/;

/** Returns whether this is a name for an instance: 1 to 63 letters, digits, `_` and `-`, the first of which is no `-`. */
export function isInstanceName(text: unknown): text is string {
  return typeof text === 'string' && INSTANCE_NAME.test(text);
}

/** Returns the instance and the service that `0.kafka` stands for; undefined for a name that can only be that of a service. */
export function splitInstance(name: string): { readonly instance: string; readonly service: string } | undefined {
  const dot = name.indexOf('.');
  if (dot < 1 || dot === name.length - 1) return undefined;
  const instance = name.slice(0, dot);
  const service = name.slice(dot + 1);
  return isInstanceName(instance) && isServiceName(service) ? { instance, service } : undefined;
}

/** Returns whether this is a port of a service: an integer from 0 to 4294967295. 0 means "pick a free one" and is for binding only. */
export function isVirtualPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_VIRTUAL_PORT;
}

/**
 * Reads `name`, `name:port`, `:port` or `@nodeId:port`.
 * @throws StarlaneError ERR_STARLANE_ADDRESS
 */
export function parseServiceAddress(text: string): ServiceAddress {
  if (typeof text !== 'string') throw addressError(text, 'must be a string');
  const colon = text.indexOf(':');
  const name = colon < 0 ? text : text.slice(0, colon);
  const port = colon < 0 ? undefined : parsePort(text.slice(colon + 1), MAX_VIRTUAL_PORT);
  if (colon >= 0 && port === undefined) throw addressError(text, 'the port must be a number from 0 to 4294967295');
  if (name === '') {
    if (port === undefined) throw addressError(text, 'must not be empty');
    return { kind: 'port', port };
  }
  if (name[0] === '@') {
    const nodeId = name.slice(1);
    if (!isNodeId(nodeId)) throw addressError(text, 'a node id must be 11 characters of base64url');
    if (port === undefined) throw addressError(text, 'a node id needs a port: @nodeId:port');
    return { kind: 'node', nodeId, port };
  }
  if (!isServiceName(name)) {
    throw addressError(text, 'a name must have 1 to 255 bytes, and no colon, white space or control character');
  }
  return { kind: 'service', service: name, port };
}

/** Returns the text that {@link parseServiceAddress} reads back. For specs and the fuzzer. */
export function formatServiceAddress(address: ServiceAddress): string {
  switch (address.kind) {
    case 'service':
      return address.port === undefined ? address.service : `${address.service}:${address.port}`;
    case 'port':
      return `:${address.port}`;
    case 'node':
      return `@${address.nodeId}:${address.port}`;
  }
}

/** Where a node listens for links, or dials one. */
export type LinkAddress =
  /** No `host`: every interface when listening, this machine when joining. An IPv6 host has no brackets here. */
  | { readonly scheme: 'tcp' | 'tls'; readonly host?: string; readonly port: number; readonly path?: undefined }
  | { readonly scheme: 'unix'; readonly path: string; readonly host?: undefined; readonly port?: undefined };

const HOST = /^[^\p{Cc}\p{Cs}\p{White_Space}/?#@:[\]\\%]+$/u;

/**
 * Reads `tcp://host:port`, `tls://host:port`, `unix:/path`, and with `defaultScheme` also `host:port`, `:port` and
 * `[::1]:port`. Port 0 is for listening on a free port.
 * @throws StarlaneError ERR_STARLANE_ADDRESS
 */
export function parseLinkAddress(text: string, defaultScheme: 'tcp' | 'tls' = 'tcp'): LinkAddress {
  if (typeof text !== 'string') throw addressError(text, 'must be a string');
  if (text.length > MAX_LINK_ADDRESS_BYTES || Buffer.byteLength(text) > MAX_LINK_ADDRESS_BYTES) {
    throw addressError(text, `must not be longer than ${MAX_LINK_ADDRESS_BYTES} bytes`);
  }
  if (text.startsWith('unix:')) return { scheme: 'unix', path: unixPath(text) };

  let scheme = defaultScheme;
  let authority = text;
  const separator = text.indexOf('://');
  if (separator >= 0) {
    const named = text.slice(0, separator);
    if (named !== 'tcp' && named !== 'tls') throw addressError(text, 'the scheme must be tcp, tls or unix');
    scheme = named;
    authority = text.slice(separator + 3);
  }
  const colon = authority.lastIndexOf(':');
  const port = colon < 0 ? undefined : parsePort(authority.slice(colon + 1), 65_535);
  if (port === undefined) throw addressError(text, 'must end with a port from 0 to 65535');
  return { scheme, host: linkHost(authority.slice(0, colon), text), port };
}

/** Returns the text that {@link parseLinkAddress} reads back. */
export function formatLinkAddress(address: LinkAddress): string {
  if (address.scheme === 'unix') return `unix:${address.path}`;
  const { host = '' } = address;
  return `${address.scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
}

function unixPath(text: string): string {
  const path = text.slice('unix:'.length);
  // Clearly a path, as `unix:80` would be port 80 of a machine called unix. Backslashes: pipes of Windows.
  if (!/^(\/|\.\.?\/|\\\\)/.test(path)) throw addressError(text, 'a path must begin with /, ./ or ../');
  if (/[\p{Cc}\p{Cs}]/u.test(path)) throw addressError(text, 'a path must not contain control characters');
  return path;
}

function linkHost(host: string, text: string): string | undefined {
  if (host === '') return undefined;
  if (host[0] === '[') {
    const inner = host.slice(1, -1);
    if (host.at(-1) !== ']' || !isIPv6(inner)) throw addressError(text, 'brackets must contain an IPv6 address');
    return inner;
  }
  if (host.includes(':')) throw addressError(text, 'an IPv6 address must be in brackets');
  if (!HOST.test(host)) throw addressError(text, 'the host must be a valid host name');
  return host;
}

/** Returns the port, or undefined. Each number has one spelling: no sign, no leading zeros, no fraction. */
function parsePort(text: string, max: number): number | undefined {
  if (!/^(0|[1-9]\d{0,9})$/.test(text)) return undefined;
  const port = Number(text);
  return port <= max ? port : undefined;
}

function addressError(text: unknown, reason: string): StarlaneError {
  const shown =
    typeof text === 'string' ? JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text) : typeof text;
  return starlaneError('ERR_STARLANE_ADDRESS', `${shown}: ${reason}`);
}
