// What senders and receivers of messages send each other: the preamble of a circuit, and the frames of a lane. The first part is read as a
// preamble, all of them together as chunks of frames, and what is read has to come out again as it went in.

import {
  FrameDecoder,
  FrameType,
  FrameWriter,
  Kind,
  MalformedFrame,
  readMessage,
  readNumber,
  readOutcome,
  readWelcome,
} from '../../../lib/messages/wire/frames.js';
import { CircuitKind, encodePreamble, type Preamble, readPreamble } from '../../../lib/messages/wire/preamble.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type Parts, type PureTarget } from '../target.js';

export const lanes: PureTarget = {
  name: 'lanes',
  share: 12,

  generate(random) {
    const bytes = Buffer.concat(Array.from({ length: 1 + random.below(4) }, () => randomFrame(random)));
    const cut = random.below(bytes.length + 1);
    return [encodePreamble(randomPreamble(random)), bytes.subarray(0, cut), bytes.subarray(cut)];
  },

  run(parts) {
    const [first = Buffer.alloc(0), ...chunks] = parts;
    return [wayOfPreamble(first), ...waysOfFrames(chunks)];
  },
};

function randomPreamble(random: Random): Preamble {
  const session = { run: random.bytes(16).toString('latin1'), epoch: random.below(9) };
  switch (random.below(3)) {
    case 0:
      return { kind: CircuitKind.LANE, ...session, isResumed: random.below(2) === 0, outcomes: random.below(2 ** 32) };
    case 1:
      return { kind: random.pick([CircuitKind.BODY, CircuitKind.FETCH]), ...session, number: random.below(2 ** 32) };
    default:
      return { kind: CircuitKind.CALL, header: random.bytes(random.below(20)) };
  }
}

function randomFrame(random: Random): Buffer {
  const writer = new FrameWriter();
  const number = random.below(2 ** 32);
  const command = random.below(2) === 0 ? undefined : random.below(2 ** 32);
  const key = random.below(2) === 0 ? undefined : 'key';
  const payload = random.bytes(random.below(20));
  switch (random.below(5)) {
    case 0:
      writer.message(number, command, 10_000, Kind.BYTES, payload, payload.length, key);
      break;
    case 1:
      writer.messageApart(number, command, 10_000, random.pick([Kind.STREAM, Kind.TEXT]), random.below(2 ** 31), key);
      break;
    case 2:
      writer.outcome(number, random.below(12), Kind.BYTES, payload, payload.length, false);
      break;
    case 3:
      writer.welcome(random.below(5), number, 1_024, 65_536);
      break;
    default:
      writer.number(random.pick([FrameType.ACK, FrameType.CANCEL, FrameType.SKIP, FrameType.WANT]), number);
  }
  return Buffer.concat(writer.take());
}

function wayOfPreamble(bytes: Buffer): Outcome {
  try {
    const read = readPreamble(bytes);
    if (read === undefined) return 'a part of a preamble';
    must(encodePreamble(read.preamble).equals(bytes.subarray(0, read.bytes)), 'a preamble has two forms');
    return `a circuit of kind ${read.preamble.kind}`;
  } catch (error) {
    return wayOf(error);
  }
}

function waysOfFrames(chunks: Parts): Outcome[] {
  const ways: Outcome[] = [];
  const decoder = new FrameDecoder((type, bytes, from, to) => ways.push(wayOfFrame(type, bytes, from, to)));
  try {
    for (const chunk of chunks) decoder.push(chunk);
    ways.push(`ends between frames: ${decoder.isBetween}`);
  } catch (error) {
    ways.push(wayOf(error));
  }
  return ways;
}

function wayOfFrame(type: number, bytes: Buffer, from: number, to: number): Outcome {
  switch (type) {
    case FrameType.MESSAGE:
    case FrameType.CALL: {
      const { kind, isApart, key, from: at, to: end } = readMessage(type, bytes, from, to);
      must(at >= from && at <= end && end === to, 'the payload is not in its frame');
      return `message ${kind} ${isApart} ${key !== undefined}`;
    }
    case FrameType.OUTCOME: {
      const { code, kind, isApart, from: at, to: end } = readOutcome(bytes, from, to);
      must(at >= from && at <= end && end === to, 'the payload is not in its frame');
      return `outcome ${code} ${kind} ${isApart}`;
    }
    case FrameType.WELCOME:
      return `welcome ${readWelcome(bytes, from, to).status}`;
    default:
      readNumber(bytes, from, to);
      return 'a number';
  }
}

function wayOf(error: unknown): Outcome {
  if (!(error instanceof MalformedFrame)) throw error;
  return error.message.replace(/\d+/g, '#');
}
