// Whether a node is ready: it is open, has a link if it keeps any address joined, and is reached from the far side. The last is for a
// neighbour to say, which pings over its own end of the link and looks for its route: a link on which bytes only come, or only go, looks well
// from one end.

import { codeOf } from '../../errors.js';
import type { Link } from '../../link/link.js';
import type { ReadyAnswer, ReadyCheck } from './answers.js';
import type { HopMeter } from './hop.js';
import type { QuerySources } from './sources.js';

/** Neighbours that are asked, those that were heard last. */
const MAX_ASKED = 4;
/** How long an answer is reused, in ms: any number of probes cost the neighbours no more. */
const REUSED_MS = 1_000;
/** For the answer of a neighbour. */
const READY_MS = 2_000;

/** Asks a neighbour how far this node is. @throws ERR_STARLANE_QUERY when it answers no queries, EACCES, ETIMEDOUT */
export type AskNeighbour = (
  peer: Link,
  timeoutMs: number,
) => Promise<{ readonly rttMs: number | null; readonly hasRoute: boolean }>;

export class Readiness {
  private current: { readonly untilMs: number; readonly answer: Promise<ReadyAnswer> } | undefined;

  constructor(
    private readonly sources: QuerySources,
    private readonly meter: HopMeter,
    private readonly ask: AskNeighbour,
  ) {}

  /** Never rejects. */
  describe(): Promise<ReadyAnswer> {
    const now = this.sources.timers.now();
    if (this.current !== undefined && now < this.current.untilMs && this.sources.state() === 'open') {
      return this.current.answer;
    }
    // While the answer is awaited, it is shared.
    const answer = this.check();
    const waiting = { untilMs: Number.POSITIVE_INFINITY, answer };
    this.current = waiting;
    void answer.then(() => {
      if (this.current === waiting) this.current = { untilMs: this.sources.timers.now() + REUSED_MS, answer };
    });
    return answer;
  }

  private async check(): Promise<ReadyAnswer> {
    const { id, links } = this.sources;
    const joins = this.sources.joins();
    const checks: ReadyCheck[] = [];
    if (this.sources.state() === 'open' && joins > 0 && links.size > 0) await this.askNeighbours(checks);
    const state = this.sources.state();
    const reason = this.reasonOf(state, joins, checks);
    return {
      id,
      ready: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
      state,
      joins,
      links: links.size,
      checks,
    };
  }

  private reasonOf(state: ReadyAnswer['state'], joins: number, checks: readonly ReadyCheck[]): string | undefined {
    if (state !== 'open') return `the node is ${state}`;
    if (joins === 0) return undefined;
    if (this.sources.links.size === 0) return 'the node has no link';
    return checks.some(({ ok }) => ok) ? undefined : 'no neighbour confirms that it reaches the node';
  }

  /** Resolves as soon as one of them has confirmed, or when none is left. */
  private askNeighbours(checks: ReadyCheck[]): Promise<void> {
    const links = [...this.sources.links.values()];
    links.sort((a, b) => b.lastHeardMs - a.lastHeardMs);
    const asked = links.slice(0, MAX_ASKED).map(async (link) => {
      const check = await this.askOne(link);
      checks.push(check);
      return check;
    });
    return new Promise((resolve) => {
      for (const check of asked) {
        void check.then(({ ok }) => {
          if (ok) resolve();
        });
      }
      void Promise.all(asked).then(() => resolve());
    });
  }

  private async askOne(link: Link): Promise<ReadyCheck> {
    const { peerId } = link;
    try {
      const { rttMs, hasRoute } = await this.ask(link, READY_MS);
      const ok = rttMs !== null && hasRoute;
      const error = rttMs === null ? 'its pings are not answered' : 'it has no route';
      return { peerId, ok, how: 'neighbour', ...(rttMs === null ? {} : { rttMs }), ...(ok ? {} : { error }) };
    } catch (error) {
      const { message } = error as Error;
      // A neighbour of an older version, or of another env: a ping shows as much as it can.
      if (!NO_QUERIES.has(codeOf(error) ?? '')) return { peerId, ok: false, how: 'neighbour', error: message };
      const [rttMs] = await this.meter.measure(link, 1);
      if (rttMs !== undefined) return { peerId, ok: true, how: 'ping', rttMs };
      return { peerId, ok: false, how: 'ping', error: 'it does not answer' };
    }
  }
}

const NO_QUERIES: ReadonlySet<string> = new Set(['ERR_STARLANE_QUERY', 'EACCES']);
