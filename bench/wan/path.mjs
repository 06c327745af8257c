// An emulated network path between two network namespaces: see path.c, which is compiled when it is first needed. For the
// benchmark, and for specs.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { deferred, within } from '../deadline.mjs';

const SOURCE = fileURLToPath(new URL('./path.c', import.meta.url));
const BUILD_DIR = fileURLToPath(new URL('../../build/wan', import.meta.url));
const PROGRAM = `${BUILD_DIR}/wan-path`;

const DEVICE = 'path0';
const MTU_BYTES = 1500;
// The queue that counts is the one in path.c: the kernel's own in front of it must never be the shorter one.
const DEVICE_QUEUE_PACKETS = 10_000;
const ANSWER_DEADLINE_MS = 5_000;
/** Below this a queue holds too few packets for any congestion control. */
const LEAST_QUEUE_BYTES = 64 * 1024;

/**
 * @typedef {'a' | 'b'} Side one of the two ends
 *
 * @typedef {object} Conditions the same in both directions
 * @property {number} rate in bit/s; 0: no limit
 * @property {number} rttMs the round trip without any queue
 * @property {number} [queueBytes] in front of the rate, each direction; default the product of rate and round trip, at least 64 KiB
 * @property {number} [loss] the share of packets that is lost at random in each direction, 0 to 1; default 0
 * @property {string} [congestion] what TCP sockets in both namespaces use, 'cubic' (default), 'bbr' or 'reno'
 * @property {number} [seed] of the random losses; default 1
 *
 * @typedef {object} Changes what is not given stays as it is
 * @property {number} [rate]
 * @property {number} [rttMs]
 * @property {number} [queueBytes]
 * @property {number} [loss]
 * @property {boolean} [dark] everything is lost, what is on its way included
 *
 * @typedef {object} PathStats since the start or the last call, both directions in sum
 * @property {number} queueDrops
 * @property {number} randomDrops those of darkness included
 * @property {number} packets
 * @property {number} mostQueuedBytes
 * @property {number} mostLateMs how much later than it should a packet arrived, as the machine was busy
 *
 * @typedef {object} Obstacle
 * @property {string} reason
 * @property {boolean} isMissing a program that can be installed
 */

const run = promisify(execFile);
let made = 0;
/** @type {Set<Path>} */
const there = new Set();

// The process leaves no namespace behind when it exits. For signals the program needs a handler.
process.once('exit', () => {
  for (const path of there) path.removeNow();
});

/**
 * Words that a space separates.
 *
 * @param {string} command
 */
async function ip(command) {
  await run('ip', command.split(' '));
}

/** Compiles path.c unless it is there and newer than its source. */
function compile() {
  if (existsSync(PROGRAM) && statSync(PROGRAM).mtimeMs >= statSync(SOURCE).mtimeMs) return;
  mkdirSync(BUILD_DIR, { recursive: true });
  // Several processes may do so at once, and none may run half a program.
  const mine = `${PROGRAM}.${process.pid}`;
  execFileSync('cc', ['-O2', '-o', mine, SOURCE], { stdio: ['ignore', 'ignore', 'pipe'] });
  renameSync(mine, PROGRAM);
}

const DEBIAN_PACKAGES = { cc: 'gcc libc6-dev', ip: 'iproute2' };

/**
 * Returns why there can be no path on this machine, undefined when there can.
 *
 * @returns {Obstacle | undefined}
 */
export function obstacle() {
  if (process.platform !== 'linux') return { reason: 'it needs Linux', isMissing: false };
  if (process.getuid?.() !== 0) return { reason: 'it needs root, to make network namespaces', isMissing: false };
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return { reason: 'it needs /dev/net/tun', isMissing: false };
  }
  const trial = `wan${process.pid}-trial`;
  try {
    compile();
    execFileSync('ip', ['netns', 'add', trial], { stdio: ['ignore', 'ignore', 'pipe'] });
    execFileSync('ip', ['netns', 'del', trial], { stdio: ['ignore', 'ignore', 'pipe'] });
    return undefined;
  } catch (error) {
    const { code, path, stderr, message } = /** @type {any} */ (error);
    if (code === 'ENOENT')
      return { reason: `${path} missing: apt-get install ${DEBIAN_PACKAGES[path]}`, isMissing: true };
    return { reason: String(stderr?.length > 0 ? stderr : message).trim(), isMissing: false };
  }
}

/** Two namespaces and the path between them. Each is for one `start` and one `stop`. */
export class Path {
  constructor() {
    const prefix = `wan${process.pid}-${++made}`;
    /** @type {Record<Side, string>} */
    this.spaces = { a: `${prefix}a`, b: `${prefix}b` };
    /** @type {string[]} */
    this.removable = [];
    /** @type {import('node:child_process').ChildProcessByStdio<import('node:stream').Writable, import('node:stream').Readable, null> | undefined} */
    this.program = undefined;
    this.text = '';
    /** Those that wait for a line, in order. @type {((line: string | undefined) => void)[]} */
    this.waiting = [];
    this.isOver = false;
    /** Rejects when the path ends other than by `stop`. */
    this.failed = deferred();
    // It is only ever looked at in a race; alone it must not count as unhandled.
    this.failed.promise.catch(() => {});
  }

  /** @param {Conditions} conditions */
  async start({ rate, rttMs, queueBytes, loss = 0, congestion = 'cubic', seed = 1 }) {
    there.add(this);
    try {
      compile();
      for (const space of Object.values(this.spaces)) {
        await ip(`netns add ${space}`);
        this.removable.push(space);
        await ip(`-n ${space} link set lo up`);
      }
      await this.join();
      for (const [side, space] of Object.entries(this.spaces)) {
        await ip(`-n ${space} addr add ${this.addressOf(/** @type {Side} */ (side))}/24 dev ${DEVICE}`);
        await ip(`-n ${space} link set ${DEVICE} mtu ${MTU_BYTES} txqueuelen ${DEVICE_QUEUE_PACKETS} up`);
        await ip(`-n ${space} route replace 198.18.0.0/24 dev ${DEVICE} congctl ${congestion}`);
      }
      const product = Math.ceil((rate * rttMs) / 8000);
      await this.set({ rate, rttMs, queueBytes: queueBytes ?? Math.max(LEAST_QUEUE_BYTES, product), loss });
      await this.say(`seed ${seed}`);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** @param {Changes} changes */
  async set({ rate, rttMs, queueBytes, loss, dark }) {
    const lines = [];
    if (rate !== undefined) lines.push(`rate ${Math.round(rate)}`);
    if (rttMs !== undefined) lines.push(`delay ${Math.round(rttMs * 500)}`);
    if (queueBytes !== undefined) lines.push(`queue ${Math.round(queueBytes)}`);
    if (loss !== undefined) lines.push(`loss ${Math.round(loss * 1e6)}`);
    if (dark !== undefined) lines.push(`dark ${dark ? 1 : 0}`);
    await Promise.all(lines.map((line) => this.say(line)));
  }

  /** @returns {Promise<PathStats>} */
  async stats() {
    // The answer has two lines: the statistics, and "ok".
    const answer = this.line();
    await this.say('stats');
    const counts = (await answer).split(' ').slice(1).map(Number);
    const [queueDrops, randomDrops, packets, mostQueuedBytes, mostLateUs] = counts;
    return { queueDrops, randomDrops, packets, mostQueuedBytes, mostLateMs: mostLateUs / 1000 };
  }

  /**
   * The address of an end.
   *
   * @param {Side} side
   */
  addressOf(side) {
    return side === 'a' ? '198.18.0.1' : '198.18.0.2';
  }

  /**
   * The prefix that runs a command inside the namespace of an end.
   *
   * @param {Side} side
   */
  enter(side) {
    return ['ip', 'netns', 'exec', this.spaces[side]];
  }

  /** Ends the path and removes the namespaces; processes inside are up to who started them. */
  async stop() {
    this.removeNow();
  }

  /** As `stop`, without a wait, for a process that is about to end. */
  removeNow() {
    there.delete(this);
    this.isOver = true;
    this.program?.kill('SIGKILL');
    this.hangUp();
    for (const space of this.removable.splice(0)) {
      try {
        execFileSync('ip', ['netns', 'del', space], { stdio: ['ignore', 'ignore', 'pipe'] });
      } catch (error) {
        process.stderr.write(`namespace ${space} stays: ${/** @type {Error} */ (error).message}\n`);
      }
    }
  }

  /** Starts the program that joins the two namespaces. */
  async join() {
    const program = spawn(PROGRAM, [this.spaces.a, this.spaces.b, DEVICE], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.program = program;
    program.stdin.on('error', () => this.hangUp());
    program.on('error', () => this.hangUp());
    program.on('exit', (code, signal) => {
      this.hangUp();
      if (!this.isOver) this.failed.reject(new Error(`the path has ended with ${signal ?? code}`));
    });
    program.stdout.setEncoding('utf8').on('data', (text) => this.read(text));
    await this.line();
  }

  /** @param {string} text */
  read(text) {
    const lines = (this.text + text).split('\n');
    this.text = /** @type {string} */ (lines.pop());
    for (const line of lines) this.waiting.shift()?.(line);
  }

  hangUp() {
    for (const resolve of this.waiting.splice(0)) resolve(undefined);
  }

  /** @returns {Promise<string>} the next line of the program that has no reader yet */
  async line() {
    /** @type {ReturnType<typeof deferred<string | undefined>>} */
    const answer = deferred();
    this.waiting.push(answer.resolve);
    const line = await within(answer.promise, ANSWER_DEADLINE_MS, 'the path');
    if (line === undefined) throw new Error(this.isOver ? 'the path is stopped' : 'the path has ended');
    return line;
  }

  /** @param {string} command */
  async say(command) {
    const answer = this.line();
    this.program?.stdin.write(`${command}\n`);
    if ((await answer) !== 'ok') throw new Error(`the path rejected '${command}'`);
  }
}
