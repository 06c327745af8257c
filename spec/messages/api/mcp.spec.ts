// Commands as tools of MCP: their schemas, and what a real MCP client gets when it calls them.

import { afterEach, describe, expect, it } from '@jest/globals';
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { defineApi, stream } from '../../../lib/messages/api/definition.js';
import { mcpServer, mcpTools } from '../../../lib/messages/api/mcp.js';
import { checked } from '../../../lib/messages/api/validation.js';

const Person = z.object({ name: z.string() });
const api = defineApi({
  name: 'greeter',
  short: 'Greets people',
  version: '1.2.0',
  commands: {
    hello: { number: 1, description: 'Says hello.', input: Person, output: z.object({ greeting: z.string() }) },
    double: { number: 2, idempotent: true, input: z.number(), output: z.number() },
    lengths: { number: 3, input: stream(z.string()), output: stream(z.number()) },
    bare: { number: 4 },
    broken: { number: 5 },
  },
});

const client = {
  call: (command: string, input: unknown): unknown => {
    switch (command) {
      case 'hello':
        return (async () => {
          const { name } = (await checked(Person, input, 'input of hello', 'not-handled')) as { name: string };
          return { greeting: `hello ${name}` };
        })();
      case 'double':
        return Promise.resolve((input as number) * 2);
      case 'lengths':
        return lengths(input as string[]);
      case 'bare':
        return Promise.resolve(input);
      default:
        return Promise.reject(new Error('broken'));
    }
  },
};

async function* lengths(texts: readonly string[]): AsyncGenerator<number> {
  for (const text of texts) yield text.length;
}

describe('the tools of an API', () => {
  const tools = mcpTools(api, client);

  it('are its commands, with their texts', () => {
    expect(tools.map(({ name, description, annotations }) => [name, description, annotations])).toEqual([
      ['hello', 'Says hello.', { idempotentHint: false }],
      ['double', '', { idempotentHint: true }],
      ['lengths', '', { idempotentHint: false }],
      ['bare', '', { idempotentHint: false }],
      ['broken', '', { idempotentHint: false }],
    ]);
  });

  it('take objects, as MCP asks for', () => {
    const [hello, double, many, bare] = tools;
    expect(hello.inputSchema).toMatchObject({ type: 'object', properties: { name: { type: 'string' } } });
    expect(double.inputSchema).toEqual({
      type: 'object',
      properties: { input: { type: 'number' } },
      required: ['input'],
    });
    expect(many.inputSchema).toMatchObject({ properties: { items: { type: 'array', items: { type: 'string' } } } });
    expect(bare.inputSchema).toEqual({ type: 'object', properties: { input: {} } });
    expect(bare.outputSchema).toBeUndefined();
  });

  it('keep definitions where references look for them', () => {
    interface Tree {
      children: Tree[];
    }
    const Node: z.ZodType<Tree> = z.lazy(() => z.object({ children: z.array(Node) })).meta({ id: 'Node' });
    const definition = defineApi({ name: 'x', version: '1', commands: { trees: { number: 1, input: stream(Node) } } });
    const [{ inputSchema }] = mcpTools(definition, client);
    expect(inputSchema).toMatchObject({ $defs: { Node: expect.anything() } });
  });

  it('return errors as results, with what is certain', async () => {
    const result = await tools[0].run({ name: 3 });
    expect(result.isError).toBe(true);
    expect(JSON.parse(result.content[0].text)).toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'not-handled',
      issues: [{ path: ['name'] }],
    });
  });

  it('do not return more items than they may', async () => {
    const [, , many] = mcpTools(api, client, { maxItems: 2 });
    expect(await many.run({ items: ['a', 'bc'] })).toMatchObject({ structuredContent: { items: [1, 2] } });
    expect(await many.run({ items: ['a', 'bc', 'def'] })).toMatchObject({ isError: true });
  });
});

describe('an MCP server of an API', () => {
  const clients: Client[] = [];
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((one) => one.close()));
  });

  async function connected(): Promise<Client> {
    const server = await mcpServer(api, client);
    const [near, far] = InMemoryTransport.createLinkedPair();
    const mcp = new Client({ name: 'spec', version: '1.0.0' });
    clients.push(mcp);
    await Promise.all([server.connect(far), mcp.connect(near as never)]);
    return mcp;
  }

  it('lists the commands and calls them', async () => {
    const mcp = await connected();
    expect(mcp.getServerVersion()).toMatchObject({ name: 'greeter', version: '1.2.0' });
    const { tools } = await mcp.listTools();
    expect(tools.map(({ name }) => name)).toEqual(['hello', 'double', 'lengths', 'bare', 'broken']);
    expect(await mcp.callTool({ name: 'hello', arguments: { name: 'Ada' } })).toMatchObject({
      structuredContent: { greeting: 'hello Ada' },
    });
    expect(await mcp.callTool({ name: 'double', arguments: { input: 4 } })).toMatchObject({
      structuredContent: { output: 8 },
    });
    expect(await mcp.callTool({ name: 'bare', arguments: { input: 'text' } })).toMatchObject({
      content: [{ type: 'text', text: 'text' }],
    });
  });

  it('lets the model see that a call has failed', async () => {
    const mcp = await connected();
    expect(await mcp.callTool({ name: 'broken', arguments: {} })).toMatchObject({
      isError: true,
      content: [{ type: 'text', text: '{"message":"broken"}' }],
    });
    expect(await mcp.callTool({ name: 'hello', arguments: { name: 3 } })).toMatchObject({ isError: true });
  });
});
