// What a sender sends, from a seed: small messages for the most part, with large ones and streams, calls, keys, short times and aborts
// among them.

import type { Random } from '../../simulation/random.js';
import type { BodyKind, MessageKind } from '../events.js';
import { ITERATED, OWN, POOL, STREAMED } from '../run/shape.js';
import type { Form } from './content.js';

export interface Operation {
  readonly kind: MessageKind;
  /** A service, or '@' and the name of a receiver, whose node is meant. */
  readonly to: string;
  readonly form: Form;
  readonly body: BodyKind;
  readonly length: number;
  readonly timeoutMs: number;
  readonly key?: string;
  readonly idempotent?: boolean;
  readonly abortMs?: number;
  readonly throws?: boolean;
  readonly slowMs?: number;
}

const TIMEOUT_MS = 8_000;
const SHORT_TIMEOUT_MS = 300;
const LARGE_BYTES = { min: 70_000, max: 300_000 };
/** Few: their bytes would take the time that short messages need. */
const LARGE_SHARE = 0.006;
const STREAM_SHARE = { streamed: 0.12, other: 0.004 };
const SMALL_BYTES = 400;
/** How long the first one of a pile runs: longer than most cuts. */
const PILE_MS = { min: 300, max: 1_500 };
/** Of so many keys any may be used again: far fewer than a receiver remembers. */
const RECENT_KEYS = 30;

export class Traffic {
  private readonly recent: Operation[] = [];
  private keys = 0;

  /** @param process what keys begin with, since each belongs to one message at first */
  constructor(
    private readonly random: Random,
    private readonly process: string,
    private readonly receivers: readonly string[],
  ) {}

  /** May be sent once more, with the same key. */
  remember(operation: Operation): void {
    this.recent.push(operation);
    if (this.recent.length > RECENT_KEYS) this.recent.shift();
  }

  next(): Operation {
    const { random } = this;
    if (this.recent.length > 0 && random.next() < 0.03) return random.pick(this.recent);
    const kind = random.next() < 0.2 ? 'call' : 'send';
    const to = this.target(kind);
    const operation: Operation = {
      kind,
      to,
      ...this.content(kind, to),
      timeoutMs: random.next() < 0.04 ? 1 + random.below(SHORT_TIMEOUT_MS) : TIMEOUT_MS,
      ...(random.next() < 0.02 ? { abortMs: random.below(SHORT_TIMEOUT_MS) } : {}),
      ...(random.next() < 0.02 && !to.endsWith(ITERATED('')) ? { throws: true } : {}),
      ...this.slowness(),
    };
    if (random.next() < 0.04) return { ...operation, idempotent: true };
    if (random.next() > 0.08 || operation.form === 'stream') return operation;
    const keyed = { ...operation, key: `${this.process}-${this.keys++}` };
    this.remember(keyed);
    return keyed;
  }

  /**
   * Short messages to one inbox, the first of which is slow: while it runs the others wait at the receiver, which has got them. What a link
   * that breaks then must not run twice.
   */
  pile(count: number): Operation[] {
    const { random } = this;
    const to = OWN(random.pick(this.receivers));
    return Array.from({ length: count }, (_, at) => ({
      kind: 'send',
      to,
      form: 'json',
      body: 'small',
      length: random.below(SMALL_BYTES),
      timeoutMs: TIMEOUT_MS,
      ...(at === 0 ? { slowMs: Math.round(random.between(PILE_MS.min, PILE_MS.max)) } : {}),
    }));
  }

  private target(kind: MessageKind): string {
    const { random } = this;
    if (random.next() < 0.25) return POOL;
    const name = random.pick(this.receivers);
    const place = random.next();
    if (place < 0.15) return `@${name}`;
    if (kind === 'call' || place < 0.7) return OWN(name);
    return place < 0.9 ? ITERATED(name) : STREAMED(name);
  }

  private content(kind: MessageKind, to: string): Pick<Operation, 'form' | 'body' | 'length'> {
    const { random } = this;
    const streamed = to.endsWith(STREAMED(''));
    if (kind === 'send' && random.next() < (streamed ? STREAM_SHARE.streamed : STREAM_SHARE.other)) {
      const length = random.below(LARGE_BYTES.max);
      return { form: 'stream', body: 'stream', length };
    }
    if (random.next() < LARGE_SHARE) {
      const length = Math.round(random.between(LARGE_BYTES.min, LARGE_BYTES.max));
      return { form: 'bytes', body: 'large', length };
    }
    const length = random.below(SMALL_BYTES);
    return { form: streamed ? 'bytes' : random.pick(['json', 'text', 'bytes']), body: 'small', length };
  }

  private slowness(): { slowMs?: number } {
    const { random } = this;
    const share = random.next();
    // Behind them others wait, which have arrived and not run when a link breaks.
    if (share < 0.008) return { slowMs: 200 + random.below(1_500) };
    return share < 0.06 ? { slowMs: random.below(80) } : {};
  }
}
