// A service as its origin announces it. Big-endian, pure.
//
//   entry          u8 n + name | u32 port | u8 weight | u16 n + meta as JSON

import { starlaneError } from '../errors.js';
import { uint } from './field-parts.js';
import type { FieldReader } from './fields.js';
import { encodeServiceName, malformed, readServiceName, readText } from './text.js';

export const MAX_META_BYTES = 4096;

const NO_BYTES = Buffer.alloc(0);

/** A bind by name. A bind on a bare port is told to nobody. */
export interface ServiceEntry {
  readonly service: string;
  /** 0: it answers for any port. */
  readonly port: number;
  /** 0..255: how large a share of random dials it wants, against other instances. */
  readonly weight: number;
  /** Any JSON of at most 4096 bytes; undefined when there is none. */
  readonly meta?: unknown;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
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
