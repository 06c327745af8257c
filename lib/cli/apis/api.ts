// starlane api

import type { UntypedClient } from '../../messages/api/client.js';
import type { ApiDescription, ShapeDescription } from '../../messages/api/description.js';
import { mcpServer } from '../../messages/api/mcp.js';
import { openApi } from '../../messages/api/open-api.js';
import { type Command, type Context, defineCommand } from '../command.js';
import { ExitCode, usage } from '../failure.js';
import { flag } from '../flags.js';
import { printable } from '../log.js';
import { withApi } from './used-api.js';

export const api: Command = defineCommand({
  name: 'api',
  summary: 'show an API of the network, or serve its commands as tools',
  description:
    'NAME is the service of the API. With --mcp it serves until its standard input ends, for the configuration of an MCP client.',
  args: [{ name: 'NAME', about: 'the API' }],
  usesNode: true,
  flags: {
    openapi: flag.boolean('print an OpenAPI 3.1 document', { inFile: false }),
    mcp: flag.boolean('serve the commands as MCP tools, over standard input and output', { inFile: false }),
  },
  examples: [
    { line: 'starlane api orders', about: 'the commands, and what they take and return' },
    { line: 'starlane api orders --openapi > orders.json', about: 'for what reads OpenAPI' },
    { line: 'starlane api orders --mcp', about: 'the command of the server, for an MCP client' },
  ],
  async run(context, [name], { openapi, mcp }) {
    if (openapi === true && mcp === true) throw usage('--openapi and --mcp exclude each other');
    return withApi(context, name, async (client, signal) => {
      const description = await client.describe();
      if (mcp === true) return serveTools(context, description, client, signal);
      if (openapi === true) context.stdout.write(`${JSON.stringify(openApi(description), null, 2)}\n`);
      else if (context.output.isJson) context.output.json(description);
      else print(context, description);
      return ExitCode.OK;
    });
  },
});

function print({ output }: Context, { name, version, short, long, commands }: ApiDescription): void {
  output.line(`${printable(name)} ${printable(version)}${short === '' ? '' : `: ${printable(short)}`}`);
  if (long !== '') output.line(`\n${long.split('\n').map(printable).join('\n')}`);
  output.line();
  output.table(
    Object.entries(commands).sort(([, a], [, b]) => a.number - b.number),
    {
      command: ([command]) => command,
      number: ([, { number }]) => number,
      input: ([, { input }]) => inShort(input),
      output: ([, of]) => inShort(of.output),
      repeatable: ([, { idempotent }]) => (idempotent ? 'yes' : 'no'),
      description: ([, { description }]) => description,
    },
    'It has no commands.',
  );
}

const MAX_TYPE = 60;

/** Returns what an input or output is, in a few words: `{ name: string, age?: number }`. */
export function inShort({ stream, schema }: ShapeDescription): string {
  const type = schema === undefined ? 'any' : typeOf(schema, 0);
  const text = stream ? `stream of ${type}` : type;
  return text.length <= MAX_TYPE ? text : `${text.slice(0, MAX_TYPE - 1)}…`;
}

function typeOf(schema: unknown, depth: number): string {
  if (typeof schema !== 'object' || schema === null || depth > 3) return 'any';
  const { type, properties, required, items, enum: values, const: value, anyOf } = schema as Record<string, unknown>;
  if (Array.isArray(values)) return values.map((one) => JSON.stringify(one)).join(' | ');
  if (value !== undefined) return JSON.stringify(value);
  if (Array.isArray(anyOf)) return anyOf.map((one) => typeOf(one, depth + 1)).join(' | ');
  if (type === 'array') return `${typeOf(items, depth + 1)}[]`;
  if (type === 'object' && typeof properties === 'object' && properties !== null) {
    const needed = Array.isArray(required) ? required : [];
    const fields = Object.entries(properties).map(
      ([key, of]) => `${key}${needed.includes(key) ? '' : '?'}: ${typeOf(of, depth + 1)}`,
    );
    return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
  }
  if (Array.isArray(type)) return type.join(' | ');
  return typeof type === 'string' ? type : 'any';
}

/** Serves the tools until the client has gone. */
async function serveTools(
  { stdin }: Context,
  description: ApiDescription,
  client: UntypedClient,
  signal: AbortSignal,
): Promise<number> {
  const server = await mcpServer(description, client);
  const stdio = '@modelcontextprotocol/server/stdio';
  const { StdioServerTransport } = (await import(stdio)) as typeof import('@modelcontextprotocol/server/stdio');
  const ended = new Promise<void>((resolve) => {
    stdin.once('end', resolve);
    stdin.once('close', resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await server.connect(new StdioServerTransport());
  await ended;
  await server.close();
  stdin.destroy();
  signal.throwIfAborted();
  return ExitCode.OK;
}
