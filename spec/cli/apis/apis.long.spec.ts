// starlane api and starlane call as processes: with a node of their own, and through one that runs.

import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { z } from 'zod';
import { createNode, type Node } from '../../../lib/index.js';
import { type ApiServer, defineApi, serveApi, stream } from '../../../lib/messages/index.js';
import { builtUrl } from '../../support/built-lib.js';
import { Machine } from '../../support/command.js';

const api = defineApi({
  name: 'greeter',
  short: 'Greets people',
  long: 'In many languages.',
  version: '1.2.0',
  commands: {
    hello: {
      number: 1,
      description: 'Says hello.',
      idempotent: true,
      input: z.object({ name: z.string() }),
      output: z.object({ greeting: z.string() }),
      handler: ({ name }) => ({ greeting: `hello ${name}` }),
    },
    sum: {
      number: 2,
      input: stream(z.number()),
      output: z.number(),
      handler: async (input) => {
        let total = 0;
        for await (const item of input) total += item;
        return total;
      },
    },
    count: {
      number: 3,
      input: z.number(),
      output: stream(z.number()),
      async *handler(limit, { signal }) {
        for (let at = 1; at <= limit; at++) yield at;
        if (limit === 2) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    },
    fail: {
      number: 4,
      handler: () => {
        throw new Error('no paper');
      },
    },
    slow: {
      number: 5,
      handler: (_input, { signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
    },
  },
});

const machine = new Machine();
let node: Node;
let server: ApiServer;
let join: string[];

beforeAll(async () => {
  node = createNode();
  const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
  server = serveApi(node, api);
  join = ['--join', address];
});

afterAll(async () => {
  await machine.dispose();
  await node.close();
});

const run = (...args: string[]) => machine.run([...args, ...join]);

describe.each([
  ['a node of its own', false],
  ['the node that runs', true],
])('with %s', (_title, isShared) => {
  beforeAll(async () => {
    if (isShared)
      await machine.start(['up', ...join, '--listen', 'tcp://127.0.0.1:0']).waitFor(/^node \S+ runs/m, 'stdout');
  });

  it('starlane api prints the commands', async () => {
    const { code, stdout } = await run('api', 'greeter');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^greeter 1\.2\.0: Greets people\n\nIn many languages\.\n\nCOMMAND +NUMBER +INPUT/);
    expect(stdout).toMatch(/^hello +1 +\{ name: string \} +\{ greeting: string \} +yes +Says hello\.$/m);
    expect(stdout).toMatch(/^sum +2 +stream of number +number +no +-$/m);
  });

  it('starlane call calls a command by its name or number', async () => {
    expect(await run('call', 'greeter', 'hello', '{"name":"Ada"}')).toMatchObject({
      code: 0,
      stdout: '{"greeting":"hello Ada"}\n',
      stderr: '',
    });
    expect(await run('call', 'greeter', '1', '{"name":"Bob"}')).toMatchObject({ stdout: '{"greeting":"hello Bob"}\n' });
  });

  it('starlane call reads and prints streams as JSON Lines', async () => {
    const summing = machine.start(['call', 'greeter', 'sum', '-', ...join]);
    summing.stdin.end('1\n2\n\n39\n');
    expect(await summing.finish()).toMatchObject({ code: 0, stdout: '42\n' });
    expect(await run('call', 'greeter', 'sum', '[1,2]')).toMatchObject({ code: 0, stdout: '3\n' });
    expect(await run('call', 'greeter', 'count', '3')).toMatchObject({ code: 0, stdout: '1\n2\n3\n' });
  });
});

describe('starlane api', () => {
  it('prints the self-description as JSON', async () => {
    const { stdout } = await run('api', 'greeter', '--json');
    expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify(server.description)));
  });

  it('prints an OpenAPI document', async () => {
    const { code, stdout } = await run('api', 'greeter', '--openapi');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      openapi: '3.1.0',
      paths: { '/hello': { post: { operationId: 'hello' } } },
    });
  });

  it('serves the commands to an MCP client, until that has gone', async () => {
    const client = new Client({ name: 'spec', version: '1.0.0' });
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [fileURLToPath(builtUrl('cli/main.js')), 'api', 'greeter', '--mcp', ...join],
      env: machine.env as Record<string, string>,
      cwd: machine.folder,
    });
    await client.connect(transport);
    try {
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual(['hello', 'sum', 'count', 'fail', 'slow']);
      expect(await client.callTool({ name: 'hello', arguments: { name: 'Ada' } })).toMatchObject({
        structuredContent: { greeting: 'hello Ada' },
      });
      expect(await client.callTool({ name: 'count', arguments: { input: 3 } })).toMatchObject({
        structuredContent: { items: [1, 2, 3] },
      });
      expect(await client.callTool({ name: 'fail', arguments: {} })).toMatchObject({ isError: true });
    } finally {
      await client.close();
    }
  });
});

describe('the exit code of starlane call', () => {
  it.each([
    ['1 when the handler has failed', ['fail'], 1, /no paper.*\(handled\)/],
    ['2 when the input does not fit', ['hello', '{"name":3}'], 2, /name.*\(not-handled\)/],
    ['2 when the input is no JSON', ['hello', '{name'], 2, /JSON/],
    ['5 when there is no such command', ['nothing'], 5, /it has hello, sum/],
    ['7 when the outcome is not known', ['slow', '--timeout', '3s'], 7, /\(unknown\)/],
  ])('is %s', async (_title, args, code, stderr) => {
    const [command, ...rest] = args;
    const result = await run('call', 'greeter', command, ...rest);
    expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(stderr) });
  });

  it('is 5 when nobody serves the API', async () => {
    expect(await run('call', 'nobody', 'hello', '{}', '--timeout', '1s')).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/\(not-handled\)/),
    });
  });

  it('is 3 for a service of another protocol, and says what to do', async () => {
    const web = node.bind(
      'web',
      createServer((_request, response) => response.end()),
    );
    for (const args of [
      ['api', 'web'],
      ['call', 'web', 'hello', '{}'],
    ]) {
      expect(await run(...args)).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/web has answered in another protocol\. .*starlane connect web.*\(not-handled\)/),
      });
    }
    web.close();
  });

  it('is 130 after Ctrl-C, which cancels the call', async () => {
    const counting = machine.start(['call', 'greeter', 'count', '2', ...join]);
    await counting.waitFor(/^2\n/m, 'stdout');
    expect(await counting.stop('SIGINT')).toMatchObject({ code: 130 });
    while (server.streamingCalls > 0) await new Promise(setImmediate);
  });
});
