// Whose turn it is in an inbox. Messages of one sender run one after the other, in the order in which they have arrived, over all of its
// sessions; calls run side by side; all together up to a limit. Pure: what begins and what is done comes from outside.

import { OutcomeCode } from '../wire/frames.js';
import { type Incoming, IncomingState } from './incoming.js';
import { IncomingList } from './incoming-list.js';

/** A command with its limit. */
export interface Turnstile {
  readonly concurrency: number;
  running: number;
  /** Calls that wait for a place of it. Each call waits in one place at most, also when it needs several. */
  readonly waiting: IncomingList;
}

export interface QueueHost {
  readonly now: () => number;
  /** Returns the limit of a command; undefined when there is no such command. */
  command(number: number): Turnstile | undefined;
  /** The limits of all commands. */
  turnstiles(): Iterable<Turnstile>;
  /** Whether a message can be taken now; 'never': there is no handler for messages. */
  readonly takesMessages: 'now' | 'later' | 'never';
  /** Its turn has come. `onDone` of the queue follows. */
  begin(incoming: Incoming): void;
}

/** Callers that are remembered although they have no calls. */
const MAX_IDLE_CALLERS = 1_024;

/** So many calls one sender may run in any case, and beyond that this share of all: no sender takes every place. */
const FREE_CALLS = 64;
const SHARE = 0.5;

/** The messages of one sender. */
interface Chain {
  readonly key: string;
  /** Whose turn it is. */
  current: Incoming | undefined;
  readonly waiting: IncomingList;
}

export class InboxQueue {
  private readonly chains = new Map<string, Chain>();
  /** Chains whose next message may begin as soon as there is room. */
  private readonly ready = new Set<Chain>();
  /** Calls that wait for room. */
  private readonly calls = new IncomingList();
  private readonly callers = new Map<string, Turnstile>();
  /** Commands and callers that had room, and whose calls may go on: all of them, as the first ones may have to wait for something else. */
  private readonly freed = new Set<Turnstile>();
  private takesFreed = true;
  private readonly perCaller: number;
  /** Calls, and messages, that run. */
  private runningCalls = 0;
  private runningMessages = 0;
  private isPumping = false;

  constructor(
    private readonly host: QueueHost,
    private readonly concurrency: number,
  ) {
    this.perCaller = Math.max(Math.min(concurrency, FREE_CALLS), Math.floor(concurrency * SHARE));
  }

  /** Handlers that run. */
  get active(): number {
    return this.runningCalls + this.runningMessages;
  }

  add(incoming: Incoming): void {
    if (incoming.command !== undefined) this.addCall(incoming, incoming.command);
    else this.addMessage(incoming);
  }

  private addCall(incoming: Incoming, number: number): void {
    const command = this.host.command(number);
    if (command === undefined) incoming.refuse(OutcomeCode.NO_HANDLER);
    else if (command.running >= command.concurrency) command.waiting.add(incoming);
    else if (this.runningCalls >= this.concurrency) this.calls.add(incoming);
    else {
      const caller = this.callerOf(incoming);
      if (caller.running >= caller.concurrency) caller.waiting.add(incoming);
      else {
        caller.running++;
        command.running++;
        this.runningCalls++;
        this.begin(incoming);
      }
    }
  }

  /** The calls of one sender. */
  private callerOf({ sender: { key } }: Incoming): Turnstile {
    let caller = this.callers.get(key);
    if (caller === undefined) {
      caller = { concurrency: this.perCaller, running: 0, waiting: new IncomingList() };
      if (this.callers.size >= MAX_IDLE_CALLERS) {
        for (const [other, { running, waiting }] of this.callers) {
          if (running === 0 && waiting.size === 0) this.callers.delete(other);
        }
      }
      this.callers.set(key, caller);
    }
    return caller;
  }

  private addMessage(incoming: Incoming): void {
    if (this.host.takesMessages === 'never') {
      incoming.refuse(OutcomeCode.NO_HANDLER);
      return;
    }
    const { key } = incoming.sender;
    let chain = this.chains.get(key);
    if (chain === undefined) {
      chain = { key, current: undefined, waiting: new IncomingList() };
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
      incoming.list?.delete(incoming);
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
    if (incoming.command !== undefined) {
      this.runningCalls--;
      const caller = this.callerOf(incoming);
      caller.running--;
      this.free(caller);
      const command = this.host.command(incoming.command);
      if (command !== undefined) {
        command.running--;
        this.free(command);
      }
    } else {
      this.runningMessages--;
      const chain = this.chains.get(incoming.sender.key);
      if (chain !== undefined && chain.current === incoming) {
        chain.current = undefined;
        if (chain.waiting.size > 0) this.ready.add(chain);
        else this.tidy(chain);
      }
    }
    if (this.calls.size > 0 || this.ready.size > 0 || this.freed.size > 0) this.pump();
  }

  private free(gate: Turnstile): void {
    if (gate.waiting.size > 0) this.freed.add(gate);
  }

  /** Returns the next call that waits for what has room now. */
  private nextFreed(): Incoming | undefined {
    for (const gate of this.freed) {
      const { first } = gate.waiting;
      if (first !== undefined && gate.running < gate.concurrency) {
        // In turn with the others.
        this.freed.delete(gate);
        this.freed.add(gate);
        return first;
      }
      this.freed.delete(gate);
    }
    return undefined;
  }

  /** Those that wait for room only, and those that waited for something else before, in turn. */
  private nextCall(): Incoming | undefined {
    this.takesFreed = !this.takesFreed;
    return this.takesFreed ? (this.nextFreed() ?? this.calls.first) : (this.calls.first ?? this.nextFreed());
  }

  /** Begins what may begin. Called when a handler was added as well. */
  pump(): void {
    // Handlers that end at once come back here: one loop for all of them, however many wait.
    if (this.isPumping) return;
    this.isPumping = true;
    try {
      while (this.pumpCall() || this.pumpMessage()) {}
    } finally {
      this.isPumping = false;
    }
  }

  private pumpCall(): boolean {
    if (this.runningCalls >= this.concurrency) return false;
    const first = this.nextCall();
    if (first === undefined) return false;
    first.list?.delete(first);
    this.addCall(first, first.command as number);
    // In turn with messages.
    this.pumpMessage();
    return true;
  }

  private pumpMessage(): boolean {
    if (this.ready.size === 0 || this.runningMessages >= this.concurrency) return false;
    const takes = this.host.takesMessages;
    if (takes === 'later') return false;
    const [chain] = this.ready;
    this.ready.delete(chain);
    const { first } = chain.waiting;
    if (first === undefined) this.tidy(chain);
    else {
      chain.waiting.delete(first);
      if (takes === 'now') {
        chain.current = first;
        this.runningMessages++;
        this.begin(first);
      } else {
        first.refuse(OutcomeCode.NO_HANDLER);
        if (chain.waiting.size > 0) this.ready.add(chain);
        else this.tidy(chain);
      }
    }
    return true;
  }

  private begin(incoming: Incoming): void {
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
    for (const { waiting } of this.host.turnstiles()) yield* waiting;
    for (const { waiting } of this.callers.values()) yield* waiting;
    for (const { waiting } of this.chains.values()) yield* waiting;
  }
}
