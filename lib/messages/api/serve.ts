// Serves an API: binds its service through an inbox, checks inputs and outputs, and runs the handlers.

import type { Node } from '../../node/node.js';
import type { Socket } from '../../socket/socket.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import type { Inbox } from '../inbox.js';
import type { Call } from '../message.js';
import { messages } from '../messages.js';
import { checkNode } from '../node-argument.js';
import { integer } from '../option-checks.js';
import type { InboxOptions } from '../options.js';
import { messageError } from '../outcome.js';
import type { Sender } from '../receive/incoming.js';
import { metaOf } from './announcement.js';
import { type AnsweredCommand, answerCall } from './call/answer.js';
import { decodeHeader } from './call/header.js';
import { DEFAULT_ITEM_BYTES, MAX_MESSAGE_BYTES } from './caller.js';
import { answeredCommands } from './commands.js';
import { type Api, type Command, type Commands, checkApi, type Given, type Got } from './definition.js';
import { type ApiDescription, describeApi } from './description.js';
import type { HandlerCall } from './handler-call.js';
import { unaryFailure } from './unary-failure.js';
import { isPromise } from './validation.js';

/** The handlers of an API, by the names of its commands. */
export type Handlers<A> = A extends { readonly commands: infer C extends Commands }
  ? { readonly [K in keyof C]?: HandlerOf<C[K]> | undefined }
  : never;

type HandlerOf<C> =
  C extends Command<infer I, infer O> ? (input: Got<I>, call: HandlerCall) => Given<O> | Promise<Given<O>> : never;

/** Options of `serveApi`, besides those of inboxes and of `bind`. `meta` is an object without the key `api`. */
export interface ServeOptions<A = Api> extends Omit<InboxOptions, 'streamed' | 'allowHalfOpen'> {
  /** Handlers of commands that have none in the definition, or that replace those there. */
  readonly handlers?: Handlers<A> | undefined;
  /** Calls with streams that run at a time, 1 to 1000000. Beyond that they fail with ERR_STARLANE_QUEUE_FULL. Default 1000. */
  readonly maxStreamingCalls?: number | undefined;
  /** Those of one caller, 1 to 1000000. Default: half of `maxStreamingCalls`. */
  readonly maxStreamingCallsPerCaller?: number | undefined;
  /** The longest item of a stream, in bytes, 1024 to 1073741824. Default 1048576. */
  readonly maxItemBytes?: number | undefined;
}

const DEFAULT_STREAMING_CALLS = 1_000;

/**
 * Serves an API at this node, under its name. Several nodes may serve it, also in several versions. Inputs that do not fit their schemas reach no
 * handler.
 * @throws ERR_STARLANE_API for a command without a handler; ERR_STARLANE_ARGUMENT for what is no node or no API; ERR_STARLANE_OPTION, EADDRINUSE,
 * ERR_STARLANE_CLOSED
 */
export function serveApi<A extends Api>(node: Node, api: A, options: ServeOptions<A> = {}): ApiServer {
  checkNode(node, 'serveApi(node, api)');
  checkApi(api, 'serveApi(node, api)');
  const { handlers = {}, maxStreamingCalls, maxStreamingCallsPerCaller, maxItemBytes, ...rest } = options;
  const most = integer('maxStreamingCalls', maxStreamingCalls, 1, 1_000_000, DEFAULT_STREAMING_CALLS);
  const half = Math.ceil(most / 2);
  const limits: ServerLimits = {
    streamingCalls: most,
    perCaller: integer('maxStreamingCallsPerCaller', maxStreamingCallsPerCaller, 1, 1_000_000, half),
    itemBytes: integer('maxItemBytes', maxItemBytes, 1_024, 2 ** 30, DEFAULT_ITEM_BYTES),
    messageBytes: rest.maxMessageBytes ?? MAX_MESSAGE_BYTES,
  };
  const commands = answeredCommands(api, handlers as Readonly<Record<string, unknown>>);
  const inbox = messages(node).inbox(api.name, { ...rest, allowHalfOpen: true, meta: metaOf(api, rest.meta) });
  return new ApiServer(inbox, describeApi(api), commands, limits);
}

interface ServerLimits {
  readonly streamingCalls: number;
  readonly perCaller: number;
  readonly itemBytes: number;
  readonly messageBytes: number;
}

/** An API that is served at this node. Made by {@link serveApi}. */
export class ApiServer {
  readonly #inbox: Inbox;
  readonly #commands: ReadonlyMap<number, AnsweredCommand>;
  readonly #limits: ServerLimits;
  readonly #aborter = new AbortController();
  /** Circuits of calls, with their ends. */
  readonly #circuits = new Set<Promise<void>>();
  #running = 0;
  readonly #ofCaller = new Map<string, number>();

  /** @internal */
  constructor(
    inbox: Inbox,
    /** The API as clients see it. */
    readonly description: ApiDescription,
    commands: ReadonlyMap<number, AnsweredCommand>,
    limits: ServerLimits,
  ) {
    this.#inbox = inbox;
    this.#commands = commands;
    this.#limits = limits;
    for (const [number, command] of commands) {
      inbox.onCommand(number, (input, call) => unary(command, input, call));
    }
    inbox.onCallCircuit((socket, header, sender) => this.#onCircuit(socket, header, sender));
  }

  /** The name of the service. */
  get name(): string {
    return this.description.name;
  }

  /** Calls with streams, and others on circuits of their own, that run. */
  get streamingCalls(): number {
    return this.#running;
  }

  /**
   * Closes the server: the API is not offered any more, calls that run have the `closeTimeoutMs` of the node to finish, and those with streams
   * are aborted. Resolves when none runs.
   */
  async close(): Promise<void> {
    const closed = this.#inbox.close();
    this.#aborter.abort(messageError('ERR_STARLANE_CLOSED', 'unknown', 'the API is closed'));
    await Promise.all([closed, ...this.#circuits]);
  }

  /** Does what `close()` does, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onCircuit(socket: Socket, bytes: Buffer, sender: Sender): void {
    let header: ReturnType<typeof decodeHeader>;
    try {
      header = decodeHeader(bytes);
    } catch {
      socket.destroy();
      return;
    }
    const answered = answerCall(socket, {
      header,
      sender,
      maxItemBytes: this.#limits.itemBytes,
      maxMessageBytes: this.#limits.messageBytes,
      command: this.#commands.get(header.command),
      begin: () => this.#begin(sender.key),
      signal: this.#aborter.signal,
    });
    this.#circuits.add(answered);
    void answered.then(() => this.#circuits.delete(answered));
  }

  /** Takes a place for a call. Returns what to call when it has ended. @throws ERR_STARLANE_QUEUE_FULL */
  #begin(caller: string): () => void {
    const { streamingCalls, perCaller } = this.#limits;
    const ofCaller = this.#ofCaller.get(caller) ?? 0;
    if (this.#running >= streamingCalls || ofCaller >= perCaller) {
      const count =
        this.#running >= streamingCalls ? `${this.#running} calls run` : `${ofCaller} calls of this caller run`;
      throw messageError('ERR_STARLANE_QUEUE_FULL', 'not-handled', count);
    }
    this.#running++;
    this.#ofCaller.set(caller, ofCaller + 1);
    return () => {
      this.#running--;
      const left = (this.#ofCaller.get(caller) ?? 1) - 1;
      if (left === 0) this.#ofCaller.delete(caller);
      else this.#ofCaller.set(caller, left);
    };
  }
}

/** Answers a call that came over a lane. */
async function unary(command: AnsweredCommand, input: unknown, call: Call): Promise<unknown> {
  if (command.streamsInput || command.streamsOutput) {
    throw unaryFailure(messageError('ERR_STARLANE_API', 'not-handled', `${command.name} has streams`));
  }
  let checkedInput: unknown;
  try {
    const checking = command.checkInput(input, false);
    checkedInput = await checking;
    // A check may take its time, and no handler begins after that of the call.
    if (isPromise(checking) && (call.remainingMs === 0 || call.signal.aborted)) {
      throw messageError('ETIMEDOUT', 'not-handled', `${command.name}: the check of the input took too long`);
    }
  } catch (error) {
    throw unaryFailure(error);
  }
  const output = await command.run(checkedInput, handlerCallOf(command.name, call));
  try {
    return await command.checkOutput(output);
  } catch (error) {
    throw unaryFailure(error);
  }
}

function handlerCallOf(command: string, call: Call): HandlerCall {
  const { id, from, verified, name, tags } = call;
  return {
    id,
    from,
    verified,
    name,
    tags,
    command,
    // Both are made when they are asked for.
    get signal() {
      return call.signal;
    },
    get deadline() {
      return Number.isFinite(call.remainingMs) ? dateNow() + call.remainingMs : undefined;
    },
  };
}
