// The processes of one case over one carrier: they stay for all rounds.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { deferred, within } from '../deadline.mjs';
import { cpuSeconds } from '../edge/processes.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const CALL_MS = 120_000;
const EXIT_MS = 10_000;

class Child {
  /** @param {string[]} args @param {string[]} execArgv */
  constructor(args, execArgv) {
    this.name = args.slice(1).join(' ');
    this.process = fork(WORKER, args, { execArgv, serialization: 'advanced' });
    /** @type {Map<number, ReturnType<typeof deferred>>} */
    this.calls = new Map();
    this.lastId = 0;
    this.exited = once(this.process, 'exit');
    this.process.on('message', (/** @type {any} */ { id, value, error }) => {
      const call = this.calls.get(id);
      this.calls.delete(id);
      if (error === undefined) call?.resolve(value);
      else call?.reject(new Error(`${this.name}: ${error}`));
    });
    this.process.on('exit', (code, signal) => {
      for (const call of this.calls.values()) call.reject(new Error(`${this.name}: ended with ${signal ?? code}`));
    });
  }

  get pid() {
    return /** @type {number} */ (this.process.pid);
  }

  /** @param {string} action @param {any[]} args @returns {Promise<any>} */
  do(action, ...args) {
    const id = ++this.lastId;
    const call = deferred();
    this.calls.set(id, call);
    this.process.send({ id, action, args });
    return within(call.promise, CALL_MS, `${this.name}: ${action} ${action === 'call' ? args[0] : ''}`);
  }

  async stop() {
    if (this.process.connected) await this.do('close').catch(() => {});
    if (this.process.connected) this.process.disconnect();
    await within(this.exited, EXIT_MS, `end of ${this.name}`).catch(() => this.process.kill('SIGKILL'));
  }
}

export class Fleet {
  /**
   * @param {import('./case.mjs').MessageCase} benchCase
   * @param {string} caseUrl
   * @param {string} carrier
   * @param {string | undefined} profile a folder for CPU profiles
   */
  constructor(benchCase, caseUrl, carrier, profile) {
    this.benchCase = benchCase;
    this.caseUrl = caseUrl;
    this.carrier = carrier;
    this.profile = profile;
    /** @type {Map<string, Child[]>} */
    this.roles = new Map();
    /** @type {{ address: string, pid: number, stop(): Promise<void> } | undefined} */
    this.broker = undefined;
  }

  async start() {
    const { startBroker } = await import(new URL(`./carriers/${this.carrier}.mjs`, import.meta.url).href);
    this.broker = await startBroker?.();
    let address = this.broker?.address;
    for (const [role, count] of Object.entries(this.benchCase.processes)) {
      const children = [];
      this.roles.set(role, children);
      for (let index = 0; index < count; index++) {
        const args = [this.caseUrl, this.carrier, role, String(index)];
        const name = `${this.benchCase.name.replaceAll(/\W+/g, '-')}-${this.carrier}-${role}-${index}`;
        const execArgv =
          this.profile === undefined
            ? []
            : ['--cpu-prof', `--cpu-prof-dir=${this.profile}`, `--cpu-prof-name=${name}.cpuprofile`];
        const child = new Child(args, execArgv);
        children.push(child);
        address = (await child.do('open', address)) ?? address;
      }
    }
  }

  /**
   * Calls a method in the first process of a role.
   *
   * @param {string} role
   * @param {string} method
   * @param {any[]} args
   * @returns {Promise<any>}
   */
  call(role, method, ...args) {
    return /** @type {Child[]} */ (this.roles.get(role))[0].do('call', method, args);
  }

  /** As {@link call}, in all processes of the role. @param {string} role @param {string} method @param {any[]} args @returns {Promise<any[]>} */
  callAll(role, method, ...args) {
    return Promise.all(/** @type {Child[]} */ (this.roles.get(role)).map((child) => child.do('call', method, args)));
  }

  /** Processor seconds of all processes so far, the broker included. */
  cpuSeconds() {
    const children = [...this.roles.values()].flat();
    const pids = [...children.map(({ pid }) => pid), ...(this.broker === undefined ? [] : [this.broker.pid])];
    return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  }

  async stop() {
    for (const children of [...this.roles.values()].reverse()) await Promise.all(children.map((child) => child.stop()));
    await this.broker?.stop();
  }
}
