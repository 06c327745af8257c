// The commands of an API as its server and its clients need them: schemas and handlers behind one interface.

import type { AnsweredCommand } from './call/answer.js';
import type { AskedCommand } from './call/ask.js';
import { type Api, apiError, type Command, isStreamed, schemaOf } from './definition.js';
import { type CommandDescription, DESCRIBE, describeApi } from './description.js';
import type { HandlerCall } from './handler-call.js';
import { checked, isPromise } from './validation.js';

type AnyHandler = (input: unknown, call: HandlerCall) => unknown;

/** Returns what the server does with its commands, by number. @throws ERR_STARLANE_API for a command without a handler */
export function answeredCommands(
  api: Api,
  handlers: Readonly<Record<string, unknown>>,
): ReadonlyMap<number, AnsweredCommand> {
  for (const name of Object.keys(handlers)) {
    if (!Object.hasOwn(api.commands, name)) throw apiError(`handlers: ${api.name} has no command ${name}`);
  }
  const answered = new Map<number, AnsweredCommand>();
  for (const [name, command] of Object.entries(api.commands)) {
    const handler = Object.hasOwn(handlers, name) ? handlers[name] : command.handler;
    if (typeof handler !== 'function') throw apiError(`${name}: a handler is needed`);
    answered.set(command.number, answeredCommand(name, command, handler as AnyHandler));
  }
  answered.set(DESCRIBE, {
    name: 'describe',
    streamsInput: false,
    streamsOutput: false,
    checkInput: (input) => input,
    checkOutput: (output) => output,
    run: () => describeApi(api),
  });
  return answered;
}

function answeredCommand(name: string, { input, output }: Command, handler: AnyHandler): AnsweredCommand {
  const inputSchema = schemaOf(input);
  const outputSchema = schemaOf(output);
  return {
    name,
    streamsInput: isStreamed(input),
    streamsOutput: isStreamed(output),
    // An item is read by a handler that runs already.
    checkInput: (value, isItem) => checked(inputSchema, value, `input of ${name}`, isItem ? 'handled' : 'not-handled'),
    checkOutput: (value) => {
      // What is sent is what the handler gave: the schema makes its own of it at the caller.
      const result = checked(outputSchema, value, `output of ${name}`, 'handled');
      return isPromise(result) ? result.then(() => value) : value;
    },
    run: handler,
  };
}

/** Returns what a client with a definition does for a command. */
export function askedCommand(name: string, { number, input, output }: Command): AskedCommand {
  const inputSchema = schemaOf(input);
  const outputSchema = schemaOf(output);
  return {
    name,
    number,
    streamsInput: isStreamed(input),
    streamsOutput: isStreamed(output),
    checkInput: (value) => {
      // An item is checked when a handler may have seen others.
      const result = checked(inputSchema, value, `input of ${name}`, isStreamed(input) ? 'unknown' : 'not-handled');
      return isPromise(result) ? result.then(() => value) : value;
    },
    checkOutput: (value) =>
      checked(outputSchema, value, `output of ${name}`, isStreamed(output) ? 'unknown' : 'handled'),
  };
}

/** Returns what a client does for a command that it knows from a self-description: the server checks. */
export function describedCommand(name: string, { number, input, output }: CommandDescription): AskedCommand {
  return {
    name,
    number,
    streamsInput: input.stream,
    streamsOutput: output.stream,
    checkInput: (value) => value,
    checkOutput: (value) => value,
  };
}

/** The command that answers the self-description. */
export const DESCRIBE_COMMAND: AskedCommand = describedCommand('describe', {
  number: DESCRIBE,
  description: '',
  idempotent: true,
  input: { stream: false },
  output: { stream: false },
});
