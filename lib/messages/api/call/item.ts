// One item of an input or output as bytes: a byte that says what it is, and the value. It arrives as what it was: nothing, bytes, a text, or what
// JSON has. Pure.

import { jsonOf } from '../../json.js';
import { messageError, type Outcome } from '../../outcome.js';

const Kind = { NOTHING: 0, JSON: 1, TEXT: 2, BYTES: 3 } as const;
const PREFIXES = Object.values(Kind).map((kind) => Buffer.from([kind]));

/**
 * @param outcome what is known of the call when the item cannot be sent
 * @throws ERR_STARLANE_ARGUMENT for what JSON cannot hold, ERR_STARLANE_MESSAGE_SIZE
 */
export function encodeItem(value: unknown, maxBytes: number, outcome: Outcome = 'unknown'): Uint8Array[] {
  const parts = partsOf(value, outcome);
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (bytes <= maxBytes) return parts;
  throw messageError('ERR_STARLANE_MESSAGE_SIZE', outcome, `an item of ${bytes} bytes, of ${maxBytes}`);
}

/** @throws ERR_STARLANE_MESSAGE_PROTOCOL */
export function decodeItem(payload: Buffer): unknown {
  switch (payload[0]) {
    case Kind.NOTHING:
      return undefined;
    case Kind.JSON:
      try {
        return JSON.parse(payload.toString('utf8', 1));
      } catch (error) {
        throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', 'an item is no JSON', error);
      }
    case Kind.TEXT:
      return payload.toString('utf8', 1);
    case Kind.BYTES:
      // A copy: the item must not keep what arrived with it.
      return Buffer.from(payload.subarray(1));
    default:
      throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', 'an item of a kind that is not known');
  }
}

function partsOf(value: unknown, outcome: Outcome): Uint8Array[] {
  if (value === undefined) return [PREFIXES[Kind.NOTHING]];
  if (typeof value === 'string') return [PREFIXES[Kind.TEXT], Buffer.from(value)];
  if (value instanceof Uint8Array) return [PREFIXES[Kind.BYTES], value];
  try {
    return [PREFIXES[Kind.JSON], Buffer.from(jsonOf(value))];
  } catch (error) {
    throw messageError('ERR_STARLANE_ARGUMENT', outcome, 'an item cannot be written as JSON', error);
  }
}
