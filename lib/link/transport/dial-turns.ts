// How many handshakes the nodes of this process begin at a time. A process that makes two hundred nodes, each of which joins at
// once, would have hundreds of them going: all take as long as all together, none is done within its timeout, and the
// next attempts fare no better. In turn, each is done in a moment.

import type { Timed, Timer, Timers } from '../../util/timers.js';

const MAX_AT_ONCE = 32;
/** Who takes longer waits for the network and not for this process, and others may begin. */
const PATIENCE_MS = 1_000;

/** To be ended when the handshake is over, however that came. May be ended more than once. */
export class DialTurn implements Timed {
  private timer: Timer | undefined;

  /** @internal */
  constructor(
    private readonly timers: Timers,
    private readonly onEnd: () => void,
  ) {
    this.timer = timers.schedule(PATIENCE_MS, this);
  }

  end(): void {
    if (this.timer === undefined) return;
    this.timers.cancel(this.timer);
    this.onDeadline();
  }

  onDeadline(): void {
    this.timer = undefined;
    this.onEnd();
  }
}

export class DialTurns {
  private taken = 0;
  /** In the order in which they came. */
  private readonly waiting = new Set<() => void>();

  constructor(private readonly max = MAX_AT_ONCE) {}

  /** How many wait for their turn. */
  get size(): number {
    return this.waiting.size;
  }

  /** A turn now, when there is one; undefined: {@link wait} for it. */
  take(timers: Timers): DialTurn | undefined {
    if (this.taken >= this.max) return undefined;
    this.taken++;
    return new DialTurn(timers, () => {
      this.taken--;
      const [first] = this.waiting;
      first?.();
    });
  }

  /** @throws the reason of the signal */
  wait(timers: Timers, signal: AbortSignal | undefined): Promise<DialTurn> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const settle = (): void => {
        this.waiting.delete(begin);
        signal?.removeEventListener('abort', onAbort);
      };
      const begin = (): void => {
        settle();
        resolve(this.take(timers) as DialTurn);
      };
      const onAbort = (): void => {
        settle();
        reject(signal?.reason);
      };
      this.waiting.add(begin);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** Of all nodes in this process. */
export const dialTurns = new DialTurns();
