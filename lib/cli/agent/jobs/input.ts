// The input of a job: pieces with their positions, so that one that is sent again changes nothing, and so that it is known which one is next.

import type { Writable } from 'node:stream';
import { starlaneError } from '../../../errors.js';
import { Deadline, waitWithin } from '../../../util/deadline.js';
import type { Timers } from '../../../util/timers.js';

/** Of one piece. */
export const MAX_INPUT_BYTES = 512 * 1024;
/** How long an answer waits for the program to read. */
export const INPUT_ANSWER_MS = 10_000;
/** Pieces that wait, with the one that is being taken. */
const MAX_WAITING = 2;

export interface InputState {
  /** Bytes that were taken: the position of the next piece. */
  readonly position: number;
  /** False when the input has ended, or the program reads no more. */
  readonly open: boolean;
}

export class JobInput {
  private position = 0;
  private isOpen = true;
  private hasEnded = false;
  private waiting = 0;
  private turn: Promise<unknown> = Promise.resolve();
  private readonly idle: Deadline;

  /** @param onLost called when nobody has sent anything for `idleMs` although the input is open */
  constructor(
    private readonly stdin: Writable,
    private readonly timers: Timers,
    private readonly idleMs: number,
    onLost: () => void,
  ) {
    this.idle = new Deadline(timers, onLost);
    this.idle.set(idleMs);
    // The program may end, or close its input, at any time.
    stdin.on('error', () => {});
    stdin.once('close', () => this.close());
  }

  get state(): InputState {
    return { position: this.position, open: this.isOpen };
  }

  /**
   * Takes the piece at position `from`; what was taken before is skipped. `isLast`: the input ends behind it. Resolves when the program has
   * read it, or after {@link INPUT_ANSWER_MS}; then the state says what was taken. An empty piece that is not the last one shows that the
   * caller is there.
   * @throws EAGAIN; ERR_STARLANE_ARGUMENT for a position beyond that of the next piece
   */
  async take(from: number, data: Buffer, isLast: boolean): Promise<InputState> {
    if (this.waiting >= MAX_WAITING) throw starlaneError('ERR_STARLANE_JOB', 'input is sent by several at once');
    this.waiting++;
    this.idle.clear();
    const taken = this.turn.then(() => this.takeNow(from, data, isLast));
    this.turn = taken.catch(() => {});
    try {
      return await taken;
    } finally {
      this.waiting--;
      if (this.waiting === 0 && this.isOpen) this.idle.set(this.idleMs);
    }
  }

  /** Takes no more. */
  close(): void {
    this.isOpen = false;
    this.idle.clear();
  }

  private async takeNow(from: number, data: Buffer, isLast: boolean): Promise<InputState> {
    if (!this.isOpen) return this.state;
    if (from > this.position) {
      throw starlaneError('ERR_STARLANE_ARGUMENT', `the input goes on at ${this.position}, not at ${from}`);
    }
    // At most one piece waits in the stream for the program.
    if (!(await this.drained()) || !this.isOpen) return this.state;
    const news = data.subarray(this.position - from);
    if (news.length > 0) {
      this.position += news.length;
      this.stdin.write(news);
    }
    if (isLast && from + data.length === this.position && !this.hasEnded) {
      this.hasEnded = true;
      this.close();
      this.stdin.end();
    } else if (news.length > 0) await this.drained();
    return this.state;
  }

  /** Resolves with whether the program has read what was written, in time. */
  private drained(): Promise<boolean> {
    const { stdin } = this;
    if (stdin.writableLength === 0) return Promise.resolve(true);
    return waitWithin<boolean>(
      this.timers,
      { timeoutMs: INPUT_ANSWER_MS, late: () => new Error('the program does not read') },
      (resolve) => {
        const onChange = () => resolve(stdin.writableLength === 0);
        // With less than the high-water mark there is no 'drain'; the callback of an empty write comes behind everything.
        stdin.write('', onChange);
        stdin.once('close', onChange);
        return () => stdin.off('close', onChange);
      },
    ).catch(() => false);
  }
}
