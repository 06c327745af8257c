// starlane call

import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { ApiDescription, CommandDescription } from '../../messages/api/description.js';
import { type Command, type Context, defineCommand } from '../command.js';
import { ExitCode, Failure, usage } from '../failure.js';
import { written } from '../output.js';
import { nodeValues } from '../run/use-network.js';
import { parsedJson, withApi } from './used-api.js';

const MAX_STDIN_BYTES = 16 * 1024 * 1024;

export const call: Command = defineCommand({
  name: 'call',
  summary: 'call a command of an API',
  description:
    'COMMAND is a name or a number. JSON is the input; - reads it from standard input. An input that is a stream is read from there as JSON Lines, ' +
    'and an output that is a stream is printed as such.',
  args: [
    { name: 'NAME', about: 'the API' },
    { name: 'COMMAND', about: 'its command' },
    { name: 'JSON', about: 'the input, or - for standard input', isOptional: true },
  ],
  usesNode: true,
  flags: {},
  examples: [
    { line: `starlane call greeter hello '{"name":"Ada"}'`, about: 'print the output as JSON' },
    { line: 'starlane call orders import - < orders.jsonl', about: 'a stream of inputs' },
    { line: 'starlane call orders watch | jq .id', about: 'a stream of outputs, until Ctrl-C' },
  ],
  async run(context, [name, command, json]) {
    const given = json === undefined || json === '-' ? undefined : { value: parsedJson(json, 'JSON') };
    return withApi(context, name, async (client, signal) => {
      const [known, of] = commandOf(name, await client.describe(), command);
      const input = given === undefined ? await inputOf(context, of, json === '-') : inputFrom(given.value, of);
      try {
        const terms = { signal, ...timeoutOf(context) };
        const output = client.call(known, input, terms);
        if (of.output.stream) for await (const item of output) await printLine(context.stdout, item);
        else await printOne(context, await output);
        return ExitCode.OK;
      } finally {
        context.stdin.destroy();
      }
    });
  },
});

/** Returns the command of that name or number. @throws Failure */
function commandOf(
  api: string,
  { commands }: ApiDescription,
  wanted: string,
): readonly [name: string, command: CommandDescription] {
  const found = Object.entries(commands).find(([name, { number }]) => name === wanted || String(number) === wanted);
  if (found !== undefined) return found;
  const names = Object.keys(commands).slice(0, 20).join(', ');
  throw new Failure(`${api} has no command ${wanted}${names === '' ? '' : `; it has ${names}`}`, ExitCode.NOT_FOUND);
}

/** Of a stream, `--timeout` bounds the whole only where somebody gives it. */
function timeoutOf(context: Context): { readonly timeoutMs?: number } {
  const { timeout } = nodeValues(context);
  return timeout === undefined ? {} : { timeoutMs: timeout };
}

function inputFrom(value: unknown, { input }: CommandDescription): unknown {
  if (!input.stream) return value;
  return Array.isArray(value) ? value : [value];
}

async function inputOf({ stdin }: Context, { input }: CommandDescription, isAsked: boolean): Promise<unknown> {
  if (input.stream) return lines(stdin);
  return isAsked ? parsedJson(await textOf(stdin), 'standard input') : undefined;
}

async function* lines(stdin: Readable): AsyncGenerator<unknown, void, undefined> {
  let number = 0;
  for await (const line of createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    if (line.trim() !== '') yield parsedJson(line, `line ${number} of standard input`);
  }
}

async function textOf(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_STDIN_BYTES) throw usage(`standard input: more than ${MAX_STDIN_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Prints one output: JSON, and bytes as they are. */
async function printOne({ stdout, output }: Context, value: unknown): Promise<void> {
  if (value === undefined) return;
  if (value instanceof Uint8Array && !output.isJson) await written(stdout, value);
  else if (output.isTerminal && !output.isJson) await written(stdout, `${JSON.stringify(value, null, 2)}\n`);
  else await printLine(stdout, value);
}

function printLine(stdout: Writable, value: unknown): Promise<void> {
  const plain = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
  return written(stdout, `${JSON.stringify(plain ?? null)}\n`);
}
