// The frames of a broadcast, and what they do to a participant. A part is the content of one frame; all of them come from one neighbour that
// may send anything.

import { StarlaneError } from '../../../lib/errors.js';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  frameLength,
  LENGTH_BYTES,
  MAX_COUNTER,
} from '../../../lib/messages/broadcast/frames.js';
import { TREE_LIMITS } from '../../../lib/messages/broadcast/tree/limits.js';
import { BroadcastTree } from '../../../lib/messages/broadcast/tree/tree.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const SELF = 'the node itself!';
const ORIGINS = [SELF, 'origin of others', 'another of them!', 'one more of them'];
const LIMITS = { ...TREE_LIMITS, window: 16, maxMissing: 32, maxAnnouncements: 8, maxOrigins: 16, cacheMessages: 8 };
const MOST_SENT = 4_096;

export const broadcast: PureTarget = {
  name: 'broadcast',
  share: 6,
  generate: (random) => Array.from({ length: 1 + random.below(6) }, () => contentOf(randomFrame(random))),
  run(parts) {
    const scene = new Scene();
    return parts.map((part) => scene.take(part));
  },
};

/** A participant with a neighbour that is under test and another one. */
class Scene {
  private now = 1_000;
  private sent = 0;
  private readonly last = new Map<string, number>();
  private readonly tree: BroadcastTree;

  constructor() {
    this.tree = new BroadcastTree(SELF, LIMITS, {
      now: () => this.now,
      send: (_peer, frame) => {
        this.sent++;
        const bytes = Buffer.concat(encodeFrame(frame));
        must(frameLength(bytes) === bytes.length - LENGTH_BYTES, 'a frame has another length');
        must(decodeFrame(bytes.subarray(LENGTH_BYTES)).kind === frame.kind, 'a frame is read as another one');
      },
      isSlow: () => false,
      deliver: ({ origin, counter }) => {
        must(origin !== SELF, 'a message of the node itself is delivered');
        must(counter > (this.last.get(origin) ?? 0), 'a message is delivered twice or out of order');
        this.last.set(origin, counter);
      },
      gap: (_origin, from, count) => must(count > 0 && from > 0, 'a gap of nothing'),
      established: () => must(this.tree.isEstablished, 'it is not established'),
      wake: () => {},
    });
    this.tree.onPeer('peer');
    this.tree.onPeer('other');
    this.tree.onFrame('other', { kind: 'summary', established: true, origins: [] });
    for (let index = 0; index < 3; index++) this.tree.publish(0, Buffer.from('x'));
  }

  take(part: Buffer): Outcome {
    let frame: Frame;
    try {
      frame = decodeFrame(part);
    } catch (error) {
      if (!(error instanceof StarlaneError)) throw error;
      must(error.code === 'ERR_STARLANE_MESSAGE_PROTOCOL', `it is refused with ${error.code}`);
      return wayOf(error);
    }
    this.sent = 0;
    const fault = this.tree.onFrame('peer', frame);
    this.now += 200;
    this.tree.onTime();
    must(this.sent <= MOST_SENT, `one frame causes ${this.sent}`);
    must(this.tree.originCount <= LIMITS.maxOrigins, 'too many origins are kept');
    const { delivered, duplicates, lost } = this.tree.counts;
    return `${frame.kind} ${fault ?? ''} ${Math.min(3, delivered)} ${Math.min(2, duplicates)} ${lost > 0}`;
  }
}

function contentOf(frame: Frame): Buffer {
  return Buffer.concat(encodeFrame(frame)).subarray(LENGTH_BYTES);
}

function randomFrame(random: Random): Frame {
  const origin = random.pick(ORIGINS);
  const own = random.below(2) === 0;
  const counter = random.pick([1, 2, 3, 4, 17, 40, 2 ** 32, MAX_COUNTER]);
  switch (random.below(7)) {
    case 0:
      return { kind: 'hello', version: 1, env: 'some env' };
    case 1: {
      const lowest = 1 + random.below(20);
      return {
        kind: 'summary',
        established: own,
        origins: [{ origin, own, lowest, highest: lowest + random.below(5) }],
      };
    }
    case 2:
      return { kind: 'ihave', entries: [{ origin, counter, own, hops: random.below(256), heldMs: random.below(300) }] };
    case 3:
      return {
        kind: 'graft',
        origin,
        own,
        eager: random.below(2) === 0,
        ranges: [{ from: counter, count: 1 + random.below(9) }],
      };
    case 4:
      return { kind: 'prune', origin, own };
    default: {
      const [fetched, hops] = [random.below(3) === 0, random.below(256)];
      return {
        kind: 'gossip',
        origin,
        counter,
        own,
        fetched,
        hops,
        format: 0,
        payload: random.bytes(random.below(20)),
      };
    }
  }
}
