// The contents that an inbox waits for. A circuit with a content is taken only when it was asked for, by the sender that was asked.

import type { Readable } from 'node:stream';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { readStream, readWhole } from '../transfer.js';
import { OutcomeCode } from '../wire/frames.js';
import type { BodyBudget } from './body-budget.js';
import type { Incoming } from './incoming.js';
import type { ReceiverSession } from './session.js';

/** How long a content without a time limit may be on its way. */
const MAX_WAIT_MS = 60_000;
/**
 * While other senders wait for the memory that a content holds, this share of its bytes has to arrive between two looks: half as fast as it has
 * to be to arrive in time. Otherwise a few senders that stop in between would hold all of the memory until then.
 */
const LOOK_MS = 5_000;
const MIN_SHARE = LOOK_MS / MAX_WAIT_MS / 2;
/** How often the sender is asked for a content whose circuit broke, and how long to wait before. */
const MAX_ASKED = 8;
const ASK_AGAIN_MS = 100;

interface Wait {
  readonly incoming: Incoming;
  readonly isStreamed: boolean;
  readonly onContent: (content: Buffer | Readable) => void;
  /** The handler will not begin. */
  readonly onFailed: (code: number) => void;
  readonly deadline: Deadline;
  /** Looks whether it moves. */
  readonly look: Deadline;
  /** Bytes that have come since the last look. */
  moved: number;
  asked: number;
  giveBack: () => void;
  giveUp: (() => void) | undefined;
}

export class Bodies {
  private readonly waits = new Map<Incoming, Wait>();

  constructor(
    private readonly timers: Timers,
    private readonly budget: BodyBudget,
  ) {}

  /** Asks for the content of a message. One of the two functions is called, now or later. */
  want(
    incoming: Incoming,
    isStreamed: boolean,
    onContent: (content: Buffer | Readable) => void,
    onFailed: (code: number) => void,
  ): void {
    if ((incoming.owner as ReceiverSession).isAbandoned) {
      onFailed(OutcomeCode.CONTENT);
      return;
    }
    const deadline = new Deadline(this.timers, () => this.fail(incoming, OutcomeCode.LATE));
    const wait: Wait = {
      incoming,
      isStreamed,
      onContent,
      onFailed,
      deadline,
      look: new Deadline(this.timers, () => this.look(wait)),
      moved: 0,
      asked: 0,
      giveBack: () => {},
      giveUp: undefined,
    };
    this.waits.set(incoming, wait);
    deadline.set(Math.min(MAX_WAIT_MS, incoming.remainingMs));
    const bytes = isStreamed ? 0 : incoming.apartBytes;
    wait.giveBack = this.budget.take(incoming.sender.key, bytes, () => this.ask(wait));
  }

  private ask(wait: Wait): void {
    if (this.waits.get(wait.incoming) !== wait) return;
    if (!wait.isStreamed && !wait.look.isSet) wait.look.set(LOOK_MS);
    if (++wait.asked > MAX_ASKED) this.fail(wait.incoming, OutcomeCode.CONTENT);
    else (wait.incoming.owner as ReceiverSession).want(wait.incoming);
  }

  /** Gives a content up that hardly moves while others wait for its memory. */
  private look(wait: Wait): void {
    const { incoming, moved } = wait;
    if (moved < incoming.apartBytes * MIN_SHARE && this.budget.isWantedFrom(incoming.sender.key)) {
      this.fail(incoming, OutcomeCode.CONTENT);
      return;
    }
    wait.moved = 0;
    wait.look.set(LOOK_MS);
  }

  /** Takes the circuit with the content of a message. Returns false when it was not asked for. */
  accept(incoming: Incoming, socket: Socket, rest: Buffer): boolean {
    const wait = this.waits.get(incoming);
    if (wait === undefined || wait.asked === 0) return false;
    wait.giveUp?.();
    if (wait.isStreamed) {
      this.end(wait);
      wait.onContent(readStream(socket, rest));
      return true;
    }
    wait.giveUp = readWhole(socket, rest, incoming.apartBytes, incoming.apartBytes, {
      onWhole: (bytes) => {
        // The bytes count until the handler is done.
        const { giveBack } = wait;
        wait.giveBack = () => {};
        this.end(wait);
        incoming.release = giveBack;
        wait.onContent(bytes);
      },
      onBytes: (count) => {
        wait.moved += count;
      },
      onMisfit: () => this.fail(incoming, OutcomeCode.CONTENT),
      onBroken: () => {
        wait.giveUp = undefined;
        this.timers.schedule(ASK_AGAIN_MS, { onDeadline: () => this.ask(wait) });
      },
    });
    return true;
  }

  /** Gives a content up, if it is waited for. Returns whether it was. */
  fail(incoming: Incoming, code: number): boolean {
    const wait = this.waits.get(incoming);
    if (wait === undefined) return false;
    this.end(wait);
    wait.giveUp?.();
    wait.onFailed(code);
    return true;
  }

  private end(wait: Wait): void {
    this.waits.delete(wait.incoming);
    // A circuit that the session gets later must not ask for it again.
    wait.incoming.isWanted = false;
    wait.deadline.clear();
    wait.look.clear();
    wait.giveBack();
  }
}
