// Keeps a link to one address: dials until it is up, and again whenever it is lost, with jittered exponential backoff.
// Pure but for what is passed in: it dials by a function, waits by a clock and jitters by a random source.

import { formatLinkAddress, type LinkAddress } from '../address.js';
import { netError, optionError, starlaneError } from '../errors.js';
import { debug } from '../util/runtime/debug.js';
import type { Timer, Timers } from '../util/timers.js';
import { isPermanent, isTaken } from './handshake/refusals.js';
import type { Link } from './link.js';
import type { LinkSet } from './link-set.js';

const log = debug('link');

/** A link that has been up this long has proved itself: the next loss is waited for as if it were the first. */
const PROVEN_MS = 60_000;

/** Each wait is this much shorter at most, at random, so that the peers of a node that restarts do not come in step. */
const JITTER = 0.5;

/** How long to wait for a link. */
export interface JoinOptions {
  /** Ends the waiting. */
  signal?: AbortSignal | undefined;
  /** Milliseconds, from 1; Default Infinity: no limit. */
  timeoutMs?: number | undefined;
}

export interface JoinerOptions {
  /** Whom it dials, for messages. */
  readonly address: string;
  /** One attempt. */
  dial(signal: AbortSignal): Promise<Link>;
  readonly minMs: number;
  readonly maxMs: number;
  readonly timers: Timers;
  /** From 0 up to 1. */
  random(): number;
  /** Is there no point in trying again? Asked until the first success only: what has worked once may work again. */
  isFinal(error: unknown): boolean;
  /** Is there no point in it ever again, whatever has worked before? */
  isOver(error: unknown): boolean;
  /** An attempt failed that will be made again after `waitMs`. */
  onRetry(error: Error, waitMs: number): void;
  /** It has ended for ever: stopped, a permanent fault before the first success, or a link closed on purpose. */
  onEnd(joiner: Joiner): void;
}

interface Waiter {
  resolve(link: Link): void;
  reject(error: Error): void;
}

export class Joiner {
  private readonly aborter = new AbortController();
  private readonly waiters = new Set<Waiter>();
  private link: Link | undefined;
  private linkedAtMs = 0;
  private hasLinked = false;
  private failures = 0;
  /** Why the last attempt failed, or the last link was lost. */
  private lastFailure: Error | undefined;
  private timer: Timer | undefined;

  constructor(private readonly options: JoinerOptions) {}

  start(): this {
    void this.attempt();
    return this;
  }

  /**
   * Returns the link, now or as soon as it is up. Rejects on a permanent fault before the first success, on stop, and by the
   * signal or the timeout, which end the waiting only. The `cause` of a rejection is why the last attempt failed.
   */
  wait({ signal, timeoutMs = Number.POSITIVE_INFINITY }: JoinOptions = {}): Promise<Link> {
    if (this.link?.isUp) return Promise.resolve(this.link);
    return new Promise((resolve, reject) => {
      if (this.aborter.signal.aborted) throw this.aborter.signal.reason;
      const { address, timers } = this.options;
      const onAbort = (): void => waiter.reject(abortError(signal?.reason, this.lastFailure));
      let timer: Timer | undefined;
      const settle = (): void => {
        this.waiters.delete(waiter);
        if (timer !== undefined) timers.cancel(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        resolve: (link) => {
          settle();
          resolve(link);
        },
        reject: (error) => {
          settle();
          reject(error);
          // With nobody left who waits, a first join that has never succeeded has been given up.
          if (!this.hasLinked && this.waiters.size === 0) this.stop(error);
        },
      };
      this.waiters.add(waiter);
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      if (timeoutMs !== Number.POSITIVE_INFINITY) {
        const late = (): void => waiter.reject(netError('ETIMEDOUT', 'join', { address }, this.lastFailure));
        timer = timers.schedule(timeoutMs, { onDeadline: late });
      }
    });
  }

  /** Never dials again. The link stays as it is. */
  stop(reason: Error = starlaneError('ERR_STARLANE_CLOSED', undefined, this.lastFailure)): void {
    if (this.aborter.signal.aborted) return;
    this.aborter.abort(reason);
    if (this.timer !== undefined) this.options.timers.cancel(this.timer);
    this.timer = undefined;
    for (const waiter of [...this.waiters]) waiter.reject(reason);
    this.options.onEnd(this);
  }

  /** To be told of every link that is lost or closed; `onPurpose` when it was this side's user who closed it. */
  onUnlink(link: Link, onPurpose: boolean): void {
    if (link !== this.link) return;
    this.link = undefined;
    if (onPurpose) {
      this.stop();
      return;
    }
    if (this.options.timers.now() - this.linkedAtMs >= PROVEN_MS) this.failures = 0;
    this.retry(starlaneError('ERR_STARLANE_LINK_LOST', link.address));
  }

  /** @internal The wait is over. */
  onDeadline(): void {
    this.timer = undefined;
    void this.attempt();
  }

  private async attempt(): Promise<void> {
    let link: Link;
    try {
      link = await this.options.dial(this.aborter.signal);
    } catch (error) {
      if (this.aborter.signal.aborted) return;
      if (this.options.isOver(error) || (!this.hasLinked && this.options.isFinal(error))) this.stop(error as Error);
      else this.retry(error as Error);
      return;
    }
    if (this.aborter.signal.aborted) return;
    if (!link.isUp) {
      // Lost between its coming up and this turn.
      this.retry(starlaneError('ERR_STARLANE_LINK_LOST', link.address));
      return;
    }
    this.link = link;
    this.hasLinked = true;
    this.linkedAtMs = this.options.timers.now();
    for (const waiter of [...this.waiters]) waiter.resolve(link);
  }

  private retry(error: Error): void {
    if (this.aborter.signal.aborted) return;
    const { minMs, maxMs, random, timers, onRetry } = this.options;
    this.lastFailure = error;
    // The exponent is bounded so that it cannot become infinite before the minimum is taken.
    const backoffMs = Math.min(maxMs, minMs * 2 ** Math.min(this.failures, 40));
    const waitMs = backoffMs * (1 - JITTER * random());
    this.failures++;
    log('again in %d ms: %s', Math.round(waitMs), error.message);
    this.timer = timers.schedule(waitMs, this);
    onRetry(error, waitMs);
  }
}

/**
 * Returns the error of a wait that a signal ended: it has the name and the message of the signal's reason, which belongs to the
 * user and stays as it is, and `cause` says what the wait was for.
 */
function abortError(reason: unknown, cause: Error | undefined): Error {
  const { name, message } =
    reason instanceof Error ? reason : { name: 'AbortError', message: `The operation was aborted: ${String(reason)}` };
  const error = new Error(message, cause === undefined ? undefined : { cause });
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  return Object.assign(error, { code: 'ABORT_ERR', reason });
}

export interface JoinsOwner {
  onWarning(error: Error): void;
  /** An address has given a link, and is kept joined. */
  onJoined(address: string): void;
  /** It is joined no more. */
  onLeft(address: string): void;
}

export class NodeJoins {
  private readonly joiners = new Map<string, Joiner>();

  constructor(
    private readonly links: LinkSet,
    private readonly owner: JoinsOwner,
    private readonly random: () => number,
  ) {}

  /** How many addresses are kept joined. */
  get size(): number {
    return this.joiners.size;
  }

  /** The link to an address, which is kept up from now on. @throws ERR_STARLANE_OPTION, and as {@link Joiner.wait} */
  async join(address: string, options: JoinOptions | undefined): Promise<Link> {
    const checked = checkJoinOptions(options);
    return this.joiner(this.links.parse(address)).wait(checked);
  }

  /** A link is gone; `onPurpose` when this node closed it. */
  onUnlink(link: Link, onPurpose: boolean): void {
    for (const joiner of [...this.joiners.values()]) joiner.onUnlink(link, onPurpose);
  }

  close(): void {
    for (const joiner of [...this.joiners.values()]) joiner.stop();
  }

  private joiner(address: LinkAddress): Joiner {
    const key = formatLinkAddress(address);
    const known = this.joiners.get(key);
    if (known !== undefined) return known;
    const { links } = this;
    const joiner = new Joiner({
      address: key,
      dial: async (signal) => {
        const link = await links.dial(address, { purpose: 'join', signal });
        if (!signal.aborted) this.owner.onJoined(key);
        return link;
      },
      minMs: links.options.rejoinMinMs,
      maxMs: links.options.rejoinMaxMs,
      timers: links.timers,
      random: this.random,
      // Behind a balancer, or a name of many addresses, another node may answer next time.
      isFinal: (error) => isPermanent(error) && (!isSelf(error) || links.isOwn(address)),
      isOver: isTaken,
      onRetry: (error) => this.owner.onWarning(error),
      onEnd: () => {
        this.joiners.delete(key);
        this.owner.onLeft(key);
      },
    });
    this.joiners.set(key, joiner);
    return joiner.start();
  }
}

function isSelf(error: unknown): boolean {
  return (error as { code?: string }).code === 'ERR_STARLANE_SELF_LINK';
}

function checkJoinOptions(options: JoinOptions | undefined): JoinOptions {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) throw optionError('join', 'an object of options is needed');
  for (const name of Object.keys(options)) {
    if (name !== 'signal' && name !== 'timeoutMs') throw optionError(name, 'join has no such option');
  }
  const { signal, timeoutMs } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'an AbortSignal is needed');
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 1)) {
    throw optionError('timeoutMs', 'a number from 1 is needed');
  }
  return options;
}
