// An API as tools of the Model Context Protocol (modelcontextprotocol.io): each command is a tool, for models that act through an MCP client.

import { starlaneError } from '../../errors.js';
import { MessageError, type Outcome } from '../outcome.js';
import type { Api } from './definition.js';
import type { ApiDescription, CommandDescription, JsonSchema, ShapeDescription } from './description.js';
import { asDescription } from './open-api.js';
import { SchemaError } from './validation.js';

/** The package that serves tools: loaded when that is asked for, and not a dependency. */
const PACKAGE = '@modelcontextprotocol/server';
const DEFAULT_ITEMS = 1_000;

/** What calls commands: a client of the API. */
export interface ToolClient {
  /** Calls a command by its name: returns a promise, or for an output that is a stream what is iterated. */
  // biome-ignore lint/suspicious/noExplicitAny: of any API.
  call(command: any, ...rest: any[]): unknown;
}

/** Options of `mcpTools` and `mcpServer`. */
export interface McpOptions {
  /** How many items of a stream a tool returns, as a list; it fails when there are more. Default 1000. */
  readonly maxItems?: number | undefined;
  /** How long a call may take, in ms, 1 to 2147483647. Default: that of the client. */
  readonly timeoutMs?: number | undefined;
}

/** What a tool returns, as MCP has it. */
export interface ToolResult {
  /** One text: the output as JSON, bytes as base64, or the error. */
  readonly content: readonly { readonly type: 'text'; readonly text: string }[];
  /** The output as an object, where the command has a schema of it. */
  readonly structuredContent?: Readonly<Record<string, unknown>>;
  /** True when the call has failed. */
  readonly isError?: boolean;
}

/** An `McpServer`, as far as it is needed here. */
export interface ToolServer {
  /** Serves the tools over a transport of the package, such as `new StdioServerTransport()`. */
  // biome-ignore lint/suspicious/noExplicitAny: its types are those of a package that need not be there.
  connect(transport: any): Promise<void>;
  /** Closes the transport. */
  close(): Promise<void>;
}

/** A command as a tool. */
export interface McpTool {
  /** The name of the command. */
  readonly name: string;
  /** What the tool does, for models; may be empty. */
  readonly description: string;
  /** Describes an object, as MCP asks for: an input that is no object is its property `input`, and a stream its list `items`. */
  readonly inputSchema: JsonSchema;
  /** As for the input, with `output` and `items`; undefined where the command has no schema. */
  readonly outputSchema: JsonSchema | undefined;
  /** `idempotentHint`: whether a second run does no harm. */
  readonly annotations: { readonly idempotentHint: boolean };
  /** Calls the command. Errors are results, so that the model sees them. */
  run(
    input: Readonly<Record<string, unknown>>,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<ToolResult>;
}

/**
 * Returns the commands of an API as tools.
 * @param api the definition or the self-description
 * @param client calls the commands: `apiClient(node, api)`
 */
export function mcpTools(api: Api | ApiDescription, client: ToolClient, options: McpOptions = {}): McpTool[] {
  const { commands } = asDescription(api);
  return Object.entries(commands).map(([name, command]) => toolOf(name, command, client, options));
}

/**
 * Returns an MCP server with the commands of an API as tools: an `McpServer` of `@modelcontextprotocol/server` 2.4 or later, which has to be
 * installed. It is connected with a transport of that package.
 * @throws ERR_STARLANE_API when the package is not there
 */
export async function mcpServer(
  api: Api | ApiDescription,
  client: ToolClient,
  options: McpOptions = {},
): Promise<ToolServer> {
  const { McpServer, fromJsonSchema } = await loadServer();
  const { name, version, short, long } = asDescription(api);
  const instructions = [short, long].filter((text) => text !== '').join('\n\n');
  const server = new McpServer({ name, version }, instructions === '' ? {} : { instructions });
  for (const tool of mcpTools(api, client, options)) {
    const { description, inputSchema, outputSchema, annotations } = tool;
    server.registerTool(
      tool.name,
      {
        description,
        annotations,
        inputSchema: fromJsonSchema<Record<string, unknown>>(inputSchema as never),
        ...(outputSchema === undefined ? {} : { outputSchema: fromJsonSchema(outputSchema as never) }),
      },
      async (input, { mcpReq }) => (await tool.run(input, { signal: mcpReq.signal })) as never,
    );
  }
  return server;
}

async function loadServer(): Promise<typeof import('@modelcontextprotocol/server')> {
  try {
    return await import(PACKAGE);
  } catch (error) {
    throw starlaneError(
      'ERR_STARLANE_API',
      `tools need the package ${PACKAGE} 2.4 or later: npm install ${PACKAGE}`,
      error,
    );
  }
}

function toolOf(name: string, command: CommandDescription, client: ToolClient, options: McpOptions): McpTool {
  const input = wrapped(command.input, 'input');
  const output = wrapped(command.output, 'output');
  return {
    name,
    description: command.description,
    inputSchema: input.schema ?? { type: 'object' },
    outputSchema: output.schema,
    annotations: { idempotentHint: command.idempotent },
    run: async (given, { signal } = {}) => {
      try {
        const sent = input.key === undefined ? given : given[input.key];
        const terms = { signal, ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }) };
        const pending = client.call(name, command.input.stream ? (sent ?? []) : sent, terms);
        const value = command.output.stream
          ? await listOf(pending as AsyncIterable<unknown>, options.maxItems ?? DEFAULT_ITEMS, name)
          : await pending;
        return resultOf(value, output.key, output.schema !== undefined);
      } catch (error) {
        return { isError: true, content: [{ type: 'text', text: JSON.stringify(shownError(error)) }] };
      }
    },
  };
}

interface Wrapped {
  /** The property with the value; undefined where the value is an object itself. */
  readonly key: string | undefined;
  readonly schema: JsonSchema | undefined;
}

function wrapped({ stream, schema }: ShapeDescription, name: 'input' | 'output'): Wrapped {
  const { $schema: _dialect, ...bare } = (schema ?? {}) as Record<string, unknown>;
  if (!stream && bare['type'] === 'object') return { key: undefined, schema: bare };
  // Definitions are referred to from the root.
  const { $defs, ...inner } = bare;
  const key = stream ? 'items' : name;
  const property = stream ? { type: 'array', items: inner } : inner;
  const isRequired = stream || schema !== undefined;
  if (name === 'output' && schema === undefined) return { key, schema: undefined };
  return {
    key,
    schema: {
      type: 'object',
      properties: { [key]: property },
      ...(isRequired ? { required: [key] } : {}),
      ...($defs === undefined ? {} : { $defs }),
    },
  };
}

async function listOf(items: AsyncIterable<unknown>, limit: number, name: string): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const item of items) {
    if (list.length >= limit) throw starlaneError('ERR_STARLANE_API', `${name}: more than ${limit} items`);
    list.push(item);
  }
  return list;
}

function resultOf(value: unknown, key: string | undefined, isStructured: boolean): ToolResult {
  const plain = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
  const text = typeof plain === 'string' ? plain : (JSON.stringify(plain) ?? '');
  const content = [{ type: 'text' as const, text }];
  if (!isStructured) return { content };
  return { content, structuredContent: key === undefined ? (plain as Record<string, unknown>) : { [key]: plain } };
}

interface ShownError {
  readonly code?: string;
  readonly outcome?: Outcome;
  readonly message: string;
  readonly issues?: unknown;
}

/** Returns an error as plain JSON. */
export function shownError(error: unknown): ShownError {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof MessageError)) return { message };
  const { code, outcome } = error;
  return { code, outcome, message, ...(error instanceof SchemaError ? { issues: error.issues } : {}) };
}
