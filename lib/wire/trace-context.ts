// The trace context of a dial (W3C Trace Context) in few bytes: in OPEN, or in the confirmation of a secure circuit. Pure.
//
//   16 trace id | 8 parent id | u8 trace flags | the rest: tracestate, ASCII
//
// What does not parse is ignored, as that standard demands: a circuit must not fail for the tracer of somebody else.

const TRACE_ID_BYTES = 16;
const PARENT_ID_BYTES = 8;
const PARENT_BYTES = TRACE_ID_BYTES + PARENT_ID_BYTES + 1;

/** The longest tracestate that is sent or read, in bytes: what the standard asks everybody to pass on. */
export const MAX_TRACESTATE_BYTES = 512;
export const MAX_TRACE_CONTEXT_BYTES = PARENT_BYTES + MAX_TRACESTATE_BYTES;

/** Longer members of a tracestate are the first to go (section 3.3.1.5). */
const LONG_MEMBER = 128;

/** The two headers of the standard. */
export interface TraceContext {
  readonly traceparent: string;
  /** Empty: none. */
  readonly tracestate: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const TRACESTATE = /^[\x20-\x7e]*$/;
const ZEROS = /^0+$/;

/**
 * Returns the context in at most `maxBytes` bytes: members of the tracestate that do not fit are left out. Undefined when it is invalid, or
 * not even the traceparent fits.
 */
export function encodeTraceContext({ traceparent, tracestate }: TraceContext, maxBytes: number): Buffer | undefined {
  const [, version, traceId, parentId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (version === undefined || version === 'ff' || ZEROS.test(traceId) || ZEROS.test(parentId)) return undefined;
  if (maxBytes < PARENT_BYTES) return undefined;
  const room = Math.min(maxBytes - PARENT_BYTES, MAX_TRACESTATE_BYTES);
  const state = TRACESTATE.test(tracestate) ? shortened(tracestate, room) : '';
  return Buffer.concat([Buffer.from(traceId + parentId + flags, 'hex'), Buffer.from(state, 'latin1')]);
}

/** Returns the context; undefined when the bytes are none. */
export function decodeTraceContext(bytes: Uint8Array): TraceContext | undefined {
  if (bytes.length < PARENT_BYTES || bytes.length > MAX_TRACE_CONTEXT_BYTES) return undefined;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const traceId = buffer.toString('hex', 0, TRACE_ID_BYTES);
  const parentId = buffer.toString('hex', TRACE_ID_BYTES, PARENT_BYTES - 1);
  if (ZEROS.test(traceId) || ZEROS.test(parentId)) return undefined;
  const flags = buffer.toString('hex', PARENT_BYTES - 1, PARENT_BYTES);
  const state = buffer.toString('latin1', PARENT_BYTES);
  return {
    traceparent: `00-${traceId}-${parentId}-${flags}`,
    tracestate: TRACESTATE.test(state) ? state : '',
  };
}

/** Leaves out whole members until the rest fits: long ones first, then from the right. */
function shortened(tracestate: string, room: number): string {
  if (tracestate.length <= room) return tracestate;
  const members = tracestate.split(',');
  const lengthOf = (): number => members.reduce((sum, { length }) => sum + length + 1, -1);
  for (let index = members.length - 1; index >= 0 && lengthOf() > room; index--) {
    if (members[index].length > LONG_MEMBER) members.splice(index, 1);
  }
  while (members.length > 0 && lengthOf() > room) members.pop();
  return members.join(',');
}
