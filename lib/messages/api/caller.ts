// Calls commands of an API, with a definition of it or by its self-description, and over lanes or circuits as the command needs.

import { codeOf, optionError } from '../../errors.js';
import type { Selector } from '../../mesh/directory/selector.js';
import { waitWithin } from '../../util/deadline.js';
import { performanceNow, setTimeout } from '../../util/runtime/real-timers.js';
import { MAX_TIMEOUT_MS, sharedTimers } from '../../util/timers.js';
import { MessageError, messageError, notHandled } from '../outcome.js';
import { type AskedCommand, askMany, askOnce } from './call/ask.js';
import { askedCommand, DESCRIBE_COMMAND, describedCommand } from './commands.js';
import type { Api } from './definition.js';
import { type ApiDescription, describeApi, digestOf, readDescription } from './description.js';
import type { ApiNetwork } from './network.js';
import { isPromise } from './validation.js';
import { Versions } from './versions.js';

export const DEFAULT_TIMEOUT_MS = 10_000;
export const DEFAULT_ITEM_BYTES = 1024 * 1024;
/** Of an input or output that is no stream, on a circuit of its own, in bytes. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** How long an instance may take to describe itself. */
const DESCRIBE_MS = 5_000;
/** Between two attempts of an idempotent command. */
const REPEAT_MS = 20;

/** Options of `apiClient`. */
export interface ApiClientOptions {
  /** How long a call may take if it has no `timeoutMs` of its own, in ms, 1 to 2147483647. Default 10000. */
  readonly timeoutMs?: number | undefined;
  /** The longest item of a stream, in bytes, 1024 to 1073741824. Default 1048576. */
  readonly maxItemBytes?: number | undefined;
}

/** Options of a call of a command. */
export interface CallOptions {
  /**
   * How long the call may take, in ms, 1 to 2147483647. Default: that of the client. Of a call with streams it bounds the whole if it is given;
   * else only how long the service may take to accept.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait at once, and cancels the call. */
  readonly signal?: AbortSignal | undefined;
  /** Calls with one key to one receiver run one handler. 1 to 255 bytes. ERR_STARLANE_OPTION for a call with a stream. */
  readonly idempotencyKey?: string | undefined;
}

/** A command, and what is known of it besides. */
interface Resolved {
  readonly command: AskedCommand;
  readonly isIdempotent: boolean;
  /** Of the commands that the client knows. */
  readonly digest: string;
}

export class ApiCaller {
  private readonly versions: Versions;
  private readonly commands = new Map<string, Resolved>();
  private description: Promise<ApiDescription> | undefined;
  private readonly timeoutMs: number;
  private readonly maxItemBytes: number;

  constructor(
    private readonly network: ApiNetwork,
    readonly service: string,
    private readonly api: Api | undefined,
    options: ApiClientOptions = {},
  ) {
    checkOptions(options, ['timeoutMs', 'maxItemBytes']);
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.maxItemBytes = options.maxItemBytes ?? DEFAULT_ITEM_BYTES;
    this.versions = new Versions(
      service,
      () => network.instances(service),
      (selector) => this.fetch(selector),
    );
    if (api === undefined) return;
    const digest = digestOf(describeApi(api));
    for (const [name, command] of Object.entries(api.commands)) {
      const isIdempotent = command.idempotent === true;
      this.commands.set(name, { command: askedCommand(name, command), isIdempotent, digest });
    }
  }

  /** Returns the self-description of an instance. */
  describe(): Promise<ApiDescription> {
    return this.fetch(undefined);
  }

  /** Returns a command of the definition; undefined if it has none of that name. */
  defined(name: string): AskedCommand | undefined {
    return this.commands.get(name)?.command;
  }

  /** Whether the client has no definition. */
  get isDescribed(): boolean {
    return this.api === undefined;
  }

  /** Returns a command by its name, also if it has to be asked for, within the time of a call. @throws ERR_STARLANE_API */
  async find(name: string, options: CallOptions = {}): Promise<AskedCommand> {
    const { command } = await this.terms(options).within(this.resolve(name), name);
    return command;
  }

  private async resolve(name: string): Promise<Resolved> {
    if (this.api !== undefined) return this.commands.get(name) ?? this.unknown(name);
    let description = await this.described(false);
    let digest = digestOf(description);
    const current = this.versions.current();
    if (!Object.hasOwn(description.commands, name) || (current.size > 0 && !current.has(digest))) {
      description = await this.described(true);
      digest = digestOf(description);
    }
    if (!Object.hasOwn(description.commands, name)) return this.unknown(name);
    const command = description.commands[name];
    return { command: describedCommand(name, command), isIdempotent: command.idempotent, digest };
  }

  /** Makes a call of a command without an output of many items. */
  async once(name: string, input: unknown, options: CallOptions = {}): Promise<unknown> {
    const terms = this.terms(options);
    const resolved = this.commands.get(name) ?? (await terms.within(this.resolve(name), name));
    try {
      return await this.attempts(resolved, input, terms);
    } catch (error) {
      if (!this.isDescribed || (error as MessageError).code !== 'ERR_STARLANE_NO_HANDLER') throw error;
      // The instance is of another version than the one that has described itself.
      const again = this.described(true).then(() => this.resolve(name));
      return this.attempts(await terms.within(again, name), input, terms);
    }
  }

  /** Makes a call of a command with an output of many items, when the first one is asked for. */
  async *many(name: string, input: unknown, options: CallOptions = {}): AsyncGenerator<unknown, void, undefined> {
    const terms = this.terms(options);
    if (terms.key !== undefined) throw optionError('idempotencyKey', 'a call on a circuit of its own takes none');
    const { command, digest } = await terms.within(this.resolve(name), name);
    const selector = await this.selectorFor(command, digest, terms);
    yield* askMany(this.asking(command, input, terms, selector));
  }

  private async attempts({ command, isIdempotent, digest }: Resolved, input: unknown, terms: Terms): Promise<unknown> {
    const selector = await this.selectorFor(command, digest, terms);
    const { call } = this.network;
    if (terms.key !== undefined && (call === undefined || command.streamsInput)) {
      throw optionError('idempotencyKey', 'a call on a circuit of its own takes none');
    }
    if (call !== undefined && !command.streamsInput && (selector === undefined || terms.key !== undefined)) {
      const checked = command.checkInput(input);
      const sent = isPromise(checked) ? await terms.within(checked, command.name) : checked;
      const output = await call(this.service, command, sent, {
        timeoutMs: terms.leftMs(),
        signal: terms.signal,
        idempotent: isIdempotent,
        idempotencyKey: terms.key,
      });
      return command.checkOutput(output);
    }
    for (;;) {
      try {
        return await askOnce(this.asking(command, input, terms, selector));
      } catch (error) {
        const isRepeatable = isIdempotent && !command.streamsInput && terms.leftMs() > 1;
        if (!isRepeatable || !(error instanceof MessageError) || error.outcome !== 'unknown') throw error;
        await new Promise<void>((resolve) => setTimeout(resolve, REPEAT_MS));
      }
    }
  }

  private selectorFor(command: AskedCommand, digest: string, terms: Terms): Promise<Selector | undefined> | undefined {
    if (!this.versions.differFrom(digest)) return undefined;
    return terms.within(this.versions.selectorFor(command, digest), command.name);
  }

  private asking(command: AskedCommand, input: unknown, terms: Terms, selector: Selector | undefined) {
    const isStreamed = command.streamsInput || command.streamsOutput;
    return {
      dial: (options: { readonly timeoutMs: number; readonly signal: AbortSignal }) =>
        this.network.dial(this.service, { ...options, selector }),
      service: this.service,
      command,
      input,
      dialTimeoutMs: terms.leftMs(),
      timeoutMs: isStreamed && !terms.isGiven ? undefined : terms.leftMs(),
      signal: terms.signal,
      maxItemBytes: this.maxItemBytes,
      maxMessageBytes: MAX_MESSAGE_BYTES,
    };
  }

  private described(isFresh: boolean): Promise<ApiDescription> {
    if (isFresh || this.description === undefined) {
      const fetched = this.fetch(undefined);
      this.description = fetched;
      fetched.catch(() => {
        if (this.description === fetched) this.description = undefined;
      });
    }
    return this.description;
  }

  private async fetch(selector: Selector | undefined): Promise<ApiDescription> {
    const timeoutMs = Math.min(DESCRIBE_MS, this.timeoutMs);
    const terms = new Terms(timeoutMs, true, undefined, undefined);
    try {
      return readDescription(await askOnce(this.asking(DESCRIBE_COMMAND, undefined, terms, selector)));
    } catch (error) {
      throw notDescribed(this.service, error);
    }
  }

  private terms(options: CallOptions): Terms {
    checkOptions(options, ['timeoutMs', 'signal', 'idempotencyKey']);
    const { timeoutMs, signal, idempotencyKey } = options;
    return new Terms(timeoutMs ?? this.timeoutMs, timeoutMs !== undefined, signal, idempotencyKey);
  }

  private unknown(name: string): never {
    throw messageError('ERR_STARLANE_API', 'not-handled', `${this.service} has no command ${name}`);
  }
}

/** Returns why there is no self-description. No handler of the user has run for it, whatever became of the question. */
function notDescribed(service: string, error: unknown): unknown {
  const code = codeOf(error);
  if (error instanceof MessageError && error.outcome === 'not-handled') return error;
  if (code === 'ERR_STARLANE_API' || code === 'ERR_STARLANE_MESSAGE_PROTOCOL' || code === 'ETIMEDOUT') {
    return new MessageError(code, 'not-handled', (error as Error).message, { cause: error });
  }
  return notHandled(`${service} has not described itself`, error);
}

/** The time and the signal of a call, over all of its attempts. */
class Terms {
  private readonly untilMs: number;

  constructor(
    timeoutMs: number,
    /** Whether the user has given the time for this call. */
    readonly isGiven: boolean,
    readonly signal: AbortSignal | undefined,
    readonly key: string | undefined,
  ) {
    this.untilMs = performanceNow() + timeoutMs;
  }

  leftMs(): number {
    return Math.max(1, Math.ceil(this.untilMs - performanceNow()));
  }

  /** Settles as what comes before the call does, as long as there is time for it: an instance that does not describe itself must not take more. */
  within<T>(before: Promise<T>, what: string): Promise<T> {
    if (this.signal?.aborted === true) {
      before.catch(() => {});
      return Promise.reject(notHandled(what, this.signal.reason));
    }
    const late = (): Error =>
      messageError('ETIMEDOUT', 'not-handled', `${what}: nothing was sent before its time was over`);
    return waitWithin<T>(sharedTimers, { signal: this.signal, timeoutMs: this.leftMs(), late }, (resolve, reject) => {
      before.then(resolve, reject);
      return undefined;
    }).catch((error: unknown) => {
      before.catch(() => {});
      const { signal } = this;
      throw signal?.aborted === true && error === signal.reason ? notHandled(what, error) : error;
    });
  }
}

function checkOptions(
  options: ApiClientOptions & CallOptions,
  known: readonly (keyof ApiClientOptions | keyof CallOptions)[],
): void {
  if (typeof options !== 'object' || options === null) throw optionError('options', 'must be an object');
  for (const name of Object.keys(options)) {
    if (!(known as readonly string[]).includes(name)) throw optionError(name, 'unknown option of a call');
  }
  const { timeoutMs, signal, maxItemBytes } = options;
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw optionError('timeoutMs', 'must be a number from 1 to 2147483647');
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'must be an AbortSignal');
  if (
    maxItemBytes !== undefined &&
    !(Number.isInteger(maxItemBytes) && maxItemBytes >= 1024 && maxItemBytes <= 2 ** 30)
  ) {
    throw optionError('maxItemBytes', 'must be an integer from 1024 to 1073741824');
  }
}
