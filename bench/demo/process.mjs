import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { deferred, within } from '../deadline.mjs';

const DEADLINE_MS = 15_000;

/** Of all processes together: rejects with the first failure of any, and is never resolved. */
export const failure = deferred();
// Only ever looked at in a race; alone it must not count as unhandled.
failure.promise.catch(() => {});

/**
 * The outcome of `promise`, unless it is late or one of the processes fails meanwhile.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} what
 * @returns {Promise<T>}
 */
export function orFailure(promise, ms, what) {
  return within(/** @type {Promise<T>} */ (Promise.race([promise, failure.promise])), ms, what);
}

/** A process of the demo other than this one. It answers one question at a time. */
export class DemoProcess {
  /**
   * @param {string} title
   * @param {string} file beside this one
   * @param {string[]} args
   */
  constructor(title, file, args) {
    this.title = title;
    this.child = fork(fileURLToPath(new URL(file, import.meta.url)), args);
    this.exited = once(this.child, 'exit');
    this.isEnding = false;
    this.answer = deferred();
    this.child.on('message', (/** @type {any} */ message) => {
      if (message.type === 'failed') failure.reject(new Error(`${title}: ${message.reason}`));
      else this.answer.resolve(message);
    });
    this.child.on('exit', (code, signal) => {
      if (!this.isEnding) failure.reject(new Error(`${title}: ended early with ${signal ?? code}`));
    });
  }

  /** Resolves with the first thing that the process says. @returns {Promise<any>} */
  ready() {
    return orFailure(this.answer.promise, DEADLINE_MS, `start of ${this.title}`);
  }

  /**
   * @param {object} question
   * @returns {Promise<any>}
   */
  ask(question) {
    this.answer = deferred();
    this.child.send(question);
    return orFailure(this.answer.promise, DEADLINE_MS, `answer of ${this.title}`);
  }

  /** As in a power failure: without notice to any peer. */
  async kill() {
    this.isEnding = true;
    this.child.kill('SIGKILL');
    await within(this.exited, DEADLINE_MS, `end of ${this.title}`);
  }

  async stop() {
    this.isEnding = true;
    if (this.child.connected) this.child.send({ type: 'close' });
    await within(this.exited, DEADLINE_MS, `end of ${this.title}`).catch((error) => {
      this.child.kill('SIGKILL');
      throw error;
    });
  }
}
