// One call at the server, on a circuit of its own: reads the input, runs the handler, and writes the output, each as fast as the slower end.

import { Deadline } from '../../../util/deadline.js';
import { dateNow } from '../../../util/runtime/real-timers.js';
import { sharedTimers, type Timers } from '../../../util/timers.js';
import { MessageError, messageError, notHandled } from '../../outcome.js';
import type { Sender } from '../../receive/incoming.js';
import type { HandlerCall } from '../handler-call.js';
import { CallChannel, type CallCircuit } from './channel.js';
import { handlerFailed, type SentFailure, sentFailure } from './failure.js';
import { FrameKind } from './frames.js';
import type { CallHeader } from './header.js';
import { decodeItem, encodeItem } from './item.js';
import { endOf, iteratorOf, untilAborted } from './iteration.js';

/** What a server does with the calls of one command. */
export interface AnsweredCommand {
  readonly name: string;
  readonly streamsInput: boolean;
  readonly streamsOutput: boolean;
  /** Checks an input, or an item of it. @throws SchemaError */
  checkInput(value: unknown, isItem: boolean): unknown;
  /** Checks an output, or an item of it, and returns what is to be sent. @throws SchemaError */
  checkOutput(value: unknown): unknown;
  /** Runs the handler. */
  run(input: unknown, call: HandlerCall): unknown;
}

export interface AnswerOptions {
  readonly header: CallHeader;
  readonly sender: Sender;
  /** Bytes behind the preamble that have been read already. */
  readonly first?: Buffer | undefined;
  /** Of an item of a stream, and of an input or output that is none. */
  readonly maxItemBytes: number;
  readonly maxMessageBytes: number;
  /** Undefined if the API has no such command. */
  readonly command: AnsweredCommand | undefined;
  /** Takes a place for the call. Returns what to call when its handler has ended. @throws why there is none */
  readonly begin: () => () => void;
  /** Aborts when the server closes at once. */
  readonly signal: AbortSignal;
  readonly timers?: Timers | undefined;
}

/** How long an input that is no stream may take. */
const INPUT_MS = 30_000;

/** Answers one call. Resolves when the circuit needs no more care, and never rejects. */
export async function answerCall(circuit: CallCircuit, options: AnswerOptions): Promise<void> {
  const answer = new Answer(circuit, options);
  try {
    await answer.run();
  } catch (error) {
    answer.fail(error);
  }
}

class Answer {
  private readonly aborter = new AbortController();
  private readonly channel: CallChannel;
  private readonly deadline: Deadline;
  private readonly call: HandlerCall;
  private hasBegun = false;
  /** Errors that are not of the handler: of schemas and limits. */
  private readonly own = new WeakSet<Error>();
  private readonly onServerAbort = (): void => this.aborter.abort(this.options.signal.reason);

  constructor(
    circuit: CallCircuit,
    private readonly options: AnswerOptions,
  ) {
    const { header, sender, first, maxItemBytes, maxMessageBytes, command, timers = sharedTimers, signal } = options;
    const maxBytes = command?.streamsInput === true ? maxItemBytes : maxMessageBytes;
    this.channel = new CallChannel(circuit, maxBytes, first, (reason) => this.aborter.abort(reason));
    this.deadline = new Deadline(timers, () => {
      this.aborter.abort(messageError('ETIMEDOUT', 'unknown', 'the caller does not wait any longer'));
    });
    if (header.timeoutMs !== undefined) this.deadline.set(header.timeoutMs);
    if (signal.aborted) this.onServerAbort();
    else signal.addEventListener('abort', this.onServerAbort, { once: true });
    this.call = {
      id: header.id,
      from: sender.nodeId,
      verified: sender.isVerified,
      name: sender.name,
      tags: sender.tags,
      command: command?.name ?? '',
      signal: this.aborter.signal,
      deadline: header.timeoutMs === undefined ? undefined : dateNow() + header.timeoutMs,
    };
  }

  async run(): Promise<void> {
    const { header, command } = this.options;
    if (command === undefined) {
      throw messageError('ERR_STARLANE_NO_HANDLER', 'not-handled', `there is no command ${header.command}`);
    }
    if (command.streamsInput !== header.streamsInput || command.streamsOutput !== header.streamsOutput) {
      throw messageError('ERR_STARLANE_API', 'not-handled', `${command.name}: the ends differ in what is a stream`);
    }
    // From here on: a caller that sends no input takes a place as well.
    const ended = this.options.begin();
    const input = await this.input(command).catch((error: unknown) => {
      ended();
      throw error;
    });
    this.hasBegun = true;
    try {
      const work = this.work(command, input);
      // It counts as long as it runs, also if it does not care that nobody waits.
      void work.catch(() => {}).finally(ended);
      await untilAborted(work, this.aborter.signal);
    } finally {
      // A handler that has not read all of its input does not need the rest.
      if (command.streamsInput) endOf(input as AsyncGenerator);
    }
    this.channel.send(FrameKind.END);
    this.close();
  }

  private async work(command: AnsweredCommand, input: unknown): Promise<void> {
    const output = await command.run(input, this.call);
    if (command.streamsOutput) await this.sendAll(command, output);
    else await this.sendItem(command, output);
  }

  fail(error: unknown): void {
    const failure = this.failureFor(error);
    this.channel.send(FrameKind.ERROR, [Buffer.from(JSON.stringify(failure))]);
    this.aborter.abort(error);
    this.close();
  }

  private failureFor(error: unknown): SentFailure {
    if (!this.hasBegun) {
      return sentFailure(error instanceof MessageError ? error : notHandled(this.call.command, error), 'not-handled');
    }
    // The caller does not wait any longer, or the server closes: the handler may run on.
    if (error instanceof MessageError && error === this.aborter.signal.reason) return sentFailure(error, 'unknown');
    const isOwn = error instanceof MessageError && this.own.has(error);
    return sentFailure(isOwn ? error : handlerFailed(error), 'handled');
  }

  private close(): void {
    this.deadline.clear();
    this.options.signal.removeEventListener('abort', this.onServerAbort);
    this.channel.finish();
  }

  private async input(command: AnsweredCommand): Promise<unknown> {
    if (command.streamsInput) return this.items(command);
    const { timers = sharedTimers } = this.options;
    const late = new Deadline(timers, () => {
      this.aborter.abort(messageError('ETIMEDOUT', 'not-handled', 'the input did not come in time'));
    });
    late.set(INPUT_MS);
    try {
      const frame = await this.next();
      const end = frame?.kind === FrameKind.ITEM ? await this.next() : undefined;
      if (frame === undefined || end?.kind !== FrameKind.END) {
        throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'not-handled', 'a call without its input');
      }
      const input = await command.checkInput(decodeItem(frame.payload), false);
      this.aborter.signal.throwIfAborted();
      return input;
    } finally {
      late.clear();
    }
  }

  private async *items(command: AnsweredCommand): AsyncGenerator<unknown, void, undefined> {
    for (;;) {
      const frame = await this.next();
      if (frame?.kind === FrameKind.END) return;
      if (frame?.kind !== FrameKind.ITEM) {
        throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'handled', 'the input ends without saying so');
      }
      yield await this.blame(async () => command.checkInput(decodeItem(frame.payload), true));
    }
  }

  /** Reads a frame, for as long as somebody waits for the answer. */
  private next(): ReturnType<CallChannel['read']> {
    return this.blame(() => untilAborted(this.channel.read(), this.aborter.signal));
  }

  private async sendAll(command: AnsweredCommand, output: unknown): Promise<void> {
    const iterator = await this.blame(async () => iteratorOf(output, `output of ${command.name}`));
    let isOver = false;
    try {
      for (;;) {
        const { done, value } = await untilAborted(Promise.resolve(iterator.next()), this.aborter.signal);
        if (done === true) {
          isOver = true;
          return;
        }
        await this.sendItem(command, value);
      }
    } catch (error) {
      // What the iterator has thrown has ended it; anything else ends it here. It may be busy, and is not waited for.
      if (!isOver) endOf(iterator);
      throw error;
    }
  }

  private async sendItem(command: AnsweredCommand, value: unknown): Promise<void> {
    const { maxItemBytes, maxMessageBytes } = this.options;
    const maxBytes = command.streamsOutput ? maxItemBytes : maxMessageBytes;
    const item = await this.blame(async () => encodeItem(await command.checkOutput(value), maxBytes));
    this.aborter.signal.throwIfAborted();
    await untilAborted(this.channel.write(FrameKind.ITEM, item), this.aborter.signal);
  }

  /** Remembers an error as one that the handler has not made. */
  private async blame<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Error) this.own.add(error);
      throw error;
    }
  }
}
