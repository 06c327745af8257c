// Records: signed statements of a node about itself, which other nodes pass on unchanged. Big-endian, pure.
//
//   header         u8 version | u8 kind | u16 flags | 32 public key | 16 boot id | u32 epoch | u32 seq | u32 life (s)
//   NODE           header | u8 n + n * 8 env digests | u8 n + n * (u8 n + link address) | u8 n + n * (8 peer id | u8 cost)
//                  | u16 n + extension | 64 signature
//   SHARD          header | u16 shard | u16 shards | u16 n + n * service entry | u16 n + extension | 64 signature
//   service entry  u8 n + name | u32 port | u8 weight | u16 n + meta as JSON
//   extension      fields of u8 tag | u16 n + content
//   INSTANCES      of a SHARD: (u16 index of the service | u8 n + name of the instance) ...
//
// Each content has exactly one form: lists whose order has no meaning are sorted, and a reader accepts nothing else. Later versions add
// to the extension, where a reader skips whatever it does not understand: nodes of all versions have to keep the same records. The
// signature covers a fixed text and everything before it.

import { hash } from 'node:crypto';
import {
  isInstanceName,
  MAX_INSTANCE_NAME_BYTES,
  MAX_LINK_ADDRESS_BYTES,
  NODE_ID_BYTES,
  type NodeId,
  nodeIdFromBytes,
  nodeIdToBytes,
} from '../address.js';
import { type StarlaneError, starlaneError } from '../errors.js';
import { copyOf } from '../util/buffers.js';
import { RecentMap } from '../util/recent-map.js';
import { CircuitAbility } from './circuit-proof.js';
import {
  bootIdBytes,
  bootIdFromBytes,
  ENV_DIGEST_BYTES,
  envDigestBytes,
  exactly,
  FieldReader,
  readUint32,
  shortText,
  uint,
} from './fields.js';
import { encodeServiceName, malformed, readServiceName, readText } from './text.js';

const RECORD_VERSION = 1;

/** The numbers are the wire: append only. */
export const RecordKind = { NODE: 1, SHARD: 2 } as const;

/** Tags of the fields of an extension. The numbers are the wire: append only. */
const ExtensionTag = { INSTANCES: 1 } as const;

/** Bits of `flags` of a node. The numbers are the wire: append only. */
export const NodeFlag = {
  /** Circuits of others may pass through. */
  RELAY: 1,
  /** It takes no new circuits. */
  DRAIN: 2,
  /** It cannot keep up. */
  OVERLOAD: 4,
  /** The last record of this run. */
  LEAVING: 8,
  ...CircuitAbility,
} as const;

export const MAX_NODE_RECORD_BYTES = 4 * 1024;
export const MAX_SHARD_RECORD_BYTES = 48 * 1024;
const MAX_RECORD_ENV_DIGESTS = 16;
export const MAX_RECORD_ADDRESSES = 8;
export const MAX_RECORD_LINKS = 128;
export const MAX_SHARDS = 512;
export const MAX_SHARD_SERVICES = 512;
const MAX_META_BYTES = 4096;

/** A day: a record that is not refreshed has an end. */
export const MAX_LIFE_S = 86_400;

/** The cost that means: do not use. */
export const COST_UNUSABLE = 0xff;

const PUBLIC_KEY_BYTES = 32;
const BOOT_ID_BYTES = 16;
const SIGNATURE_BYTES = 64;
const KEY_AT = 4;
const BOOT_AT = KEY_AT + PUBLIC_KEY_BYTES;
const EPOCH_AT = BOOT_AT + BOOT_ID_BYTES;
const RECORD_HEADER_BYTES = EPOCH_AT + 12;
const NO_BYTES = Buffer.alloc(0);
const DOMAIN = Buffer.from('starlane record 1\n');

/** The key and the version of a record, which are compared. */
export interface RecordVersion {
  /** The node id, and for a shard `node id/shard/shards`. */
  readonly key: string;
  readonly epoch: number;
  readonly seq: number;
  /** The first 8 bytes of the SHA-256 of the whole record. */
  readonly hashHigh: number;
  readonly hashLow: number;
}

interface RecordHeader extends RecordVersion {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes; the node id is its hash. */
  readonly publicKey: Uint8Array;
  /** A UUID of the run of the node that wrote it. */
  readonly bootId: string;
  /** How long it is kept when its node cannot be reached, in s. */
  readonly lifeS: number;
  readonly flags: number;
  /** All of it, signature included. Not to be written to. */
  readonly bytes: Buffer;
}

export interface RecordLink {
  readonly peerId: NodeId;
  /** See {@link costToByte}. */
  readonly cost: number;
}

export interface NodeRecord extends RecordHeader {
  readonly kind: typeof RecordKind.NODE;
  /** Sorted. */
  readonly envDigests: readonly string[];
  /** Link addresses, the best first. */
  readonly addresses: readonly string[];
  /** Sorted by peer id. */
  readonly links: readonly RecordLink[];
}

/** A service as its origin announces it: a bind by name. A bind to a bare port is not announced. */
export interface ServiceEntry {
  readonly service: string;
  /** 0: it answers for any port. */
  readonly port: number;
  /** 0..255: how large a share of random dials it wants, against other instances. */
  readonly weight: number;
  /** Any JSON of at most 4096 bytes; undefined when there is none. */
  readonly meta?: unknown;
  /** The name of this instance among those of the service, if it has one: see isInstanceName. */
  readonly instance?: string | undefined;
}

export interface ShardRecord extends RecordHeader {
  readonly kind: typeof RecordKind.SHARD;
  readonly shard: number;
  /** How many shards the services of the node are spread over: a power of two. */
  readonly shards: number;
  /** Sorted by name and port. */
  readonly services: readonly ServiceEntry[];
}

export type MeshRecord = NodeRecord | ShardRecord;

/** Entries that are kept; the oldest goes first. A record that nobody holds any more leaves an entry of about 100 bytes until then. */
const MAX_SIGNED_RECORDS = 8_192;
/** Bytes of the signature that find an entry. All bytes of the record are then compared. */
const SIGNED_KEY_BYTES = 16;

/**
 * Records whose signatures this process has checked. The same record comes in over every link, and in a process of many nodes
 * over the links of each of them. A record found here by its bytes is not read and checked again, and all nodes share one copy.
 */
export class SignedRecords<R extends { readonly bytes: Buffer }> {
  private readonly known: RecentMap<string, WeakRef<R>>;

  constructor(max = MAX_SIGNED_RECORDS) {
    this.known = new RecentMap(max);
  }

  get size(): number {
    return this.known.size;
  }

  /** Returns the record with exactly these bytes, if its signature was found to be right. */
  find(bytes: Buffer): R | undefined {
    const record = this.known.peek(signedKeyOf(bytes))?.deref();
    return record?.bytes.equals(bytes) ? record : undefined;
  }

  /** Call it only when the signature is right: the record is not checked again. */
  add(record: R): void {
    this.known.set(signedKeyOf(record.bytes), new WeakRef(record));
  }
}

function signedKeyOf(bytes: Buffer): string {
  const start = bytes.length - SIGNATURE_BYTES;
  return bytes.toString('latin1', start, start + SIGNED_KEY_BYTES);
}

/** Shared by all nodes in this process. */
export const signedRecords = new SignedRecords<MeshRecord>();

/** Signs for the owner of the key: Ed25519, 64 bytes. */
type Signer = (bytes: Uint8Array) => Uint8Array;

interface HeaderFields {
  readonly publicKey: Uint8Array;
  readonly bootId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly lifeS: number;
}

export interface NodeRecordFields extends HeaderFields {
  readonly flags: number;
  readonly envDigests: readonly string[];
  readonly addresses: readonly string[];
  readonly links: readonly RecordLink[];
}

export interface ShardRecordFields extends HeaderFields {
  readonly shard: number;
  readonly shards: number;
  /** In any order. All of them have to belong to this shard, see {@link shardOfService}. */
  readonly services: readonly ServiceEntry[];
}

/** Lists may come in any order. @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeNodeRecord(fields: NodeRecordFields, sign: Signer): NodeRecord {
  const digests = [...fields.envDigests].sort();
  const links = fields.links
    .map((link) => Buffer.concat([nodeIdToBytes(link.peerId), uint(1, link.cost, 'cost')]))
    .sort(Buffer.compare);
  const body = [
    uint(1, digests.length, 'envs'),
    ...digests.map(envDigestBytes),
    uint(1, fields.addresses.length, 'addresses'),
    ...fields.addresses.map((address) => shortText(address, MAX_LINK_ADDRESS_BYTES, 'address')),
    uint(1, links.length, 'links'),
    ...links,
  ];
  return encodeRecord(RecordKind.NODE, fields, fields.flags, body, NO_BYTES, sign) as NodeRecord;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeShardRecord(fields: ShardRecordFields, sign: Signer): ShardRecord {
  const services = [...fields.services].sort(compareServices);
  const body = [
    uint(2, fields.shard, 'shard'),
    uint(2, fields.shards, 'shards'),
    uint(2, services.length, 'services'),
    ...services.map(encodeServiceEntry),
  ];
  return encodeRecord(RecordKind.SHARD, fields, 0, body, encodeInstances(services), sign) as ShardRecord;
}

function encodeRecord(
  kind: number,
  fields: HeaderFields,
  flags: number,
  body: readonly Uint8Array[],
  extension: Uint8Array,
  sign: Signer,
): MeshRecord {
  const signed = Buffer.concat([
    DOMAIN,
    uint(1, RECORD_VERSION, 'version'),
    uint(1, kind, 'kind'),
    uint(2, flags, 'flags'),
    exactly(PUBLIC_KEY_BYTES, fields.publicKey, 'public key'),
    bootIdBytes(fields.bootId),
    uint(4, fields.epoch, 'epoch'),
    uint(4, fields.seq, 'seq'),
    uint(4, fields.lifeS, 'life'),
    ...body,
    uint(2, extension.length, 'extension'),
    extension,
  ]);
  const signature = exactly(SIGNATURE_BYTES, sign(signed), 'signature');
  try {
    // A record that readers refuse must not be sent, and others see what the reader makes of it.
    return readRecord(Buffer.concat([signed.subarray(DOMAIN.length), signature]));
  } catch (error) {
    throw starlaneError('ERR_STARLANE_MESSAGE', 'a record that no node would accept', error);
  }
}

/**
 * Reads a record, which keeps nothing of `bytes`. A record whose signature this process has checked is returned from memory; for others
 * the caller checks the signature.
 * @throws StarlaneError ERR_STARLANE_RECORD when it is malformed
 */
export function decodeRecord(bytes: Uint8Array): MeshRecord {
  if (bytes.length > MAX_SHARD_RECORD_BYTES) throw invalid(`it has ${bytes.length} bytes`);
  if (bytes.length < RECORD_HEADER_BYTES + SIGNATURE_BYTES) throw invalid(`it has ${bytes.length} bytes`);
  const buffer = asBuffer(bytes);
  return signedRecords.find(buffer) ?? readRecord(copyOf(buffer));
}

function readRecord(bytes: Buffer): MeshRecord {
  if (bytes.length < RECORD_HEADER_BYTES + SIGNATURE_BYTES) throw invalid(`it has ${bytes.length} bytes`);
  if (bytes[0] !== RECORD_VERSION) throw invalid(`version ${bytes[0]}`);
  const kind = bytes[1];
  if (kind !== RecordKind.NODE && kind !== RecordKind.SHARD) throw invalid(`kind ${kind}`);
  if (bytes.length > (kind === RecordKind.NODE ? MAX_NODE_RECORD_BYTES : MAX_SHARD_RECORD_BYTES)) {
    throw invalid(`it has ${bytes.length} bytes`);
  }
  try {
    return kind === RecordKind.NODE ? readNode(bytes) : readShard(bytes);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_RECORD', (error as Error).message, error);
  }
}

function readNode(bytes: Buffer): NodeRecord {
  const header = readHeader(bytes);
  const body = bytes.subarray(RECORD_HEADER_BYTES);
  const fields = new FieldReader(body);
  const envDigests = fields.list(MAX_RECORD_ENV_DIGESTS, () => fields.take(ENV_DIGEST_BYTES, readHex));
  if (!isSorted(body, fields.position, envDigests.length, ENV_DIGEST_BYTES, 0)) throw malformed('envs are not sorted');
  const addresses = fields.list(MAX_RECORD_ADDRESSES, () => fields.take(fields.uint(1), readAddress));
  if (new Set(addresses).size < addresses.length) throw malformed('an address twice');
  const links = fields.list(MAX_RECORD_LINKS, () => ({
    peerId: fields.take(NODE_ID_BYTES, readNodeId),
    cost: fields.uint(1),
  }));
  if (!isSorted(body, fields.position, links.length, NODE_ID_BYTES, 1)) throw malformed('links are not sorted');
  endOf(fields);
  return { kind: RecordKind.NODE, key: header.nodeId, ...header, envDigests, addresses, links };
}

function readShard(bytes: Buffer): ShardRecord {
  const header = readHeader(bytes);
  if (header.flags !== 0) throw malformed('flags of a shard');
  const body = bytes.subarray(RECORD_HEADER_BYTES);
  const fields = new FieldReader(body);
  const shard = fields.uint(2);
  const shards = fields.uint(2);
  if (!isLayout(shard, shards)) throw malformed(`shard ${shard} of ${shards}`);
  let name: Buffer | undefined;
  let port = 0;
  const readService = (): ServiceEntry => {
    const start = fields.position + 1;
    const entry = decodeServiceEntry(fields);
    const lastName = name;
    name = body.subarray(start, start + body[start - 1]);
    const order = lastName === undefined ? -1 : Buffer.compare(lastName, name);
    if (order > 0 || (order === 0 && port >= entry.port)) throw malformed('services are not sorted');
    if (shardOf(name, entry.port, shards) !== shard) throw malformed('a service in the wrong shard');
    port = entry.port;
    return entry;
  };
  const services = fields.list(MAX_SHARD_SERVICES, readService, 2);
  endOf(fields);
  addInstances(services, body.subarray(fields.position, -SIGNATURE_BYTES));
  return { kind: RecordKind.SHARD, key: recordKey(header.nodeId, shard, shards), ...header, shard, shards, services };
}

function readHeader(bytes: Buffer): Omit<RecordHeader, 'key'> {
  const publicKey = bytes.subarray(KEY_AT, BOOT_AT);
  const lifeS = readUint32(bytes, EPOCH_AT + 8);
  if (lifeS === 0 || lifeS > MAX_LIFE_S) throw malformed(`a life of ${lifeS} s`);
  const digest = hash('sha256', bytes, 'buffer');
  return {
    nodeId: nodeIdFromBytes(hash('sha256', publicKey, 'buffer')),
    publicKey,
    bootId: bootIdFromBytes(bytes, BOOT_AT),
    epoch: readUint32(bytes, EPOCH_AT),
    seq: readUint32(bytes, EPOCH_AT + 4),
    lifeS,
    flags: (bytes[2] << 8) | bytes[3],
    bytes,
    hashHigh: readUint32(digest, 0),
    hashLow: readUint32(digest, 4),
  };
}

/** Skips the extension of later versions; only the signature may follow it. */
function endOf(fields: FieldReader): void {
  const length = fields.uint(2);
  if (fields.left !== length + SIGNATURE_BYTES) throw malformed('it does not end with a signature');
}

function encodeInstances(services: readonly ServiceEntry[]): Buffer {
  const named = services.flatMap(({ instance }, index) => {
    if (instance === undefined) return [];
    if (!isInstanceName(instance)) throw malformed(`an instance called ${instance}`);
    return [uint(2, index, 'index'), shortText(instance, MAX_INSTANCE_NAME_BYTES, 'instance')];
  });
  if (named.length === 0) return NO_BYTES;
  const content = Buffer.concat(named);
  return Buffer.concat([uint(1, ExtensionTag.INSTANCES, 'tag'), uint(2, content.length, 'instances'), content]);
}

/** Gives services the names of their instances. An extension that makes no sense names none, as to an older version. */
function addInstances(services: ServiceEntry[], extension: Uint8Array): void {
  if (extension.length === 0) return;
  let names: ReadonlyMap<number, string>;
  try {
    names = readInstances(extension, services.length);
  } catch {
    return;
  }
  for (const [index, instance] of names) services[index] = { ...services[index], instance };
}

/** Returns the names by the index of the service. @throws when the extension is malformed */
function readInstances(extension: Uint8Array, count: number): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  const fields = new FieldReader(extension);
  let isFirst = true;
  while (fields.left > 0) {
    const tag = fields.uint(1);
    const end = fields.uint(2) + fields.position;
    if (tag !== ExtensionTag.INSTANCES || !isFirst) {
      fields.take(end - fields.position, () => {});
      continue;
    }
    isFirst = false;
    let last = -1;
    while (fields.position < end) {
      const index = fields.uint(2);
      const name = fields.take(fields.uint(1), readText);
      if (index <= last || index >= count || !isInstanceName(name)) throw malformed('not the name of an instance');
      last = index;
      names.set(index, name);
    }
    if (fields.position !== end) throw malformed('instances of another length');
  }
  return names;
}

/** Returns the bytes that the signature of a record covers. */
export function signedPart(record: MeshRecord): Uint8Array {
  return Buffer.concat([DOMAIN, record.bytes.subarray(0, -SIGNATURE_BYTES)]);
}

export function signatureOf(record: MeshRecord): Uint8Array {
  return record.bytes.subarray(-SIGNATURE_BYTES);
}

/** Returns the key of a record: of a NODE with `shards` 0, else of a shard. */
export function recordKey(nodeId: NodeId, shard: number, shards: number): string {
  return shards === 0 ? nodeId : `${nodeId}/${shard}/${shards}`;
}

/** Returns whether such a shard can exist. */
export function isLayout(shard: number, shards: number): boolean {
  return shard < shards && shards <= MAX_SHARDS && (shards & (shards - 1)) === 0;
}

/** Returns the shard that a service belongs to: FNV-1a over the name and the four bytes of the port, finished as MurmurHash3. */
export function shardOfService(service: string, port: number, shards: number): number {
  return shardOf(encodeServiceName(service), port, shards);
}

function shardOf(name: Uint8Array, port: number, shards: number): number {
  let value = 0x811c_9dc5;
  for (let index = 0; index < name.length; index++) value = Math.imul(value ^ name[index], 0x0100_0193);
  for (let shift = 24; shift >= 0; shift -= 8) value = Math.imul(value ^ ((port >>> shift) & 0xff), 0x0100_0193);
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35);
  return (value ^ (value >>> 16)) & (shards - 1);
}

/** Returns a key for a service at a port. Names contain no colon, so no two services have the same key. */
export function serviceKey(service: string, port: number): string {
  return `${service}:${port}`;
}

/** Returns how many bytes of a record a service takes. @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function serviceEntryBytes(entry: ServiceEntry): number {
  // Behind the entry itself, index and length of the name.
  const named = entry.instance === undefined ? 0 : 3 + entry.instance.length;
  return encodeServiceEntry(entry).length + named;
}

/** Without the name of the instance. @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeServiceEntry(entry: ServiceEntry): Buffer {
  const name = encodeServiceName(entry.service);
  const meta = encodeMeta(entry.meta);
  return Buffer.concat([
    uint(1, name.length, 'name'),
    name,
    uint(4, entry.port, 'port'),
    uint(1, entry.weight, 'weight'),
    uint(2, meta.length, 'meta'),
    meta,
  ]);
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed */
export function decodeServiceEntry(fields: FieldReader): ServiceEntry {
  const service = decodeServiceName(fields);
  return { service, port: fields.uint(4), weight: fields.uint(1), meta: decodeMeta(fields) };
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

/** Returns a round trip as one byte: 0.1 ms * 2^(c / 8), steps of 9 %. */
export function costToByte(ms: number): number {
  if (!(ms > 0.1)) return 0;
  return Math.min(COST_UNUSABLE - 1, Math.round(8 * Math.log2(ms / 0.1)));
}

/** Returns the round trip in ms; Infinity for the cost that means: do not use. */
export function byteToCostMs(byte: number): number {
  return byte >= COST_UNUSABLE ? Number.POSITIVE_INFINITY : 0.1 * 2 ** (byte / 8);
}

function compareServices(a: ServiceEntry, b: ServiceEntry): number {
  if (a.service === b.service) return a.port - b.port;
  return Buffer.compare(encodeServiceName(a.service), encodeServiceName(b.service));
}

/** Returns whether the `count` items of `size` bytes that end at `end`, each with `rest` bytes behind it, ascend without repetition. */
function isSorted(bytes: Buffer, end: number, count: number, size: number, rest: number): boolean {
  const stride = size + rest;
  for (let at = end - stride * (count - 1); at < end; at += stride) {
    if (bytes.compare(bytes, at, at + size, at - stride, at - stride + size) >= 0) return false;
  }
  return true;
}

function readHex(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(bytes).toString('hex', start, end);
}

function readNodeId(bytes: Uint8Array, start: number): NodeId {
  return nodeIdFromBytes(bytes, start);
}

/** Addresses end up in logs and terminals, so control characters are refused. */
function readAddress(bytes: Uint8Array, start: number, end: number): string {
  const text = readText(bytes, start, end);
  if (text === '' || /\p{Cc}/u.test(text)) throw malformed('not an address');
  return text;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function invalid(what: string): StarlaneError {
  return starlaneError('ERR_STARLANE_RECORD', what);
}
