// Ids that no two circuits of a network share: 8 random bytes of the dialling node's boot id, and a counter.

import { readUint32 } from '../wire/fields.js';

const PREFIX_BYTES = 8;

export class CircuitIds {
  /** The newest id, 16 bytes; the next one takes its place. */
  readonly bytes = new Uint8Array(16);
  private high = 0;
  private low = 0;

  /** @param bootId a UUID */
  constructor(bootId: string) {
    this.bytes.set(Buffer.from(bootId.replaceAll('-', ''), 'hex').subarray(0, PREFIX_BYTES));
  }

  next(): Uint8Array {
    this.low = (this.low + 1) >>> 0;
    if (this.low === 0) this.high = (this.high + 1) >>> 0;
    const { bytes, high, low } = this;
    bytes[8] = high >>> 24;
    bytes[9] = high >>> 16;
    bytes[10] = high >>> 8;
    bytes[11] = high;
    bytes[12] = low >>> 24;
    bytes[13] = low >>> 16;
    bytes[14] = low >>> 8;
    bytes[15] = low;
    return bytes;
  }
}

/** A number by which circuits are shared among equal ways: the same for a circuit at every node. */
export function circuitHash(circuitId: Uint8Array): number {
  let hash = readUint32(circuitId, PREFIX_BYTES - 4) ^ readUint32(circuitId, 2 * PREFIX_BYTES - 4);
  // The finaliser of MurmurHash3: ids count up, and every bit of that is to reach every bit of the hash.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
