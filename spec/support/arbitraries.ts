// Random values for property tests of the wire.

import fc from 'fast-check';
import { isServiceName, nodeIdFromBytes } from '../../lib/address.js';

export const byte = fc.integer({ min: 0, max: 0xff });
export const uint16 = fc.integer({ min: 0, max: 0xffff });
export const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });

export function bytesOf(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length });
}

export const nodeId = bytesOf(8).map((bytes) => nodeIdFromBytes(bytes));

export const serviceName = fc
  .oneof(fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }), fc.string({ minLength: 200, maxLength: 255 }))
  .filter(isServiceName);

/** Valid bytes with a few of them changed, removed or added: far likelier to reach the inside of a decoder than noise. */
export function damaged(valid: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const change = fc.record({ at: fc.nat(), value: byte, kind: fc.constantFrom('set', 'insert', 'remove', 'cut') });
  return fc.tuple(valid, fc.array(change, { minLength: 1, maxLength: 4 })).map(([bytes, changes]) => {
    let result = [...bytes];
    for (const { at, value, kind } of changes) {
      const index = at % (result.length + 1);
      if (kind === 'set') result[index] = value;
      else if (kind === 'insert') result.splice(index, 0, value);
      else if (kind === 'remove') result.splice(index, 1);
      else result = result.slice(0, index);
    }
    return Buffer.from(result);
  });
}
