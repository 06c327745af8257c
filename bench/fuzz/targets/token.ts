// Tokens. A part is a token as text, and what is in one: then its checksum is made right, or no mutation would get beyond it.

import { createHash } from 'node:crypto';
import { nodeIdFromBytes } from '../../../lib/address.js';
import { StarlaneError } from '../../../lib/errors.js';
import { decodeToken, encodeToken } from '../../../lib/wire/token.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const PREFIX = 'starlane1.';
const CHECKSUM_BYTES = 4;
const ADDRESSES = ['tls://127.0.0.1:7000', 'tls://[::1]:65535', 'tls://größe.example:1', `tls://${'x'.repeat(240)}:1`];

export const token: PureTarget = {
  name: 'token',
  share: 12,

  generate(random) {
    const text = randomToken(random);
    if (random.below(4) === 0) return [Buffer.from(text)];
    return [Buffer.from(text.slice(PREFIX.length), 'base64url').subarray(0, -CHECKSUM_BYTES)];
  },

  run(parts) {
    const ways = new Set<Outcome>();
    for (const part of parts) {
      ways.add(wayOfText(part.toString('utf8')));
      ways.add(wayOfText(PREFIX + withChecksum(part).toString('base64url')));
    }
    return [...ways];
  },
};

function randomToken(random: Random): string {
  return encodeToken({
    expiresAtMs: random.below(2 ** 32) * 1_000,
    networkId: random.bytes(16).toString('base64url'),
    issuer: nodeIdFromBytes(random.bytes(8)),
    code: random.bytes(16),
    addresses: Array.from({ length: 1 + random.below(8) }, () => random.pick(ADDRESSES)),
  });
}

function withChecksum(content: Buffer): Buffer {
  const hash = createHash('sha256').update('starlane token 1\n').update(content).digest();
  return Buffer.concat([content, hash.subarray(0, CHECKSUM_BYTES)]);
}

function wayOfText(text: string): Outcome {
  let read: ReturnType<typeof decodeToken>;
  try {
    read = decodeToken(text);
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_TOKEN', `it is refused with ${error.code}`);
    return wayOf(error);
  }
  must(encodeToken(read) === text.replace(/\s+/g, ''), 'a token has two forms');
  must(!JSON.stringify(read).includes(read.code.toString('base64url')), 'it shows its code');
  return `${read.addresses.length} addresses ${read.addresses.map((address) => address.length >> 5).join(' ')}`;
}
