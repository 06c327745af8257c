// The processes of bench:edge: their start, their end, and what they take, as the kernel counts it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { deferred, pause, within } from '../deadline.mjs';

const START_MS = 30_000;
const EXIT_MS = 10_000;

/** A program that says in one line on standard output that it is there. */
export class Program {
  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {{ env?: NodeJS.ProcessEnv, stdio?: import('node:child_process').StdioOptions }} [options]
   */
  constructor(command, args, { env = process.env, stdio = ['ignore', 'pipe', 'pipe'] } = {}) {
    this.name = args.join(' ');
    this.child = spawn(command, args, { env, stdio });
    this.output = '';
    this.line = deferred();
    this.line.promise.catch(() => {});
    this.exited = once(this.child, 'close');
    let text = '';
    this.child.stdout?.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) this.line.resolve(text.slice(0, text.indexOf('\n')));
    });
    this.child.stderr?.setEncoding('utf8').on('data', (chunk) => {
      this.output = (this.output + chunk).slice(-4_096);
    });
    const onEnd = (/** @type {unknown} */ why) =>
      this.line.reject(new Error(`${this.name}: ended (${why}): ${this.output}`));
    this.child.on('error', onEnd);
    this.child.on('close', onEnd);
  }

  get pid() {
    return /** @type {number} */ (this.child.pid);
  }

  /** Its first line. @returns {Promise<string>} */
  started() {
    return within(/** @type {Promise<any>} */ (this.line.promise), START_MS, `start of ${this.name}`);
  }

  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGTERM'), EXIT_MS / 2);
    await within(this.exited, EXIT_MS, `end of ${this.name}`).catch(() => this.child.kill('SIGKILL'));
    clearTimeout(timer);
  }
}

/**
 * The processor time of a process, user and system, of all threads that it has, in seconds. From `schedstat`, which counts nanoseconds: `stat` has
 * ticks of 10 ms, a tenth of what haproxy takes in a measurement.
 *
 * @param {number} pid
 */
export function cpuSeconds(pid) {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
  }
  return sum / 1e9;
}

/**
 * How often the threads of a process went to sleep.
 *
 * @param {number} pid
 */
export function sleeps(pid) {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  }
  return sum;
}

/**
 * The memory of a process, now and at most, in MiB.
 *
 * @param {number} pid
 */
export function memoryMib(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const of = (/** @type {string} */ name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  return { rss: of('VmRSS'), peak: of('VmHWM') };
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Resolves when something accepts at the port.
 *
 * @param {number} port
 */
export async function accepting(port) {
  const until = performance.now() + START_MS;
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const isThere = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (isThere) return;
    if (performance.now() > until) throw new Error(`nothing listens at port ${port}`);
    await pause(50);
  }
}
