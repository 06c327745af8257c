// The links that join() keeps up: one joiner an address.

import type { LinkAddress } from '../address.js';
import { formatLinkAddress } from '../address.js';
import { optionError } from '../errors.js';
import { isPermanent, isTaken } from '../link/handshake/handshake.js';
import { Joiner, type JoinOptions } from '../link/joiner.js';
import type { Link } from '../link/link.js';
import type { LinkSet } from '../link/link-set.js';

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
