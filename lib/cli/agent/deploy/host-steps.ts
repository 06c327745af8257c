// What a deployment does at one host: the head, the files, the change of versions, and the way back. Circuits may break at each step: it is
// taken again, and the host knows what it has done already.

import { codeOf } from '../../../errors.js';
import { backOffMs } from '../../../util/back-off.js';
import { performanceNow } from '../../../util/runtime/real-timers.js';
import type { Activation } from '../apps/app.js';
import type { BundleSource } from '../bundle/source.js';
import type { HostClient } from '../host-client.js';
import type { Host } from '../hosts.js';
import { isPassing, pause } from '../retry.js';
import type { HostSteps } from './rollout.js';

const BACK_OFF = { minMs: 250, maxMs: 3_000 };
/** For a request that needs no more than the host itself. */
const SHORT_MS = 30_000;
/** For the files: an upload may take hours, but each attempt brings some of them. */
const UPLOAD_MS = 6 * 3_600_000;
/** What a host takes to stop the version before, beside what its health may take. */
const REPLACE_MS = 150_000;

export interface StepOptions {
  /** How long a host may not be reached before it counts as failed. */
  readonly reachMs: number;
  /** Whether a host goes back by itself when the version is not healthy. */
  readonly restores: boolean;
}

interface Offer {
  readonly digest: string;
  readonly state: 'expected' | 'installed';
  readonly next: number;
}

export class DeploySteps implements HostSteps<Host, Activation> {
  constructor(
    private readonly source: BundleSource,
    private readonly options: StepOptions,
  ) {}

  async deploy({ client }: Host, signal: AbortSignal): Promise<Activation> {
    const { manifest } = this.source;
    await this.again(signal, () => this.upload(client, signal));
    const withinMs = manifest.health.withinMs + REPLACE_MS;
    const query = new URLSearchParams({ number: String(manifest.number), restore: String(this.options.restores) });
    const path = `${this.path}/activate?${query}`;
    let isRepeated = false;
    // Not to be interrupted: what the host does then would not be known.
    const result = await this.again(signal, async (attempt) => {
      // One that has broken off goes on at the host.
      isRepeated = attempt > 0;
      return (await client.ask({ method: 'POST', path, timeoutMs: withinMs })) as Activation;
    });
    return { ...result, changed: result.changed || isRepeated };
  }

  isUnchanged({ changed }: Activation): boolean {
    return !changed;
  }

  async undo({ client }: Host, { previous, wasRunning }: Activation): Promise<void> {
    const { health } = this.source.manifest;
    await this.again(undefined, async () => {
      if (previous !== null) {
        const path = `${this.path}/activate?${new URLSearchParams({ number: String(previous), restore: 'false' })}`;
        await client.ask({ method: 'POST', path, timeoutMs: health.withinMs + REPLACE_MS });
      }
      if (previous === null || !wasRunning)
        await client.ask({ method: 'POST', path: `${this.path}/stop`, timeoutMs: REPLACE_MS });
    });
  }

  private get path(): string {
    return `/v1/apps/${this.source.manifest.app}`;
  }

  private async upload(client: HostClient, signal: AbortSignal): Promise<void> {
    const { source, path } = this;
    const offer = (await client.ask({
      method: 'POST',
      path: `${path}/versions`,
      body: source.head,
      timeoutMs: SHORT_MS,
      signal,
    })) as Offer;
    if (offer.state === 'installed') return;
    await client.ask({
      method: 'PUT',
      path: `${path}/versions/${offer.digest}?from=${offer.next}`,
      body: source.from(offer.next),
      timeoutMs: UPLOAD_MS,
      signal,
    });
  }

  /** Takes a step again while the way to the host is at fault, or the host is busy with the last attempt. */
  private async again<T>(signal: AbortSignal | undefined, step: (attempt: number) => Promise<T>): Promise<T> {
    let untilMs = performanceNow() + this.options.reachMs;
    for (let attempt = 0; ; attempt++) {
      const beganMs = performanceNow();
      try {
        return await step(attempt);
      } catch (error) {
        signal?.throwIfAborted();
        // What took its time was under way: the time for reaching the host begins when it broke.
        if (attempt === 0 || isBusy(error)) untilMs += performanceNow() - beganMs;
        const isOwn = attempt > 0 && isBusy(error);
        if (!(isPassing(error) || isOwn) || performanceNow() >= untilMs) throw error;
        await pause(backOffMs(attempt, BACK_OFF, Math.random), signal);
      }
    }
  }
}

/** Another change of the app is under way. */
function isBusy(error: unknown): boolean {
  return codeOf(error) === 'EBUSY';
}
