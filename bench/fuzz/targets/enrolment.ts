// The messages of enrolment, read from the start of a connection that brings a little more at a time. Each part is one of them.

import { nodeIdFromBytes } from '../../../lib/address.js';
import { StarlaneError } from '../../../lib/errors.js';
import {
  type EnrolmentMessage,
  EnrolmentType,
  encodeCertified,
  encodeEnrol,
  encodeHello,
  encodeNotice,
  encodeRefused,
  encodeRenew,
  MAX_ENROLMENT_BYTES,
  tryReadEnrolment,
} from '../../../lib/wire/enrolment.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const LENGTH_BYTES = 4;
const TEXTS = ['', 'no', 'größe', 'x'.repeat(64)];

export const enrolment: PureTarget = {
  name: 'enrolment',
  share: 12,
  generate: (random) => [randomMessage(random)],
  repair(parts) {
    parts.forEach((part, index) => {
      if (part.length < LENGTH_BYTES) return;
      const repaired = Buffer.from(part);
      repaired.writeUInt32BE(part.length - LENGTH_BYTES);
      parts[index] = repaired;
    });
  },
  run: (parts) => parts.map(wayOfOne),
};

function randomMessage(random: Random): Buffer {
  const issuer = nodeIdFromBytes(random.bytes(8));
  const timeMs = random.below(2 ** 40);
  const certificate = random.bytes(random.below(400));
  const statements = Array.from({ length: random.below(4) }, () => random.bytes(random.below(150)));
  switch (random.below(6)) {
    case 0:
      return encodeHello({ timeMs, statements });
    case 1:
      return encodeEnrol(
        {
          networkId: random.bytes(16).toString('base64url'),
          issuer,
          timeMs,
          codeId: random.bytes(16),
          expiresAtMs: random.below(2 ** 32) * 1_000,
          publicKey: random.bytes(32),
          name: random.pick(TEXTS),
        },
        () => random.bytes(64),
        () => random.bytes(32),
      );
    case 2:
      return encodeRenew({ issuer, timeMs, certificate }, () => random.bytes(64));
    case 3:
      return encodeCertified({ certificate, authorities: statements, seeds: ['tls://host:1', ''], statements });
    case 4:
      return encodeRefused({ code: random.below(16), at: issuer, timeMs, reason: random.pick(TEXTS) });
    default:
      return encodeNotice({ code: random.below(16), timeMs, reason: random.pick(TEXTS) });
  }
}

function wayOfOne(bytes: Buffer): Outcome {
  let read: ReturnType<typeof tryReadEnrolment>;
  try {
    read = tryReadEnrolment(bytes);
  } catch (error) {
    if (!(error instanceof StarlaneError)) throw error;
    must(error.code === 'ERR_STARLANE_MESSAGE', `it is refused with ${error.code}`);
    return wayOf(error);
  }
  if (read === undefined) {
    must(bytes.length < MAX_ENROLMENT_BYTES, 'it wants more than there may be');
    return 'more';
  }
  const { message, bytesRead } = read;
  must(bytesRead <= bytes.length && bytesRead <= MAX_ENROLMENT_BYTES, 'it reads beyond the end');
  must(tryReadEnrolment(bytes.subarray(0, bytesRead - 1)) === undefined, 'it does not need all of what it reads');
  if (message === undefined) return 'of a later version';
  const text = JSON.stringify(message);
  must(
    JSON.stringify(tryReadEnrolment(bytes.subarray(0, bytesRead))?.message) === text,
    'what follows makes a difference',
  );
  const again = tryReadEnrolment(written(message))?.message;
  must(again !== undefined && JSON.stringify(again) === text, 'written again it says something else');
  return `${message.type} ${Object.values(message).map(sizeOf).join(' ')}`;
}

function written(message: EnrolmentMessage): Buffer {
  switch (message.type) {
    case EnrolmentType.HELLO:
      return encodeHello(message);
    case EnrolmentType.ENROL:
      return encodeEnrol(
        message,
        () => message.signature,
        () => message.mac,
      );
    case EnrolmentType.RENEW:
      return encodeRenew(message, () => message.signature);
    case EnrolmentType.CERTIFIED:
      return encodeCertified(message);
    case EnrolmentType.REFUSED:
      return encodeRefused(message);
    default:
      return encodeNotice(message);
  }
}

function sizeOf(field: unknown): string {
  const { length } = field as { length?: number };
  if (length === undefined) return '';
  return Array.isArray(field) ? `${Math.min(length, 3)}` : length === 0 ? '-' : '+';
}
