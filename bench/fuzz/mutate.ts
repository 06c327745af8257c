// Changes to an input. Most are small, since what is nearly valid gets furthest.

import type { Random } from '../simulation/random.js';
import type { Parts } from './target.js';

/** Neither parts nor their number grow without bound. */
const MAX_PART_BYTES = 16 * 1024;
const MAX_PARTS = 48;

const INTERESTING_BYTES = [0, 1, 2, 7, 8, 0x0f, 0x10, 0x20, 0x3a, 0x40, 0x7f, 0x80, 0xc0, 0xed, 0xf8, 0xfe, 0xff];
const INTERESTING_NUMBERS = [
  0, 1, 2, 11, 12, 32, 33, 64, 128, 255, 256, 257, 512, 1023, 1024, 4095, 4096, 4097, 16_384, 32_767, 32_768, 49_152,
  65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];

/** What has broken others: names of members of every object, text that is not UTF-8, ids that look like names. */
const TOKENS = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'AAAAAAAAAAA',
  '@AAAAAAAAAAA:1',
  'tcp://127.0.0.1:1',
  'tls://[::1]:65535',
  'unix:/tmp/x',
  '{"__proto__":{"a":1}}',
  '[[[[[[[[[[[[[[[[',
  '\u0000',
  '\u202e',
  '\ud83d\ude00',
].map((text) => Buffer.from(text));
const BROKEN_TEXT = ['ff', 'c080', 'eda080', 'f4908080', 'e28280f0', 'efbbbf'].map((hex) => Buffer.from(hex, 'hex'));
const DICTIONARY = [...TOKENS, ...BROKEN_TEXT];

/** An input like `parts`, which stay as they are; `other` lends some of its own. */
export function mutate(parts: Parts, other: Parts, random: Random): Buffer[] {
  const mutant = [...parts];
  const times = 1 + Math.min(random.below(6), random.below(6));
  for (let time = 0; time < times; time++) {
    if (random.below(4) === 0) mutateOrder(mutant, other, random);
    else if (mutant.length > 0) {
      const at = random.below(mutant.length);
      mutant[at] = mutateBytes(mutant[at], other.length === 0 ? mutant[at] : random.pick(other), random);
    }
  }
  return mutant;
}

function mutateOrder(parts: Buffer[], other: Parts, random: Random): void {
  const at = random.below(parts.length + 1);
  switch (random.below(6)) {
    case 0:
      parts.splice(at, 1);
      break;
    case 1:
      if (parts.length > 0) parts.splice(at, 0, random.pick(parts));
      break;
    case 2:
      if (other.length > 0) parts.splice(at, 0, random.pick(other));
      break;
    case 3:
      if (parts.length > 1) parts.push(...parts.splice(random.below(parts.length), 1));
      break;
    case 4:
      // A chunk that arrives as two.
      if (at < parts.length && parts[at].length > 1) {
        const cut = 1 + random.below(parts[at].length - 1);
        parts.splice(at, 1, parts[at].subarray(0, cut), parts[at].subarray(cut));
      }
      break;
    default:
      if (other.length > 0) parts.splice(at, parts.length, ...other.slice(random.below(other.length)));
  }
  parts.length = Math.min(parts.length, MAX_PARTS);
}

function mutateBytes(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  switch (random.below(12)) {
    case 0:
      return changed(bytes, (copy) => {
        if (copy.length > 0) copy[at % copy.length] ^= 1 << random.below(8);
      });
    case 1:
    case 2:
      return changed(bytes, (copy) => {
        if (copy.length > 0) copy[at % copy.length] = random.pick(INTERESTING_BYTES);
      });
    case 3:
      return changed(bytes, (copy) => {
        if (copy.length > 0) copy[at % copy.length] = random.below(256);
      });
    case 4:
    case 5:
      return changed(bytes, (copy) => writeNumber(copy, random));
    case 6:
      return spliced(bytes, at, 0, random.pick(DICTIONARY));
    case 7: {
      const token = random.pick(DICTIONARY);
      return spliced(bytes, at, token.length, token);
    }
    case 8:
      return spliced(bytes, at, 1 + random.below(16), Buffer.alloc(0));
    case 9:
      return spliced(bytes, at, 0, sliceOf(bytes, random));
    case 10: {
      const piece = sliceOf(other, random);
      return spliced(bytes, at, random.below(2) * piece.length, piece);
    }
    default:
      return random.below(2) === 0 ? bytes.subarray(0, at) : spliced(bytes, at, 0, random.bytes(1 + random.below(12)));
  }
}

function writeNumber(bytes: Buffer, random: Random): void {
  const size = random.pick([1, 2, 4]);
  if (bytes.length < size) return;
  const at = random.below(bytes.length - size + 1);
  const old = bytes.readUIntBE(at, size);
  const value = random.below(2) === 0 ? random.pick(INTERESTING_NUMBERS) : old + random.below(9) - 4;
  const span = 2 ** (8 * size);
  bytes.writeUIntBE(((value % span) + span) % span, at, size);
}

function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  return copy;
}

function spliced(bytes: Buffer, at: number, remove: number, insert: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]).subarray(0, MAX_PART_BYTES);
}

function sliceOf(bytes: Buffer, random: Random): Buffer {
  const start = random.below(bytes.length + 1);
  return bytes.subarray(start, start + 1 + random.below(64));
}
