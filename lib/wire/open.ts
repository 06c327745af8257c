// How every stream but the control stream begins: OPEN from the dialler; its reply is in open-reply.ts. Big-endian, pure.
//
//   u16 length | u8 version | u8 flags | u8 hop limit | 8 destination | u32 destination port
//   | 8 source | u32 source port | 16 circuit id | u8 n + n * 8 visited | u8 n + service
//   | with flag 1: 8 env digest | with flag 2: u16 remaining time, u8 relays passed
//   | with flag 4: 128 proof of the source, with flag 8 too: u8 n + n * 4 key hints, with flag 16 too: u8 n + terms (circuit-proof.ts)
//   | with flag 32: u16 n + trace context (trace-context.ts)
//
// The length counts what follows it. A reader skips what it does not know at the end, so that later versions can append;
// a relay passes it on.

import { isVirtualPort, NODE_ID_BYTES, type NodeId } from '../address.js';
import { CIRCUIT_PROOF_BYTES, formOf, type ProofForm, proofEnd, writeProof } from './circuit-proof.js';
import { readUint16, readUint32, writeUint16, writeUint32 } from './fields.js';
import {
  type EncodedNodeId,
  MAX_VISITED,
  NOWHERE,
  prefixedEnd,
  readNodeId,
  readVisited,
  visitedBytes,
  writeNodeId,
  writeVisited,
} from './node-ids.js';
import { encodeServiceName, malformed, readServiceName } from './text.js';
import { MAX_TRACE_CONTEXT_BYTES } from './trace-context.js';

const OPEN_VERSION = 1;

const CIRCUIT_ID_BYTES = 16;

/**
 * The longest OPEN that is read, with its length: 720 bytes are in use at most without a trace context, which has what is left and is
 * cut to that. The rest is room for later versions.
 */
export const MAX_OPEN_BYTES = 1024;

/** Bits of the flags: what follows the service. The numbers are the wire: append only. */
const OpenFlag = { ENV: 0x1, WAY: 0x2, PROOF: 0x4, HINTS: 0x8, TERMS: 0x10, TRACE: 0x20 } as const;
const PROOF_FLAGS = OpenFlag.PROOF | OpenFlag.HINTS | OpenFlag.TERMS;
const KNOWN_FLAGS = OpenFlag.ENV | OpenFlag.WAY | PROOF_FLAGS | OpenFlag.TRACE;
/** By {@link ProofForm}. */
const FLAGS_OF_FORM = [OpenFlag.PROOF, OpenFlag.PROOF | OpenFlag.HINTS, PROOF_FLAGS] as const;

const LENGTH_BYTES = 2;
const ENV_BYTES = 8;
const WAY_BYTES = 2 + 1;
const TRACE_LENGTH_BYTES = 2;
/** The unit of the remaining time: eleven minutes fit in two bytes. */
const TIME_UNIT_MS = 10;
const MAX_TIME_UNITS = 0xffff;
const NO_BYTES = Buffer.alloc(0);
/** Up to and with the number of visited nodes. */
const FIXED_BYTES = 1 + 1 + 1 + NODE_ID_BYTES + 4 + NODE_ID_BYTES + 4 + CIRCUIT_ID_BYTES + 1;

/** An OPEN to be written. */
export interface OpenRequest {
  /** Bits for later versions, 0..255. Default 0. A relay passes them on; those that are in use are set by what is here. */
  readonly flags?: number;
  /** How many more links it may cross, 0..255. */
  readonly hopLimit: number;
  readonly dst: EncodedNodeId;
  /** 0: by service alone. */
  readonly dstPort: number;
  readonly src: EncodedNodeId;
  readonly srcPort: number;
  /** The 16 bytes of a UUID. */
  readonly circuitId: Uint8Array;
  /** Relays it has passed or tried, at most 32. Default none. */
  readonly visited?: readonly EncodedNodeId[];
  /** Empty: by port alone. */
  readonly service: string;
  /** The digest of an env that source and destination share, in hex. Default none. */
  readonly env?: string;
  /** The time that is left for the answer, in ms. Rounded down to 10 ms, at most 655,350. Default: left out. */
  readonly remainingMs?: number;
  /** How many of the visited nodes, the last ones, it passes through. Only sent with `remainingMs`. Default 0. */
  readonly relays?: number;
  /** The proof of the source, of a circuit that is signed or encrypted from end to end. Default none. */
  readonly proof?: Uint8Array;
  /** The trace context of the dial, see trace-context.ts. Default none. */
  readonly trace?: Uint8Array;
  /** What {@link Open.rest} was. Default nothing. */
  readonly rest?: Uint8Array;
}

/** An OPEN that has been read. */
export interface Open {
  readonly flags: number;
  readonly hopLimit: number;
  readonly dst: NodeId;
  readonly dstPort: number;
  readonly src: NodeId;
  readonly srcPort: number;
  /** A part of the bytes read: copy it to keep it. */
  readonly circuitId: Uint8Array;
  readonly visited: readonly NodeId[];
  readonly service: string;
  readonly env: string | undefined;
  readonly remainingMs: number | undefined;
  /** At most as many as are visited. */
  readonly relays: number;
  /** A part of the bytes read: copy it to keep it. */
  readonly proof: Uint8Array | undefined;
  /** The trace context, not parsed; a part of the bytes read: copy it to keep it. */
  readonly trace: Uint8Array | undefined;
  /** Fields of a later version, a part of the bytes read: copy it to keep it. */
  readonly rest: Uint8Array;
}

/** Returns how many bytes {@link writeOpen} needs. */
export function openBytes(open: OpenRequest): number {
  const { service, visited = NOWHERE, env, remainingMs, proof, trace, rest } = open;
  const serviceBytes = service === '' ? 0 : encodeServiceName(service).length;
  const known = LENGTH_BYTES + FIXED_BYTES - 1 + visitedBytes(visited) + 1 + serviceBytes;
  return (
    known +
    (env === undefined ? 0 : ENV_BYTES) +
    (remainingMs === undefined ? 0 : WAY_BYTES) +
    (proof === undefined ? 0 : proof.length) +
    (trace === undefined ? 0 : TRACE_LENGTH_BYTES + trace.length) +
    (rest === undefined ? 0 : rest.length)
  );
}

/** Returns how long the trace context of an OPEN may be, so that there is room for all that relays add on its way, in bytes. */
export function traceRoom(open: OpenRequest): number {
  const { visited = NOWHERE } = open;
  const added = (MAX_VISITED - visited.length) * NODE_ID_BYTES + (open.remainingMs === undefined ? WAY_BYTES : 0);
  return MAX_OPEN_BYTES - openBytes({ ...open, trace: undefined }) - added - TRACE_LENGTH_BYTES;
}

/**
 * Writes an OPEN at `offset`, where there is room for {@link openBytes}, and returns the offset behind it.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, ERR_STARLANE_ADDRESS for a bad node id
 */
export function writeOpen(target: Buffer, offset: number, open: OpenRequest): number {
  const { service, circuitId, visited = NOWHERE, env, remainingMs, proof, trace, rest, flags = 0 } = open;
  if (circuitId.length !== CIRCUIT_ID_BYTES) throw malformed('a circuit id has 16 bytes');
  if (!isByte(open.hopLimit) || !isByte(flags)) throw malformed('hop limit and flags go from 0 to 255');
  if (!isVirtualPort(open.dstPort) || !isVirtualPort(open.srcPort)) throw malformed('a port goes from 0 to 4294967295');

  let at = offset + LENGTH_BYTES;
  target[at++] = OPEN_VERSION;
  target[at++] =
    (flags & ~KNOWN_FLAGS) |
    (env === undefined ? 0 : OpenFlag.ENV) |
    (remainingMs === undefined ? 0 : OpenFlag.WAY) |
    (proof === undefined ? 0 : FLAGS_OF_FORM[formOf(proof)]) |
    (trace === undefined ? 0 : OpenFlag.TRACE);
  target[at++] = open.hopLimit;
  at = writeNodeId(target, at, open.dst);
  at = writeUint32(target, at, open.dstPort);
  at = writeNodeId(target, at, open.src);
  at = writeUint32(target, at, open.srcPort);
  for (let index = 0; index < CIRCUIT_ID_BYTES; index++) target[at++] = circuitId[index];
  at = writeVisited(target, at, visited);
  const name = service === '' ? NO_BYTES : encodeServiceName(service);
  target[at++] = name.length;
  if (at + name.length > target.length) throw malformed('no room for an OPEN');
  for (let index = 0; index < name.length; index++) target[at++] = name[index];
  if (env !== undefined) at = writeEnv(target, at, env);
  if (remainingMs !== undefined) at = writeWay(target, at, remainingMs, open.relays ?? 0, visited.length);
  if (proof !== undefined) at = writeProof(target, at, proof);
  if (trace !== undefined) at = writeTrace(target, at, trace);
  if (rest !== undefined) at = writeRest(target, at, rest);
  if (at > target.length || at - offset > MAX_OPEN_BYTES) throw malformed('no room for an OPEN');
  writeUint16(target, offset, at - offset - LENGTH_BYTES);
  return at;
}

/** Returns an OPEN in its own buffer. @throws as {@link writeOpen} */
export function encodeOpen(open: OpenRequest): Buffer {
  const bytes = Buffer.allocUnsafe(openBytes(open));
  writeOpen(bytes, 0, open);
  return bytes;
}

/**
 * Reads an OPEN from the first bytes of a stream. Returns undefined when more are needed, but never for more than
 * {@link MAX_OPEN_BYTES} in all.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed or of another version
 */
export function tryReadOpen(bytes: Uint8Array): { open: Open; bytesRead: number } | undefined {
  const end = prefixedEnd(bytes, FIXED_BYTES + 1, MAX_OPEN_BYTES, 'OPEN');
  if (end === 0) return undefined;
  let at = LENGTH_BYTES;
  if (bytes[at] !== OPEN_VERSION) throw malformed(`OPEN of version ${bytes[at]}`);
  const flags = bytes[at + 1];
  const hopLimit = bytes[at + 2];
  at += 3;
  const dst = readNodeId(bytes, at);
  at += NODE_ID_BYTES;
  const dstPort = readUint32(bytes, at);
  at += 4;
  const src = readNodeId(bytes, at);
  at += NODE_ID_BYTES;
  const srcPort = readUint32(bytes, at);
  at += 4;
  const circuitId = bytes.subarray(at, at + CIRCUIT_ID_BYTES);
  at += CIRCUIT_ID_BYTES;

  // The length of the service follows in any case.
  const visited = readVisited(bytes, at, end - 1);
  at += visitedBytes(visited);
  const serviceBytes = bytes[at++];
  if (at + serviceBytes > end) throw malformed('OPEN is too short for its service');
  const service = serviceBytes === 0 ? '' : readServiceName(bytes, at, at + serviceBytes);
  at += serviceBytes;

  let env: string | undefined;
  let remainingMs: number | undefined;
  let relays = 0;
  let proof: Uint8Array | undefined;
  let trace: Uint8Array | undefined;
  if (flags & KNOWN_FLAGS) {
    const known =
      at +
      (flags & OpenFlag.ENV ? ENV_BYTES : 0) +
      (flags & OpenFlag.WAY ? WAY_BYTES : 0) +
      (flags & OpenFlag.PROOF ? CIRCUIT_PROOF_BYTES : 0);
    if (known > end) throw malformed('OPEN is too short for what its flags promise');
    if (flags & OpenFlag.ENV) {
      env = readEnv(bytes, at);
      at += ENV_BYTES;
    }
    if (flags & OpenFlag.WAY) {
      remainingMs = readUint16(bytes, at) * TIME_UNIT_MS;
      relays = bytes[at + 2];
      if (relays > visited.length) throw malformed('OPEN has passed more relays than it has visited');
      at += WAY_BYTES;
    }
    if (flags & PROOF_FLAGS) {
      const form = FLAGS_OF_FORM.indexOf(flags & PROOF_FLAGS);
      if (form < 0) throw malformed('OPEN has a part of a proof without the others');
      const next = proofEnd(bytes, at, end, form as ProofForm);
      proof = bytes.subarray(at, next);
      at = next;
    }
    if (flags & OpenFlag.TRACE) {
      const traceAt = at + TRACE_LENGTH_BYTES;
      const next = traceAt > end ? traceAt : traceAt + readUint16(bytes, at);
      if (next > end) throw malformed('OPEN is too short for what its flags promise');
      trace = bytes.subarray(traceAt, next);
      at = next;
    }
  }
  const rest = at === end ? NO_BYTES : bytes.subarray(at, end);
  return {
    open: {
      flags: flags & ~KNOWN_FLAGS,
      hopLimit,
      dst,
      dstPort,
      src,
      srcPort,
      circuitId,
      visited,
      service,
      env,
      remainingMs,
      relays,
      proof,
      trace,
      rest,
    },
    bytesRead: end,
  };
}

function writeEnv(target: Buffer, at: number, env: string): number {
  if (env.length !== 2 * ENV_BYTES || target.write(env, at, 'hex') !== ENV_BYTES) {
    throw malformed('an env digest has 8 bytes');
  }
  return at + ENV_BYTES;
}

/** The env read last: most dials have the same one. */
let lastEnv: { high: number; low: number; env: string } | undefined;

function readEnv(bytes: Uint8Array, at: number): string {
  const high = readUint32(bytes, at);
  const low = readUint32(bytes, at + 4);
  if (lastEnv === undefined || lastEnv.high !== high || lastEnv.low !== low) {
    const env = high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
    lastEnv = { high, low, env };
  }
  return lastEnv.env;
}

function writeWay(target: Buffer, at: number, remainingMs: number, relays: number, visited: number): number {
  if (!(remainingMs >= 0)) throw malformed('the remaining time is not negative');
  if (!isByte(relays) || relays > visited) throw malformed('relays that were passed have been visited');
  writeUint16(target, at, Math.min(Math.floor(remainingMs / TIME_UNIT_MS), MAX_TIME_UNITS));
  target[at + 2] = relays;
  return at + WAY_BYTES;
}

function writeTrace(target: Buffer, at: number, trace: Uint8Array): number {
  if (trace.length > MAX_TRACE_CONTEXT_BYTES) throw malformed(`a trace context of ${trace.length} bytes`);
  if (at + TRACE_LENGTH_BYTES + trace.length > target.length) throw malformed('no room for an OPEN');
  writeUint16(target, at, trace.length);
  target.set(trace, at + TRACE_LENGTH_BYTES);
  return at + TRACE_LENGTH_BYTES + trace.length;
}

function writeRest(target: Buffer, at: number, rest: Uint8Array): number {
  if (at + rest.length > target.length) throw malformed('no room for an OPEN');
  target.set(rest, at);
  return at + rest.length;
}

function isByte(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xff;
}
