// Ids that no two circuits of a network share, and that nobody can guess: a relay takes an id that it has seen for a loop, so
// whoever knew the next ones could use them up. Random bytes are drawn for many at once.

import { randomFillSync } from 'node:crypto';
import { readUint32 } from '../../wire/fields.js';

const ID_BYTES = 16;
const DRAWN_IDS = 256;

export class CircuitIds {
  /** The newest id, 16 bytes; the next one takes its place. */
  readonly bytes: Uint8Array = new Uint8Array(ID_BYTES);
  private readonly drawn = new Uint8Array(DRAWN_IDS * ID_BYTES);
  private at = this.drawn.length;

  next(): Uint8Array {
    const { bytes, drawn } = this;
    if (this.at === drawn.length) {
      randomFillSync(drawn);
      this.at = 0;
    }
    for (let index = 0; index < ID_BYTES; index++) bytes[index] = drawn[this.at + index];
    this.at += ID_BYTES;
    return bytes;
  }
}

/** A number by which circuits are shared among equal ways: the same for a circuit at every node. */
export function circuitHash(circuitId: Uint8Array): number {
  return readUint32(circuitId, 4) ^ readUint32(circuitId, 12);
}
