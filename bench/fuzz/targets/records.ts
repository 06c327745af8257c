// Records: what one node says about itself. Each part is one.

import fc from 'fast-check';
import { StarlaneError } from '../../../lib/errors.js';
import {
  decodeRecord,
  encodeNodeRecord,
  encodeShardRecord,
  type MeshRecord,
  RecordKind,
  signatureOf,
  signedPart,
} from '../../../lib/wire/records.js';
import { meshRecord } from '../../../spec/support/record-arbitraries.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const SAMPLES = 300;
let samples: Buffer[] | undefined;

/** One of many records of every shape, the same ones in every run. */
export function sampleRecord(random: Random): Buffer {
  samples ??= fc.sample(meshRecord, { numRuns: SAMPLES, seed: 1 }).map(({ bytes }) => bytes);
  return random.pick(samples);
}

export const records: PureTarget = {
  name: 'records',
  share: 10,
  generate: (random) => [sampleRecord(random)],
  run: (parts) => parts.map(wayOfOne),
};

function wayOfOne(bytes: Buffer): Outcome {
  let record: MeshRecord;
  try {
    record = decodeRecord(bytes);
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_RECORD', `it is refused with ${error.code}`);
    return wayOf(error);
  }
  must(record.bytes.equals(bytes), 'it keeps other bytes');
  must(record.bytes.buffer !== bytes.buffer, 'it keeps bytes that it does not own');
  return `kind ${record.kind} ${again(record)}`;
}

/** Each content has exactly one encoding, except for what JSON leaves open, and for unknown extensions. */
function again(record: MeshRecord): Outcome {
  const sign = (): Uint8Array => signatureOf(record);
  let copy: MeshRecord;
  try {
    copy = record.kind === RecordKind.NODE ? encodeNodeRecord(record, sign) : encodeShardRecord(record, sign);
  } catch (error) {
    // Short numbers may have long forms: 1e20.
    must(record.kind === RecordKind.SHARD && isMeta(record), `it cannot be written again: ${(error as Error).message}`);
    return 'meta too long';
  }
  must(contentOf(copy) === contentOf(record), 'written again it says something else');
  const isSame = Buffer.from(signedPart(copy)).equals(signedPart(record));
  must(isSame || isMeta(record) || hasExtension(record, copy), 'one content has two forms');
  return isSame ? 'same' : 'other';
}

function contentOf(record: MeshRecord): string {
  const { hashHigh: _high, hashLow: _low, bytes: _bytes, ...content } = record;
  return JSON.stringify(content);
}

function isMeta(record: MeshRecord): boolean {
  return record.kind === RecordKind.SHARD && record.services.some(({ meta }) => meta !== undefined);
}

function hasExtension(record: MeshRecord, copy: MeshRecord): boolean {
  return record.bytes.length > copy.bytes.length;
}
