// Whose turn it is in an inbox. Messages of one sender run one after the other, in the order in which they have arrived, over all of its
// sessions; calls run side by side; all together up to a limit. Pure: what begins and what is done comes from outside.

import { OutcomeCode } from '../wire/frames.js';
import { type Incoming, IncomingState } from './incoming.js';

/** A command with its limit. */
export interface Turnstile {
  readonly concurrency: number;
  running: number;
  readonly waiting: Set<Incoming>;
}

export interface QueueHost {
  readonly now: () => number;
  /** Returns the limit of a command; undefined when there is no such command. */
  command(number: number): Turnstile | undefined;
  /** Whether a message can be taken now; 'never': there is no handler for messages. */
  readonly takesMessages: 'now' | 'later' | 'never';
  /** Its turn has come. `onDone` of the queue follows. */
  begin(incoming: Incoming): void;
}

/** The messages of one sender. */
interface Chain {
  readonly key: string;
  /** Whose turn it is. */
  current: Incoming | undefined;
  readonly waiting: Set<Incoming>;
}

export class InboxQueue {
  private readonly chains = new Map<string, Chain>();
  /** Chains whose next message may begin as soon as there is room. */
  private readonly ready = new Set<Chain>();
  /** Calls that wait for room. */
  private readonly calls = new Set<Incoming>();
  private running = 0;

  constructor(
    private readonly host: QueueHost,
    private readonly concurrency: number,
  ) {}

  /** Handlers that run. */
  get active(): number {
    return this.running;
  }

  get hasWaiting(): boolean {
    return this.calls.size > 0 || this.ready.size > 0 || this.chains.size > 0;
  }

  add(incoming: Incoming): void {
    if (incoming.command !== undefined) this.addCall(incoming, incoming.command);
    else this.addMessage(incoming);
  }

  private addCall(incoming: Incoming, number: number): void {
    const command = this.host.command(number);
    if (command === undefined) incoming.refuse(OutcomeCode.NO_HANDLER);
    else if (command.running >= command.concurrency) command.waiting.add(incoming);
    else if (this.running >= this.concurrency) this.calls.add(incoming);
    else {
      command.running++;
      this.begin(incoming);
    }
  }

  private addMessage(incoming: Incoming): void {
    if (this.host.takesMessages === 'never') {
      incoming.refuse(OutcomeCode.NO_HANDLER);
      return;
    }
    const { key } = incoming.sender;
    let chain = this.chains.get(key);
    if (chain === undefined) {
      chain = { key, current: undefined, waiting: new Set() };
      this.chains.set(key, chain);
    }
    chain.waiting.add(incoming);
    if (chain.current !== undefined) return;
    this.ready.add(chain);
    this.pump();
  }

  /** Removes one whose turn has not come. Returns false when it has. */
  remove(incoming: Incoming): boolean {
    if (incoming.state !== IncomingState.WAITING) return false;
    if (incoming.command !== undefined) {
      this.calls.delete(incoming);
      this.host.command(incoming.command)?.waiting.delete(incoming);
      return true;
    }
    const chain = this.chains.get(incoming.sender.key);
    if (chain === undefined) return true;
    chain.waiting.delete(incoming);
    this.tidy(chain);
    return true;
  }

  /** Called when what `begin` has begun is over. */
  onDone(incoming: Incoming): void {
    this.running--;
    if (incoming.command !== undefined) {
      const command = this.host.command(incoming.command);
      if (command !== undefined) {
        command.running--;
        this.admit(command);
      }
    } else {
      const chain = this.chains.get(incoming.sender.key);
      if (chain !== undefined && chain.current === incoming) {
        chain.current = undefined;
        if (chain.waiting.size > 0) this.ready.add(chain);
        else this.tidy(chain);
      }
    }
    if (this.calls.size > 0 || this.ready.size > 0) this.pump();
  }

  /** Moves calls of a command on to where they wait for room. */
  private admit(command: Turnstile): void {
    for (const incoming of command.waiting) {
      if (command.running >= command.concurrency) return;
      command.waiting.delete(incoming);
      if (this.running >= this.concurrency) {
        this.calls.add(incoming);
        return;
      }
      command.running++;
      this.begin(incoming);
    }
  }

  /** Begins what may begin. Called when a handler was added as well. */
  pump(): void {
    for (const incoming of this.calls) {
      if (this.running >= this.concurrency) return;
      this.calls.delete(incoming);
      this.addCall(incoming, incoming.command as number);
    }
    for (const chain of this.ready) {
      const takes = this.host.takesMessages;
      if (this.running >= this.concurrency || takes === 'later') return;
      this.ready.delete(chain);
      const [first] = chain.waiting;
      if (first === undefined) {
        this.tidy(chain);
        continue;
      }
      chain.waiting.delete(first);
      if (takes === 'never') {
        first.refuse(OutcomeCode.NO_HANDLER);
        if (chain.waiting.size > 0) this.ready.add(chain);
        else this.tidy(chain);
        continue;
      }
      chain.current = first;
      this.begin(first);
    }
  }

  private begin(incoming: Incoming): void {
    this.running++;
    incoming.state = IncomingState.RUNNING;
    if (incoming.deadlineMs !== Number.POSITIVE_INFINITY && this.host.now() >= incoming.deadlineMs) {
      incoming.refuse(OutcomeCode.LATE);
      this.onDone(incoming);
      return;
    }
    this.host.begin(incoming);
  }

  private tidy(chain: Chain): void {
    if (chain.current !== undefined || chain.waiting.size > 0) return;
    this.ready.delete(chain);
    this.chains.delete(chain.key);
  }

  /** Returns everything whose turn has not come, for those that settle it otherwise. */
  *waiting(): IterableIterator<Incoming> {
    yield* this.calls;
    for (const { waiting } of this.chains.values()) yield* waiting;
  }
}
