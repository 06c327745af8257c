import { once } from 'node:events';
import { deferred, pause, within } from '../deadline.mjs';
import { MESSAGE_BYTES, makeMessage } from '../payload.mjs';

/**
 * @typedef {import('../../dist/index.js').Node} Node
 * @typedef {import('../../dist/index.js').Socket} Socket
 */

const DIAL_DEADLINE_MS = 2_000;
const LANES = 4;
const BETWEEN_MS = 5;
const AROUND_MS = 1_500;

/** Streams that stay open, so that it can be seen what becomes of them. */
export class HeldStreams {
  /** @param {Node} node */
  constructor(node) {
    this.node = node;
    /** @type {{ socket: Socket, error: Error | undefined, closed: Promise<void> }[]} */
    this.streams = [];
  }

  /** @param {number} count */
  async open(count) {
    await Promise.all(
      Array.from({ length: count }, async () => {
        const socket = this.node.dial('echo');
        const closed = deferred();
        const stream = { socket, error: /** @type {Error | undefined} */ (undefined), closed: closed.promise };
        socket.on('error', (error) => {
          stream.error = error;
        });
        socket.on('close', () => closed.resolve());
        this.streams.push(stream);
        await echo(socket, this.streams.length);
      }),
    );
  }

  /**
   * Streams through the killed relay must have been reset; the others must still carry data.
   *
   * @param {string} relayId
   * @returns {Promise<{ reset: number, alive: number }>}
   */
  async check(relayId) {
    const result = { reset: 0, alive: 0 };
    for (const { socket, error, closed } of this.streams) {
      if (socket.peer?.via.includes(relayId)) {
        await within(closed, DIAL_DEADLINE_MS, 'end of a stream through the killed relay');
        const code = /** @type {NodeJS.ErrnoException} */ (error)?.code;
        if (code !== 'ECONNRESET') throw new Error(`a stream through the killed relay ended with ${code}`);
        result.reset += 1;
      } else {
        await within(echo(socket, result.alive), DIAL_DEADLINE_MS, 'echo through the other relay');
        socket.end();
        result.alive += 1;
      }
    }
    return result;
  }
}

/**
 * Dials without a break, before, while and after `kill` does its work; each dial that begins with it or later has to be
 * answered in time.
 *
 * @param {Node} node
 * @param {() => Promise<void>} kill
 */
export async function dialThroughout(node, kill) {
  const result = { before: 0, lost: 0, after: 0, slowestMs: 0 };
  let isStopped = false;
  /** @type {number} */
  let killedAt = Number.POSITIVE_INFINITY;
  const lane = async (/** @type {number} */ index) => {
    while (!isStopped) {
      const from = performance.now();
      const socket = node.dial('echo', { timeoutMs: DIAL_DEADLINE_MS });
      let isConnected = false;
      try {
        await once(socket, 'connect');
        isConnected = true;
        const ms = performance.now() - from;
        const isKilled = killedAt !== Number.POSITIVE_INFINITY;
        if (isKilled) result.slowestMs = Math.max(result.slowestMs, ms);
        await echo(socket, index);
        socket.end();
        result[isKilled ? 'after' : 'before'] += 1;
      } catch (error) {
        // Connected before, and then lost with the relay: that is what a reset is for. A dial has no such excuse.
        const { code } = /** @type {NodeJS.ErrnoException} */ (error);
        if (!isConnected || from > killedAt || code !== 'ECONNRESET') {
          const waited = Math.round(performance.now() - from);
          throw new Error(`a dial failed after ${waited} ms: ${/** @type {Error} */ (error).message}`, {
            cause: error,
          });
        }
        result.lost += 1;
      }
      await pause(BETWEEN_MS);
    }
  };
  const script = async () => {
    await pause(AROUND_MS);
    killedAt = performance.now();
    await kill();
    await pause(AROUND_MS);
    isStopped = true;
  };
  await Promise.all([script(), ...Array.from({ length: LANES }, (_, index) => lane(index))]);
  return result;
}

/**
 * A message there and back over a stream that stays open.
 *
 * @param {Socket} socket
 * @param {number} index
 * @returns {Promise<void>}
 */
function echo(socket, index) {
  const { promise, resolve, reject } = deferred();
  const message = makeMessage(index);
  let received = 0;
  const onData = (/** @type {Buffer} */ chunk) => {
    if (!chunk.equals(message.subarray(received, received + chunk.length))) reject(new Error('wrong echo'));
    received += chunk.length;
    if (received === MESSAGE_BYTES) done();
  };
  const onClose = () => reject(new Error('closed before the echo'));
  const done = () => {
    for (const [event, listener] of listeners) socket.removeListener(event, listener);
    resolve();
  };
  /** @type {[string, (...args: any[]) => void][]} */
  const listeners = [
    ['data', onData],
    ['error', reject],
    ['close', onClose],
  ];
  for (const [event, listener] of listeners) socket.on(event, listener);
  socket.write(message);
  return promise;
}
