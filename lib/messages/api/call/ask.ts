// One call at the caller, on a circuit of its own: sends the input and yields the output, each as fast as the slower end.

import { once } from 'node:events';
import { codeOf } from '../../../errors.js';
import { Deadline } from '../../../util/deadline.js';
import { nodeCrypto } from '../../../util/runtime/builtins.js';
import { performanceNow } from '../../../util/runtime/real-timers.js';
import { sharedTimers } from '../../../util/timers.js';
import { MessageError, messageError, notHandled, outcomeUnknown } from '../../outcome.js';
import { CircuitKind, encodePreamble } from '../../wire/preamble.js';
import { CallChannel, type CallCircuit } from './channel.js';
import { receivedFailure } from './failure.js';
import { type Frame, FrameKind } from './frames.js';
import { encodeHeader } from './header.js';
import { decodeItem, encodeItem } from './item.js';
import { endOf, iteratorOf, untilAborted } from './iteration.js';

/** A circuit that emits 'connect' when the service has accepted. */
export interface DialledCircuit extends CallCircuit {
  readonly connecting: boolean;
}

export interface AskedCommand {
  readonly name: string;
  readonly number: number;
  readonly streamsInput: boolean;
  readonly streamsOutput: boolean;
  /** Checks an input, or an item of it, and returns what is to be sent. @throws SchemaError */
  checkInput(value: unknown): unknown;
  /** Checks an output, or an item of it. @throws SchemaError */
  checkOutput(value: unknown): unknown;
}

export interface AskOptions {
  /** Opens a circuit to an instance of the service. `timeoutMs` bounds how long that takes. */
  dial(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): DialledCircuit;
  /** For errors. */
  readonly service: string;
  readonly command: AskedCommand;
  readonly input: unknown;
  /** How long the service may take to accept, in ms. */
  readonly dialTimeoutMs: number;
  /** How long the whole may take, in ms; undefined without a limit. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Of an item of a stream, and of an input or output that is none. */
  readonly maxItemBytes: number;
  readonly maxMessageBytes: number;
}

/** Makes a call, and resolves with its output. @throws MessageError, SchemaError, the reason of the signal */
export async function askOnce(options: AskOptions): Promise<unknown> {
  const outputs = askMany(options);
  try {
    const { done, value } = await outputs.next();
    if (done === true || (await outputs.next()).done !== true) {
      throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', `${options.command.name}: not one output`);
    }
    return value;
  } finally {
    await outputs.return(undefined);
  }
}

/**
 * Makes a call when the first item is asked for, and yields the items of its output. Leaving the loop cancels the call.
 * @throws as {@link askOnce}
 */
export async function* askMany(options: AskOptions): AsyncGenerator<unknown, void, undefined> {
  const asking = new Asking(options);
  try {
    yield* asking.run();
  } catch (error) {
    throw asking.explained(error);
  } finally {
    asking.close();
  }
}

/** How much later than its time a dial may say why it has failed. */
const DIAL_GRACE_MS = 250;

class Asking {
  private readonly aborter = new AbortController();
  private readonly deadline: Deadline;
  private readonly untilMs: number;
  private channel: CallChannel | undefined;
  private isOver = false;
  private isDialling = false;
  /** Why the own input has ended the call. */
  private inputFailure: { readonly error: unknown } | undefined;
  private readonly onAbort = (): void => this.aborter.abort(this.options.signal?.reason);

  constructor(private readonly options: AskOptions) {
    const { signal, timeoutMs } = options;
    this.untilMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performanceNow() + timeoutMs;
    this.deadline = new Deadline(sharedTimers, () => {
      if (this.isDialling) {
        // The dial has the same time, and its error says more, such as that nobody offers the service.
        this.isDialling = false;
        this.deadline.set(DIAL_GRACE_MS);
        return;
      }
      const outcome = this.channel === undefined ? 'not-handled' : 'unknown';
      this.aborter.abort(messageError('ETIMEDOUT', outcome, `${options.command.name}: within ${timeoutMs} ms`));
    });
    if (timeoutMs !== undefined) this.deadline.set(timeoutMs);
    if (signal?.aborted) this.onAbort();
    else signal?.addEventListener('abort', this.onAbort, { once: true });
    this.aborter.signal.addEventListener('abort', () => this.channel?.reset(), { once: true });
  }

  async *run(): AsyncGenerator<unknown, void, undefined> {
    const { command, input, maxItemBytes, maxMessageBytes, dialTimeoutMs } = this.options;
    const { signal } = this.aborter;
    signal.throwIfAborted();
    // Before a circuit is made: an input that does not fit costs nothing.
    const single = command.streamsInput
      ? undefined
      : encodeItem(await command.checkInput(input), maxMessageBytes, 'not-handled');
    const items = command.streamsInput ? iteratorOf(input, `input of ${command.name}`) : undefined;
    const circuit = await this.dialled(dialTimeoutMs).catch((error: unknown) => {
      if (items !== undefined) endOf(items);
      throw error;
    });
    const channel = new CallChannel(circuit, command.streamsOutput ? maxItemBytes : maxMessageBytes);
    this.channel = channel;
    signal.throwIfAborted();
    circuit.write(encodePreamble({ kind: CircuitKind.CALL, header: this.header() }));
    if (single !== undefined) {
      channel.send(FrameKind.ITEM, single);
      channel.send(FrameKind.END);
    } else if (items !== undefined) {
      void this.sendAll(channel, items);
    }
    let frame: Frame | undefined = await this.first(channel);
    while (frame?.kind === FrameKind.ITEM) {
      yield await command.checkOutput(decodeItem(frame.payload));
      frame = await channel.read();
    }
    this.isOver = true;
    if (frame?.kind !== FrameKind.END) throw failureOf(frame, command.name);
  }

  /** Reads the first frame of the output. A dial by name also reaches what was bound by name alone, such as an HTTP server. */
  private async first(channel: CallChannel): Promise<Frame> {
    let cause: unknown;
    try {
      const frame = await channel.read();
      if (frame !== undefined) return frame;
    } catch (error) {
      if (codeOf(error) !== 'ERR_STARLANE_MESSAGE_PROTOCOL') throw error;
      cause = error;
    }
    const { service } = this.options;
    const detail = `${service} has answered in another protocol. Call what serveApi() serves; reach other services with node.dial(), or starlane connect ${service}`;
    throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', detail, cause);
  }

  /** Returns the error for the user: what the own input or the signal has ended goes first. */
  explained(error: unknown): unknown {
    if (this.inputFailure !== undefined) return this.inputFailure.error;
    if (this.aborter.signal.aborted) return this.aborter.signal.reason;
    if (error instanceof MessageError && codeOf(error) !== 'ECONNRESET') return error;
    if (this.channel === undefined) return error;
    return outcomeUnknown(`${this.options.command.name}: the circuit was lost`, error);
  }

  close(): void {
    this.deadline.clear();
    this.options.signal?.removeEventListener('abort', this.onAbort);
    if (this.isOver) this.channel?.finish();
    else this.channel?.reset();
    // Ends the input as well.
    this.aborter.abort(new DOMException('the call is over', 'AbortError'));
  }

  private header(): Buffer {
    const { number, streamsInput, streamsOutput } = this.options.command;
    const left = this.untilMs === Number.POSITIVE_INFINITY ? undefined : this.untilMs - performanceNow();
    return encodeHeader({
      id: nodeCrypto().randomUUID(),
      command: number,
      timeoutMs: left === undefined ? undefined : Math.max(0, Math.round(left)),
      streamsInput,
      streamsOutput,
    });
  }

  /** Nothing is sent before the service has accepted: so whatever fails until then is certainly not handled. */
  private async dialled(dialTimeoutMs: number): Promise<DialledCircuit> {
    const { command, dial } = this.options;
    const { signal } = this.aborter;
    this.isDialling = true;
    try {
      const left = Math.min(dialTimeoutMs, Math.max(1, this.untilMs - performanceNow()));
      const circuit = dial({ timeoutMs: Math.ceil(left), signal });
      circuit.on('error', () => {});
      if (circuit.connecting) await once(circuit, 'connect', { signal });
      return circuit;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof MessageError ? error : notHandled(command.name, error);
    } finally {
      this.isDialling = false;
    }
  }

  private async sendAll(channel: CallChannel, items: AsyncIterator<unknown> | Iterator<unknown>): Promise<void> {
    const { command, maxItemBytes } = this.options;
    const { signal } = this.aborter;
    let isAtEnd = false;
    try {
      for (;;) {
        let next: IteratorResult<unknown>;
        try {
          next = await untilAborted(Promise.resolve(items.next()), signal);
        } catch (error) {
          isAtEnd = !signal.aborted;
          throw error;
        }
        if (next.done === true) {
          isAtEnd = true;
          break;
        }
        const item = encodeItem(await command.checkInput(next.value), maxItemBytes);
        await untilAborted(channel.write(FrameKind.ITEM, item), signal);
      }
      channel.send(FrameKind.END);
    } catch (error) {
      // Once the call has ended, or the circuit was lost, that is what counts.
      if (this.isOver || signal.aborted || channel.isGone) return;
      this.inputFailure = { error };
      channel.reset();
    } finally {
      if (!isAtEnd) endOf(items);
    }
  }
}

function failureOf(frame: Frame | undefined, name: string): Error {
  if (frame === undefined) {
    return messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', `${name}: the output ends without saying so`);
  }
  try {
    return receivedFailure(JSON.parse(frame.payload.toString()));
  } catch {
    return messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'unknown', `${name}: the error cannot be read`);
  }
}
