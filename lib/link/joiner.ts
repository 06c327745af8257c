// The links that join() keeps up. A Joiner keeps a link to one address: it dials until the link is up, and again whenever it is lost,
// with a jittered exponential back-off. Its way to dial, its clock and its random source are arguments.

import { formatSeedAddress, parseSeedAddress, type SeedAddress } from '../address.js';
import { codeOf, netError, starlaneError } from '../errors.js';
import { type BackOff, backOffMs } from '../util/back-off.js';
import { checkWaitOptions, Deadline, inTime } from '../util/deadline.js';
import { debug } from '../util/runtime/debug.js';
import type { Timers } from '../util/timers.js';
import { isPermanent, isTaken } from './handshake/refusals.js';
import type { Link } from './link.js';
import type { LinkSet } from './link-set.js';

const log = debug('link');

/** The back-off begins again after a link that has been up this long, in ms. */
const PROVEN_MS = 60_000;
const RESOLVE_TIMEOUT_MS = 10_000;

/** How long to wait for a link. */
export interface JoinOptions {
  /** Ends the wait. */
  signal?: AbortSignal | undefined;
  /** Milliseconds, from 1. Default Infinity: no limit. */
  timeoutMs?: number | undefined;
}

interface JoinerOptions {
  /** The address, for error messages. */
  readonly address: string;
  /** Makes one attempt. */
  dial(signal: AbortSignal): Promise<Link>;
  readonly backOff: BackOff;
  readonly timers: Timers;
  /** Returns a number from 0 up to 1. */
  random(): number;
  /** Returns whether a retry makes no sense. Called until the first success only: what has worked once may work again. */
  isFinal(error: unknown): boolean;
  /** Returns whether a retry makes no sense even after a success. */
  isForbidden(error: unknown): boolean;
  /** Called when an attempt has failed; the next one follows after `waitMs`. */
  onRetry(error: Error, waitMs: number): void;
  /** Called at the end: the joiner was stopped, met a permanent fault before its first success, or its link was closed on purpose. */
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
  /** Why the last attempt failed, or why the last link was lost. */
  private lastFailure: Error | undefined;
  private readonly retryDeadline: Deadline;

  constructor(private readonly options: JoinerOptions) {
    this.retryDeadline = new Deadline(options.timers, () => void this.attempt());
  }

  start(): this {
    void this.attempt();
    return this;
  }

  /**
   * Resolves with the link, now or as soon as it is up. Rejects on a permanent fault before the first success, on stop, and by the
   * signal or the timeout, which end only the wait. The `cause` of a rejection is why the last attempt failed.
   */
  wait({ signal, timeoutMs = Number.POSITIVE_INFINITY }: JoinOptions = {}): Promise<Link> {
    if (this.link?.isUp) return Promise.resolve(this.link);
    return new Promise((resolve, reject) => {
      if (this.aborter.signal.aborted) throw this.aborter.signal.reason;
      const { address, timers } = this.options;
      const onAbort = (): void => waiter.reject(abortError(signal?.reason, this.lastFailure));
      const deadline = new Deadline(timers, () =>
        waiter.reject(netError('ETIMEDOUT', 'join', { address }, this.lastFailure)),
      );
      const settle = (): void => {
        this.waiters.delete(waiter);
        deadline.clear();
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
          // A join that has never succeeded ends with its last wait.
          if (!this.hasLinked && this.waiters.size === 0) this.stop(error);
        },
      };
      this.waiters.add(waiter);
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      if (timeoutMs !== Number.POSITIVE_INFINITY) deadline.set(timeoutMs);
    });
  }

  /** Never dials again. The link stays as it is. */
  stop(reason: Error = starlaneError('ERR_STARLANE_CLOSED', undefined, this.lastFailure)): void {
    if (this.aborter.signal.aborted) return;
    this.aborter.abort(reason);
    this.retryDeadline.clear();
    for (const waiter of [...this.waiters]) waiter.reject(reason);
    this.options.onEnd(this);
  }

  /** Called with every link that is lost or closed; `onPurpose` when the user of this node has closed it. */
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

  private async attempt(): Promise<void> {
    let link: Link;
    try {
      link = await this.options.dial(this.aborter.signal);
    } catch (error) {
      if (this.aborter.signal.aborted) return;
      if (this.options.isForbidden(error) || (!this.hasLinked && this.options.isFinal(error)))
        this.stop(error as Error);
      else this.retry(error as Error);
      return;
    }
    if (this.aborter.signal.aborted) return;
    if (!link.isUp) {
      // It was lost between coming up and this turn.
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
    const { backOff, random, onRetry } = this.options;
    this.lastFailure = error;
    const waitMs = backOffMs(this.failures, backOff, random);
    this.failures++;
    log('again in %d ms: %s', Math.round(waitMs), error.message);
    this.retryDeadline.set(waitMs);
    onRetry(error, waitMs);
  }
}

/**
 * Returns the error of a wait that a signal has ended. It has the name and the message of the signal's reason, which belongs to the user
 * and stays unchanged; `cause` is why the last attempt failed.
 */
function abortError(reason: unknown, cause: Error | undefined): Error {
  const { name, message } =
    reason instanceof Error ? reason : { name: 'AbortError', message: `The operation was aborted: ${String(reason)}` };
  const error = new Error(message, cause === undefined ? undefined : { cause });
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  return Object.assign(error, { code: 'ABORT_ERR', reason });
}

interface JoinsOwner {
  onWarning(error: Error): void;
  /** Called when an address has a link, which is kept up from now on. */
  onJoined(address: string): void;
  /** Called when an address is joined no more. */
  onLeft(address: string): void;
}

/** The joins of a node: one joiner for each address. */
export class Joins {
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

  /** Resolves with the link to an address, which is kept up from now on. @throws ERR_STARLANE_OPTION, and as {@link Joiner.wait} */
  async join(address: string, options: JoinOptions | undefined): Promise<Link> {
    const checked = checkWaitOptions('join', options);
    return this.joiner(parseSeedAddress(address, this.links.defaultScheme)).wait(checked);
  }

  /** Called when a link is gone; `onPurpose` when this node has closed it. */
  onUnlink(link: Link, onPurpose: boolean): void {
    for (const joiner of [...this.joiners.values()]) joiner.onUnlink(link, onPurpose);
  }

  close(): void {
    for (const joiner of [...this.joiners.values()]) joiner.stop();
  }

  private joiner(seed: SeedAddress): Joiner {
    const key = formatSeedAddress(seed);
    const known = this.joiners.get(key);
    if (known !== undefined) return known;
    const { links } = this;
    const joiner = new Joiner({
      address: key,
      dial: async (signal) => {
        const link = await this.dial(seed, signal);
        if (!signal.aborted) this.owner.onJoined(key);
        return link;
      },
      backOff: { minMs: links.options.rejoinMinMs, maxMs: links.options.rejoinMaxMs },
      timers: links.timers,
      random: this.random,
      // Behind a balancer, or a name with many addresses, another node may answer next time.
      isFinal: (error) => isPermanent(error) && (codeOf(error) !== 'ERR_STARLANE_SELF_LINK' || this.isOwn(seed)),
      isForbidden: isTaken,
      onRetry: (error) => this.owner.onWarning(error),
      onEnd: () => {
        this.joiners.delete(key);
        this.owner.onLeft(key);
      },
    });
    this.joiners.set(key, joiner);
    return joiner.start();
  }

  private isOwn(seed: SeedAddress): boolean {
    return seed.kind === 'link' && this.links.isOwn(seed.address);
  }

  /** Makes a link to an address, or to the first that answers of those that DNS has under a name. */
  private async dial(seed: SeedAddress, signal: AbortSignal): Promise<Link> {
    const { links } = this;
    if (seed.kind === 'link') return links.dial(seed.address, { purpose: 'join', signal });
    const name = formatSeedAddress(seed);
    const { groups } = await inTime(links.timers, RESOLVE_TIMEOUT_MS, name, () => links.resolve(name), signal);
    let failure: unknown = starlaneError('ERR_STARLANE_SELF_LINK', `${name} leads to this node alone`);
    for (const address of groups.flat().map((text) => links.parse(text))) {
      if (links.isOwn(address)) continue;
      try {
        return await links.dial(address, { purpose: 'join', signal });
      } catch (error) {
        signal.throwIfAborted();
        // As long as one may answer next time, there is reason to try again.
        if (isPermanent(failure)) failure = error;
      }
    }
    throw failure;
  }
}
