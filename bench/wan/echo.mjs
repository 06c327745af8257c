import { deferred } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';
import { Samples } from '../statistics.mjs';
import { nowMs } from './clock.mjs';

/**
 * @typedef {import('node:stream').Duplex} Duplex
 *
 * @typedef {object} EchoWork
 * @property {number} streams
 * @property {number} [everyMs] a message every so often, whether the last one is back or not; default: once it is
 *
 * @typedef {{ sentMs: Float64Array, tookMs: Float64Array }} EchoTimes by the monotonic clock; one entry for each message
 */

/** The dialling end of the echo streams. */
export class Echoes {
  /**
   * @param {EchoWork} work
   * @param {(error: Error) => void} fail
   */
  constructor(work, fail) {
    this.work = work;
    this.fail = fail;
    this.isOver = false;
    /** @type {number[]} */
    this.sentMs = [];
    /** @type {number[]} */
    this.tookMs = [];
    this.pending = 0;
    this.answered = deferred();
  }

  /**
   * @param {Duplex} socket
   * @param {number} index
   */
  add(socket, index) {
    const message = makeMessage(index);
    /** @type {number[]} */
    const sent = [];
    let received = 0;
    let sendTurn = 0;
    const send = () => {
      const copy = Buffer.from(message);
      copy.writeUInt32BE(sendTurn++, 4);
      sent.push(nowMs());
      this.pending += 1;
      socket.write(copy);
    };
    socket.on('data', (chunk) => {
      for (let at = 0; at < chunk.length; ) {
        const place = received % MESSAGE_BYTES;
        if (place === 0) message.writeUInt32BE(received / MESSAGE_BYTES, 4);
        const part = chunk.subarray(at, at + MESSAGE_BYTES - place);
        if (!part.equals(message.subarray(place, place + part.length))) {
          this.fail(new Error(`echo stream ${index}: wrong bytes at ${received}`));
          return;
        }
        received += part.length;
        at += part.length;
        if (received % MESSAGE_BYTES === 0) this.onEcho(/** @type {number} */ (sent.shift()), send);
      }
    });
    socket.on('error', this.fail);
    const { everyMs } = this.work;
    if (everyMs === undefined) {
      send();
      return;
    }
    const timer = setInterval(() => {
      if (this.isOver) clearInterval(timer);
      else send();
    }, everyMs);
  }

  /**
   * @param {number} sentMs
   * @param {() => void} send
   */
  onEcho(sentMs, send) {
    this.sentMs.push(sentMs);
    this.tookMs.push(nowMs() - sentMs);
    this.pending -= 1;
    if (this.work.everyMs === undefined && !this.isOver) send();
    this.finishIfDone();
  }

  finishIfDone() {
    if (this.isOver && this.pending === 0) this.answered.resolve();
  }

  /**
   * Sends nothing more. Those that take longest are the ones still missing: waits for them.
   *
   * @returns {Promise<EchoTimes>}
   */
  async end() {
    this.isOver = true;
    this.finishIfDone();
    await this.answered.promise;
    return { sentMs: Float64Array.from(this.sentMs), tookMs: Float64Array.from(this.tookMs) };
  }
}

/**
 * What came of the messages that were sent between two moments.
 *
 * @param {EchoTimes} times
 * @param {number} beginMs
 * @param {number} endMs
 * @returns {{ p50: number, p99: number, echoes: number }}
 */
export function echoFigures(times, beginMs, endMs) {
  const samples = new Samples();
  for (const [i, sentMs] of times.sentMs.entries()) {
    if (sentMs >= beginMs && sentMs < endMs) samples.add(times.tookMs[i]);
  }
  const [p50, p99] = samples.percentiles([50, 99]);
  return { p50, p99, echoes: samples.count };
}
