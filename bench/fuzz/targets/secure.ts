// The records of a secure circuit, and a relay that does with them what it likes. The first part is how many records one key
// is for, and where the chunks are cut; each other one is a record, and what becomes of it on its way.
//
//   part    u8 type | u16 bytes of plaintext | u8 what becomes of it | u16 where

import { NO_RECORD, RecordOpener, RecordSealer } from '../../../lib/circuit/secure/secure-records.js';
import { StarlaneError } from '../../../lib/errors.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type Parts, type PureTarget, wayOf } from '../target.js';

const NO_BYTES = Buffer.alloc(0);
/** As the protocol has it. */
const MAX_PLAIN_BYTES = 32 * 1024;
const RECORD_OVERHEAD = 20;
const DATA = 0;
const Fate = { WHOLE: 0, BIT: 4, LOST: 5, TWICE: 6, SWAPPED: 7, CUT: 8, LONGER: 9, NOISE: 10 } as const;
const FATES = 11;
const PLAIN = Buffer.alloc(MAX_PLAIN_BYTES, 'what only the two ends may know');

export const secure: PureTarget = {
  name: 'secure records',
  share: 2,

  generate(random) {
    const records = Array.from({ length: 1 + random.below(8) }, () => randomRecord(random));
    return [random.bytes(1 + random.below(6)), ...records];
  },

  run(parts) {
    const [settings = NO_BYTES, ...rest] = parts;
    const perKey = 1 + ((settings[0] ?? 0) % 5);
    const sent = seal(rest, perKey);
    return [open(sent, settings, perKey)];
  },
};

interface Sent {
  /** What the sender has written, in order. */
  readonly written: ReadonlyArray<{ type: number; bytes: number }>;
  /** How many records arrive as they were sent, before the first that does not. */
  readonly good: number;
  /** Everything arrives as it was sent. */
  readonly isHonest: boolean;
  readonly bytes: Buffer;
}

function seal(parts: Parts, perKey: number): Sent {
  const sealer = new RecordSealer(key(), perKey);
  const written: Array<{ type: number; bytes: number }> = [];
  const honest: Buffer[] = [];
  const arriving: Buffer[] = [];
  for (const part of parts) {
    const type = (part[0] ?? 0) % 3;
    const bytes = type === DATA ? 1 + ((((part[1] ?? 0) << 8) | (part[2] ?? 0)) % MAX_PLAIN_BYTES) : 0;
    const record = sealer.seal(type as 0 | 1 | 2, PLAIN.subarray(0, bytes));
    must(record.length === bytes + RECORD_OVERHEAD, 'a record is longer than it says');
    written.push({ type, bytes });
    honest.push(record);
    arriving.push(...fateOf(record, part, arriving));
  }
  const whole = Buffer.concat(honest);
  const bytes = Buffer.concat(arriving);
  let same = 0;
  while (same < whole.length && same < bytes.length && whole[same] === bytes[same]) same++;
  let good = 0;
  for (let end = 0; good < honest.length; good++) {
    end += honest[good].length;
    if (end > same) break;
  }
  return { written, good, isHonest: whole.equals(bytes), bytes };
}

function fateOf(record: Buffer, part: Buffer, before: Buffer[]): Buffer[] {
  const at = (((part[4] ?? 0) << 8) | (part[5] ?? 0)) % record.length;
  switch ((part[3] ?? 0) % FATES) {
    case Fate.BIT: {
      const altered = Buffer.from(record);
      altered[at] ^= 1 << ((part[5] ?? 0) & 7);
      return [altered];
    }
    case Fate.LOST:
      return [];
    case Fate.TWICE:
      return [record, record];
    case Fate.SWAPPED: {
      const last = before.pop();
      return last === undefined ? [record] : [record, last];
    }
    case Fate.CUT:
      return [record.subarray(0, at)];
    case Fate.LONGER:
      return [record, record.subarray(0, at)];
    case Fate.NOISE:
      return [part, record];
    default:
      return [record];
  }
}

function open({ written, good, isHonest, bytes }: Sent, settings: Buffer, perKey: number): Outcome {
  const opener = new RecordOpener(key(), perKey);
  let count = 0;
  let way = 'whole';
  try {
    for (const chunk of chunksOf(bytes, settings)) {
      opener.take(chunk);
      for (let type = opener.next(); type !== NO_RECORD; type = opener.next()) {
        const expected = written[count++];
        must(count <= good, 'it gives out what was not sent so');
        must(
          type === expected.type && opener.plain.equals(PLAIN.subarray(0, expected.bytes)),
          'it gives out something else',
        );
      }
      must(opener.heldBytes <= MAX_PLAIN_BYTES + RECORD_OVERHEAD, 'it keeps more than one record');
    }
    if (opener.heldBytes > 0) way = 'cut';
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_SECURE', `it is refused with ${error.code}`);
    must(!isHonest, 'it refuses what was sent');
    way = wayOf(error);
  }
  must(count === good, `it gives out ${count} records of ${good} that have arrived`);
  return `${way} after ${Math.min(good, 12)}`;
}

function chunksOf(bytes: Buffer, settings: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 1; at < bytes.length; turn++) {
    const size = 1 + ((settings[turn % (settings.length || 1)] ?? 0) << (turn % 9));
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

/** A fresh copy, as both ends wipe it. */
function key(): { key: Buffer; iv: Buffer } {
  return { key: Buffer.alloc(32, 0x6b), iv: Buffer.alloc(12, 0x69) };
}

function randomRecord(random: Random): Buffer {
  const bytes = random.pick([0, 1, 15, 100, 4_096, MAX_PLAIN_BYTES - 1]);
  return Buffer.from([
    random.pick([0, 0, 0, 1, 2]),
    bytes >>> 8,
    bytes,
    random.pick([0, 0, 0, random.below(FATES)]),
    random.below(128),
    random.below(256),
  ]);
}
