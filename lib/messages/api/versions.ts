// Which instances of an API fit a client. Instances of several versions may run side by side; docs/apis.md has the rules. An instance whose
// commands differ from those that the client knows describes itself once, and is left out of calls that it does not have or means otherwise.

import { random, type Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import { RecentMap } from '../../util/recent-map.js';
import { performanceNow } from '../../util/runtime/real-timers.js';
import { messageError } from '../outcome.js';
import { announcementOf } from './announcement.js';
import type { AskedCommand } from './call/ask.js';
import type { ApiDescription } from './description.js';

/** Versions of one API whose descriptions are kept. */
const MAX_VERSIONS = 16;
/** How long what the directory says is used without another look. */
const LOOK_MS = 100;
/** How long an instance that does not describe itself is not asked again. */
const FAILED_MS = 30_000;

/** Fetches the description of an instance that the selector picks. */
export type FetchDescription = (selector: Selector) => Promise<ApiDescription>;

type Fit = 'fits' | 'lacks' | 'differs';

interface Known {
  /** Undefined where it could not be fetched. */
  readonly description: ApiDescription | undefined;
  readonly untilMs: number;
}

export class Versions {
  private readonly known = new RecentMap<string, Promise<Known>>(MAX_VERSIONS);
  private digests: ReadonlySet<string> = new Set();
  private lookedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly service: string,
    private readonly instances: () => readonly ServiceInfo[],
    private readonly fetch: FetchDescription,
  ) {}

  /** Returns the digests that instances announce now. */
  current(): ReadonlySet<string> {
    const now = performanceNow();
    if (now - this.lookedMs < LOOK_MS) return this.digests;
    const digests = new Set<string>();
    for (const instance of this.instances()) {
      const announced = announcementOf(instance);
      if (announced !== undefined) digests.add(announced.digest);
    }
    this.lookedMs = now;
    this.digests = digests;
    return digests;
  }

  /** Whether an instance announces other commands than those with the digest `own`. */
  differFrom(own: string): boolean {
    for (const digest of this.current()) if (digest !== own) return true;
    return false;
  }

  /**
   * Returns a selector of the instances that fit the command of a client whose commands have the digest `own`; undefined if all may be called.
   * @throws ERR_STARLANE_NO_HANDLER or ERR_STARLANE_API, 'not-handled', if no instance fits
   */
  async selectorFor(command: AskedCommand, own: string): Promise<Selector | undefined> {
    const others = [...this.current()].filter((digest) => digest !== own).slice(0, MAX_VERSIONS);
    if (others.length === 0) return undefined;
    const fits = await Promise.all(others.map(async (digest) => [digest, await this.fitOf(digest, command)] as const));
    const unfit = new Map(fits.filter(([, fit]) => fit !== 'fits'));
    if (unfit.size === 0) return undefined;
    const isUsable = (instance: ServiceInfo): boolean => !unfit.has(announcementOf(instance)?.digest ?? '');
    if (!this.instances().some(isUsable)) throw this.nobody(command, [...unfit.values()]);
    return (instances) => {
      const usable = instances.filter(isUsable);
      return usable.length === 0 ? undefined : random(usable);
    };
  }

  private async fitOf(digest: string, command: AskedCommand): Promise<Fit> {
    const { description } = await this.knownOf(digest);
    return description === undefined ? 'fits' : fitOf(command, description);
  }

  private async knownOf(digest: string): Promise<Known> {
    const before = await this.known.get(digest);
    if (before !== undefined && before.untilMs > performanceNow()) return before;
    // Other calls may have begun it meanwhile.
    const running = this.known.get(digest);
    if (running !== undefined && (await running) !== before) return running;
    const fetched = this.fetch((instances) => {
      const those = instances.filter((instance) => announcementOf(instance)?.digest === digest);
      return those.length === 0 ? undefined : random(those);
    }).then(
      (description) => ({ description, untilMs: Number.POSITIVE_INFINITY }),
      () => ({ description: undefined, untilMs: performanceNow() + FAILED_MS }),
    );
    this.known.set(digest, fetched);
    return fetched;
  }

  private nobody({ name, number }: AskedCommand, fits: readonly Fit[]): Error {
    if (fits.includes('differs')) {
      return messageError(
        'ERR_STARLANE_API',
        'not-handled',
        `${this.service}: command ${number} is not ${name} with the same streams at any instance`,
      );
    }
    return messageError(
      'ERR_STARLANE_NO_HANDLER',
      'not-handled',
      `${this.service}: no instance has ${name} (${number})`,
    );
  }
}

/** Returns whether an API has the command of a client: the number under the same name, with the same streams. Pure. */
export function fitOf({ name, number, streamsInput, streamsOutput }: AskedCommand, { commands }: ApiDescription): Fit {
  const named = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (named !== undefined) {
    const isSame =
      named.number === number && named.input.stream === streamsInput && named.output.stream === streamsOutput;
    return isSame ? 'fits' : 'differs';
  }
  return Object.values(commands).some((other) => other.number === number) ? 'differs' : 'lacks';
}
