// How far a hop is: pings of the link to the next node, for those who trace a path, and for a node that asks its neighbours whether they
// reach it. All that ask at the same time share the pings.

import type { NodeId } from '../../address.js';
import type { Link } from '../../link/link.js';
import { inTime } from '../../util/deadline.js';
import type { HopAnswer, HopLink } from './answers.js';
import { heardMs } from './describe.js';
import { nameOf, type QuerySources } from './sources.js';

export const MAX_SAMPLES = 5;
/** For all pings of an answer. */
export const PINGS_MS = 1_500;

interface Measurement {
  readonly samples: number;
  readonly result: Promise<readonly number[]>;
}

export class HopMeter {
  private readonly running = new Map<Link, Measurement>();

  constructor(private readonly sources: QuerySources) {}

  async describe(to: NodeId, samples: number): Promise<HopAnswer> {
    const { sources } = this;
    const { id, links, mesh } = sources;
    const name = nameOf(sources, id);
    const link = links.get(to);
    const measured = link === undefined ? null : await this.describeLink(link, samples);
    // As it is after the measurement.
    const route = mesh.routing.route(to);
    return {
      id,
      ...(name === undefined ? {} : { name }),
      to,
      link: measured,
      route:
        route === undefined || !mesh.routing.isReachable(to)
          ? null
          : { nextHop: route.nextHop, hops: route.hops, costMs: route.cost },
    };
  }

  /** Resolves with what the pings of a link took, in ms; with fewer when some are not answered in time. Never rejects. */
  measure(link: Link, samples: number): Promise<readonly number[]> {
    const running = this.running.get(link);
    if (running !== undefined && running.samples >= samples) return running.result;
    const measurement = { samples, result: this.ping(link, samples) };
    this.running.set(link, measurement);
    void measurement.result.then(() => {
      if (this.running.get(link) === measurement) this.running.delete(link);
    });
    return measurement.result;
  }

  private async describeLink(link: Link, samples: number): Promise<HopLink | null> {
    const { timers, mesh } = this.sources;
    const samplesMs = await this.measure(link, samples);
    if (!link.isUp) return null;
    return {
      samplesMs,
      rttMs: samplesMs.length === 0 ? null : Math.min(...samplesMs),
      heardMs: heardMs(link, timers.now()),
      suspect: mesh.watch.isSuspect(link),
      stalled: mesh.watch.isStalled(link),
    };
  }

  private async ping(link: Link, samples: number): Promise<readonly number[]> {
    const took: number[] = [];
    try {
      await inTime(this.sources.timers, PINGS_MS, link.peerId, async () => {
        while (took.length < samples) took.push(await link.ping());
      });
    } catch {
      // The link has ended, or is silent.
    }
    return [...took];
  }
}
