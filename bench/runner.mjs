import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { deferred, within } from './deadline.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const DEADLINE_MS = 60_000;
const EXIT_DEADLINE_MS = 10_000;

/** A process of one run. */
export class Worker {
  /**
   * @param {string} role
   * @param {{ execPath?: string, execArgv: string[], module?: string }} options
   */
  constructor(role, options) {
    this.role = role;
    const { execPath = process.execPath, execArgv, module = WORKER } = options;
    this.child = fork(module, [role], { execPath, execArgv, serialization: 'advanced' });
    this.exited = once(this.child, 'exit');
    this.answer = deferred();
    this.failed = deferred();
    // Failing is only ever looked at in a race; alone it must not count as unhandled.
    this.failed.promise.catch(() => {});
    this.child.on('message', (/** @type {any} */ message) => {
      if (message.type === 'failed') this.failed.reject(new Error(`${role}: ${message.reason}`));
      else this.answer.resolve(message);
    });
    this.child.on('exit', (code, signal) => {
      this.failed.reject(new Error(`${role}: exited early with ${signal ?? code}`));
    });
  }

  /**
   * @param {object} request
   * @returns {Promise<any>} its answer
   */
  ask(request) {
    this.answer = deferred();
    this.child.send(request);
    return Promise.race([this.answer.promise, this.failed.promise]);
  }

  async stop() {
    if (this.child.connected) this.child.send({ type: 'exit' });
    await within(this.exited, EXIT_DEADLINE_MS, `${this.role}: exit`).catch(() => this.child.kill('SIGKILL'));
  }
}

/**
 * @typedef {{ dir: string, name: string }} Profile where a run writes its CPU profiles, and how they are called
 */

/**
 * @param {string} role
 * @param {Profile | undefined} profile
 * @returns {string[]} arguments for the node that has the role
 */
export function profileArgs(role, profile) {
  if (profile === undefined) return [];
  const { dir, name } = profile;
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`, `--cpu-prof-name=${name}-${role}.cpuprofile`];
}

/**
 * Runs one case over one carrier in two fresh processes, and returns what both measured.
 *
 * @param {import('./cases/case.mjs').BenchCase} benchCase
 * @param {import('./bench.mjs').CarrierChoice} carrier
 * @param {import('./cases/case.mjs').Settings} settings
 * @param {Profile} [profile]
 * @returns {Promise<import('./cases/case.mjs').Values>}
 */
export async function runOnce(benchCase, carrier, settings, profile) {
  const deadlineMs = carrier.deadlineMs ?? benchCase.deadlineMs ?? DEADLINE_MS;
  const { execPath } = carrier;
  const server = new Worker('server', { execPath, execArgv: profileArgs('server', profile) });
  const client = new Worker('client', { execPath, execArgv: profileArgs('client', profile) });
  const common = { caseName: benchCase.name, carrierUrl: carrier.url, settings };

  const work = async () => {
    const { address } = await server.ask({ type: 'serve', ...common });
    const measured = await Promise.race([
      client.ask({ type: 'run', ...common, address }),
      server.failed.promise, // a server that fails leaves the client waiting
    ]);
    const finished = await server.ask({ type: 'finish', values: measured.values });
    await client.ask({ type: 'check' });
    /** @type {import('./cases/case.mjs').Values} */
    const values = { ...measured.values, ...finished.values };
    for (const { key, title } of benchCase.figures) {
      if (!Number.isFinite(values[key])) throw new Error(`no measurement of '${title}'`);
    }
    return values;
  };

  try {
    return await within(work(), deadlineMs, `${benchCase.name}`);
  } finally {
    await Promise.all([server.stop(), client.stop()]);
  }
}
