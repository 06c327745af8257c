import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { deferred, within } from './deadline.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const DEADLINE_MS = 60_000;
const EXIT_DEADLINE_MS = 10_000;

/** A server or client process of one run. */
class Worker {
  /**
   * @param {'server' | 'client'} role
   * @param {{ execPath?: string, execArgv: string[] }} options
   */
  constructor(role, options) {
    this.role = role;
    const { execPath = process.execPath, execArgv } = options;
    this.child = fork(WORKER, [role], { execPath, execArgv, serialization: 'advanced' });
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
 * Runs one case over one carrier in two fresh processes, and returns what both measured.
 *
 * @param {import('./cases/case.mjs').BenchCase} benchCase
 * @param {import('./bench.mjs').CarrierChoice} carrier
 * @param {import('./cases/case.mjs').Settings} settings
 * @param {{ dir: string, name: string }} [profile] where both write CPU profiles
 * @returns {Promise<import('./cases/case.mjs').Values>}
 */
export async function runOnce(benchCase, carrier, settings, profile) {
  const deadlineMs = carrier.deadlineMs ?? benchCase.deadlineMs ?? DEADLINE_MS;
  /** @param {string} role */
  const execArgv = (role) =>
    profile === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profile.dir}`, `--cpu-prof-name=${profile.name}-${role}.cpuprofile`];
  const server = new Worker('server', { execPath: carrier.execPath, execArgv: execArgv('server') });
  const client = new Worker('client', { execPath: carrier.execPath, execArgv: execArgv('client') });
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
