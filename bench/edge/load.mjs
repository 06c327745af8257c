// The load: requests at a fixed rate, whether or not answers come (an open loop). The time of an answer counts from the moment when its request
// was due, so that a pause of the proxy shows in all requests that fell into it, not in one.

import net from 'node:net';
import { pause } from '../deadline.mjs';
import { answerRequests } from '../requests.mjs';
import { Samples } from '../statistics.mjs';
import { cpuSeconds } from './processes.mjs';

const HEAD_END = Buffer.from('\r\n\r\n');
const ANSWER_MS = 10_000;

/**
 * @typedef {object} Settings
 * @property {number} port
 * @property {number} rate requests a second
 * @property {number} connections that are kept; 0: one for each request
 * @property {number} warmupMs
 * @property {number} measureMs
 * @property {Array<number | undefined>} pids whose processor time is measured meanwhile
 */

class Load {
  /** @param {Settings} settings */
  constructor(settings) {
    this.settings = settings;
    this.samples = new Samples();
    this.done = 0;
    this.open = 0;
    /** @type {unknown} */
    this.failure = undefined;
    /** Connections in the order in which they became free: each has its turn. @type {Connection[]} */
    this.free = [];
    /** When requests without a connection were due. @type {number[]} */
    this.waiting = [];
    const isKept = settings.connections > 0;
    this.request = Buffer.from(
      `GET /some/path?with=query HTTP/1.1\r\nHost: web.example.test\r\nUser-Agent: bench\r\nAccept: */*\r\n${isKept ? '' : 'Connection: close\r\n'}\r\n`,
    );
  }

  async run() {
    const { connections, rate, warmupMs, measureMs, pids } = this.settings;
    await Promise.all(Array.from({ length: connections }, () => this.connect()));
    const readCpu = () => pids.map((pid) => (pid === undefined ? 0 : cpuSeconds(pid)));
    const begin = performance.now();
    const everyMs = 1000 / rate;
    let count = 0;
    let before = readCpu();
    let warmAt = Number.POSITIVE_INFINITY;
    const measured = await new Promise((resolve) => {
      const tick = () => {
        const now = performance.now();
        if (warmAt === Number.POSITIVE_INFINITY && now >= begin + warmupMs) {
          this.samples.clear();
          this.done = 0;
          before = readCpu();
          warmAt = now;
        }
        const isOver = now >= warmAt + measureMs;
        for (let due = begin; !isOver; this.send(due)) {
          due = begin + count * everyMs;
          if (due > now) break;
          count++;
        }
        if (!isOver && this.failure === undefined) return;
        clearInterval(timer);
        const seconds = (now - warmAt) / 1000;
        const cpu = readCpu().map((value, i) => value - before[i]);
        resolve({ cpu, seconds, done: this.done, perSecond: this.done / seconds });
      };
      const timer = setInterval(tick, 1);
    });
    const until = performance.now() + ANSWER_MS;
    while (this.open > 0 && this.failure === undefined && performance.now() < until) await pause(10);
    for (const connection of this.free) connection.socket.destroy();
    if (this.failure !== undefined) throw this.failure;
    if (this.open > 0) throw new Error(`${this.open} requests without an answer`);
    const [p50, p90, p99] = this.samples.percentiles([50, 90, 99]);
    return { p50, p90, p99, ...measured };
  }

  async connect() {
    const connection = new Connection(this);
    await connection.connected;
    this.free.push(connection);
  }

  /** @param {number} due */
  send(due) {
    this.open++;
    if (this.settings.connections === 0) new Connection(this).send(due);
    else {
      const connection = this.free.shift();
      if (connection === undefined) this.waiting.push(due);
      else connection.send(due);
    }
  }

  /**
   * @param {Connection} connection
   * @param {number} due
   */
  onAnswer(connection, due) {
    this.open--;
    this.done++;
    this.samples.add(performance.now() - due);
    if (this.settings.connections === 0) return;
    // As clients do it: http-proxy without an agent ends each connection.
    const usable = connection.isLast ? new Connection(this) : connection;
    const next = this.waiting.shift();
    if (next === undefined) this.free.push(usable);
    else usable.send(next);
  }
}

class Connection {
  /** @param {Load} load */
  constructor(load) {
    this.load = load;
    this.due = 0;
    this.isBusy = false;
    this.isLast = false;
    /** Of the answer, undefined until its head is there. @type {number | undefined} */
    this.missing = undefined;
    /** @type {Buffer | undefined} */
    this.head = undefined;
    this.socket = net.connect({ port: load.settings.port, host: '127.0.0.1', noDelay: true });
    this.connected = new Promise((resolve) => {
      this.socket.once('connect', resolve);
    });
    this.socket.on('data', (chunk) => this.onData(chunk));
    this.socket.on('error', (error) => {
      load.failure ??= error;
    });
    this.socket.on('close', () => {
      if (this.isBusy) load.failure ??= new Error('a connection ended without an answer');
    });
  }

  /** @param {number} due */
  send(due) {
    this.due = due;
    this.isBusy = true;
    this.socket.write(this.load.request);
  }

  /** @param {Buffer} chunk */
  onData(chunk) {
    let body = chunk;
    if (this.missing === undefined) {
      const all = this.head === undefined ? chunk : Buffer.concat([this.head, chunk]);
      const at = all.indexOf(HEAD_END);
      if (at < 0) {
        this.head = all;
        return;
      }
      this.head = undefined;
      const text = all.latin1Slice(0, at + 2);
      const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1];
      if (!/^HTTP\/1.1 200 /.test(text) || length === undefined) this.load.failure ??= new Error(`the answer: ${text}`);
      this.isLast = /\r\nconnection: close\r\n/i.test(text);
      this.missing = Number(length);
      body = all.subarray(at + HEAD_END.length);
    }
    this.missing -= body.length;
    if (this.missing > 0) return;
    this.missing = undefined;
    this.isBusy = false;
    this.load.onAnswer(this, this.due);
  }
}

answerRequests({
  async run(settings) {
    return { type: 'measured', ...(await new Load(settings).run()) };
  },
});
