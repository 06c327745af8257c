import { fileURLToPath } from 'node:url';
import { loadCarrier } from '../carriers/carrier.mjs';
import { pause, within } from '../deadline.mjs';
import { profileArgs, Worker } from '../runner.mjs';
import { median } from '../statistics.mjs';
import { Arrivals, START_BYTES } from './arrivals.mjs';
import { nowMs } from './clock.mjs';
import { echoFigures } from './echo.mjs';
import { Path } from './path.mjs';
import { applyStep, stepFigures } from './steps.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const DEADLINE_MS = 90_000;
/** Slow start, and the first reaction to its end. */
const WARMUP_ROUND_TRIPS = 30;
/** What is sent in the measurement before a step is answered before the step. */
const SETTLE_MS = 1_000;

/** TCP takes a path that is later than this for congested, so such a run does not count. */
const MOST_LATE_MS = 60;
const RETRIES = 2;

/** How often each case has run over each carrier. @type {Map<string, number>} */
const runs = new Map();

/**
 * Runs one case over one carrier, each end and each relay in a separate process, and returns what was measured. Every run
 * gets a fresh path, so that nothing remains of the run before, not even in the kernel's cache of TCP metrics.
 *
 * @param {any} benchCase a WanCase
 * @param {import('../bench.mjs').CarrierChoice} choice
 * @param {import('../cases/case.mjs').Settings} settings
 * @param {import('../runner.mjs').Profile} [profile]
 * @returns {Promise<import('../cases/case.mjs').Values>}
 */
export async function runOverPath(benchCase, choice, settings, profile) {
  for (let again = 0; ; again++) {
    const values = await runOnFreshPath(benchCase, choice, settings, profile);
    if (!(values.late > MOST_LATE_MS) || again === RETRIES) return values;
    process.stderr.write(
      `${benchCase.name} ${choice.name}: the machine was stalled for ${values.late.toFixed(0)} ms; repeating\n`,
    );
  }
}

/**
 * @param {any} benchCase a WanCase
 * @param {import('../bench.mjs').CarrierChoice} choice
 * @param {import('../cases/case.mjs').Settings} settings
 * @param {import('../runner.mjs').Profile} [profile]
 * @returns {Promise<import('../cases/case.mjs').Values>}
 */
async function runOnFreshPath(benchCase, choice, settings, profile) {
  const path = new Path();
  const key = `${benchCase.name} ${choice.name}`;
  const seed = (runs.get(key) ?? 0) + 1;
  runs.set(key, seed);
  // All carriers of a pair have the same losses as far as that can be, and each pair has others.
  await path.start({ ...benchCase.path, seed });
  const run = new PathRun(benchCase, choice, settings, path);
  const deadlineMs = DEADLINE_MS + (settings.warmupMs + settings.measureMs) * (benchCase.measureScale ?? 1);
  const work = async () => {
    await run.start(profile);
    return run.measure();
  };
  try {
    return await within(work(), deadlineMs, benchCase.name);
  } finally {
    await run.stop();
    await path.stop();
  }
}

class PathRun {
  /**
   * @param {import('./cases.mjs').WanCase} benchCase
   * @param {import('../bench.mjs').CarrierChoice} choice
   * @param {import('../cases/case.mjs').Settings} settings
   * @param {Path} path
   */
  constructor(benchCase, choice, settings, path) {
    this.benchCase = benchCase;
    this.choice = choice;
    this.settings = settings;
    this.path = path;
    /** @type {Worker[]} */
    this.workers = [];
  }

  /**
   * Starts the processes, and has them linked.
   *
   * @param {import('../runner.mjs').Profile | undefined} profile
   */
  async start(profile) {
    const { path, benchCase } = this;
    const { relays = [] } = /** @type {any} */ (await loadCarrier(this.choice.url));
    /**
     * @param {string} role
     * @param {import('./path.mjs').Side} side
     */
    const startAt = (role, side) => {
      const [execPath, ...args] = [...path.enter(side), process.execPath, ...profileArgs(role, profile)];
      const worker = new Worker(role, { module: WORKER, execPath, execArgv: args });
      this.workers.push(worker);
      return worker;
    };
    this.server = startAt('server', 'b');
    this.client = startAt('client', 'a');
    const shared = { carrierUrl: this.choice.url, work: benchCase.work, heapMib: this.settings.heapMib };
    const served = await this.ask(this.server, { type: 'serve', ...shared, host: path.addressOf('b') });
    let last;
    let first;
    for (const [i, side] of relays.entries()) {
      const relay = startAt(`relay-${i + 1}`, side);
      const request = { type: 'relay', ...shared, host: path.addressOf(side), previous: last, served: served.address };
      last = (await this.ask(relay, request)).address;
      first ??= last;
    }
    if (last !== undefined) await this.ask(this.server, { type: 'reach', address: last });
    await this.ask(this.client, { type: 'link', ...shared, address: first ?? served.address });
  }

  /** @returns {Promise<import('../cases/case.mjs').Values>} */
  async measure() {
    const { work, path: conditions, step, measureScale = 1 } = this.benchCase;
    const { server, client, path } = this;
    if (server === undefined || client === undefined) throw new Error('not started');
    const { startedMs, dialMs } = await this.ask(client, { type: 'start', work });
    if (work.dials !== undefined) return { trips: median(dialMs) / conditions.rttMs };

    const warmMs = startedMs + Math.max(this.settings.warmupMs, WARMUP_ROUND_TRIPS * conditions.rttMs) * measureScale;
    const endMs = warmMs + this.settings.measureMs * measureScale;
    await this.until(warmMs);
    await path.stats();
    await this.until(endMs);
    const stats = await path.stats();
    /** @type {import('../cases/case.mjs').Values} */
    const values = {
      lost: stats.queueDrops + stats.randomDrops,
      queued: stats.mostQueuedBytes / 1024,
      late: stats.mostLateMs,
    };
    const steppedMs = step === undefined ? undefined : await this.step(step, endMs + SETTLE_MS);

    const [sender, receiver] = work.bulk?.direction === 'down' ? [server, client] : [client, server];
    /** @type {import('./echo.mjs').EchoTimes | undefined} */
    let times;
    if (work.echo !== undefined) ({ times } = await this.ask(client, { type: 'endEchoes' }));
    await this.ask(client, { type: 'check' });
    if (work.bulk !== undefined) {
      const arrivals = new Arrivals((await this.ask(receiver, { type: 'arrivals' })).arrivals);
      values.rate = arrivals.mbitPerS(warmMs, endMs);
      if (arrivals.bytes >= START_BYTES) values.start = (arrivals.startedMs - startedMs) / 1000;
      if (steppedMs !== undefined) Object.assign(values, stepFigures(steppedMs, arrivals, times));
    }
    if (times !== undefined) Object.assign(values, echoFigures(times, warmMs, endMs));
    if (step !== undefined) await this.complete(sender, receiver);
    return values;
  }

  /**
   * @param {import('./steps.mjs').Step} step
   * @param {number} atMs
   * @returns {Promise<number>} when it was done
   */
  async step(step, atMs) {
    await this.until(atMs);
    return applyStep(step, this.path, (ms) => this.until(ms));
  }

  /**
   * Ends the bulk streams in order, and compares what was written with what arrived.
   *
   * @param {Worker} sender
   * @param {Worker} receiver
   */
  async complete(sender, receiver) {
    const { written } = await this.ask(sender, { type: 'endBulk' });
    const { bytes } = await this.ask(receiver, { type: 'awaitEnd' });
    if (bytes !== written) throw new Error(`received ${bytes} bytes of ${written}`);
  }

  /**
   * Waits until a moment of the monotonic clock.
   *
   * @param {number} ms
   */
  until(ms) {
    return Promise.race([pause(Math.max(0, ms - nowMs())), ...this.failures()]);
  }

  /**
   * The answer of one of the processes, unless another fails meanwhile, which would leave it waiting.
   *
   * @param {Worker} worker
   * @param {object} request
   * @returns {Promise<any>}
   */
  ask(worker, request) {
    return Promise.race([worker.ask(request), ...this.failures()]);
  }

  failures() {
    return [this.path.failed.promise, ...this.workers.map((worker) => worker.failed.promise)];
  }

  async stop() {
    await Promise.all(this.workers.map((worker) => worker.stop()));
  }
}
