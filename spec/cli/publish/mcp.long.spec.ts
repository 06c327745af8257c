// MCP servers as services: publish --mcp on one machine, starlane mcp on another, with the official client and server.

import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { builtUrl } from '../../support/built-lib.js';
import { callerWith, isRunning, until } from '../../support/caller.js';
import { type Command, Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';

const SERVER = fileURLToPath(new URL('mcp-server.mjs', import.meta.url));
const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function machine(): Machine {
  const made = new Machine();
  ends.push(() => made.dispose());
  return made;
}

async function publish(here: Machine, ...flags: string[]): Promise<{ command: Command; token: string }> {
  const own = flags.includes('--stubborn') ? ['--stubborn'] : [];
  const given = flags.filter((flag) => flag !== '--stubborn');
  const all = [
    'publish',
    '--mcp',
    'tools',
    ...given,
    '--listen',
    'tls://127.0.0.1:0',
    '--invite',
    '--',
    process.execPath,
    SERVER,
    ...own,
  ];
  const command = here.start(all);
  const [token] = await command.waitFor(/starlane1\.[\w-]+/, 'stdout');
  return { command, token };
}

interface McpClient {
  readonly client: Client;
  readonly transport: StdioClientTransport;
  stderr(): string;
}

/** What the configuration of an MCP client says: the command `starlane mcp NAME`. */
async function connect(here: Machine, ...args: string[]): Promise<McpClient> {
  const main = fileURLToPath(builtUrl('cli/main.js'));
  const env = Object.fromEntries(Object.entries(here.env).filter(([, value]) => value !== undefined)) as Record<
    string,
    string
  >;
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [main, 'mcp', 'tools', ...args],
    env,
    stderr: 'pipe',
  });
  let stderr = '';
  transport.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  const client = new Client({ name: 'spec', version: '1.0.0' });
  ends.push(() => client.close());
  await within('the handshake', client.connect(transport)).catch((error) => {
    throw new Error(`${error.message}: ${stderr}`);
  });
  return { client, transport, stderr: () => stderr };
}

async function call({ client }: McpClient, name: string, args: Record<string, unknown> = {}): Promise<string> {
  const result = await within(`the answer of ${name}`, client.callTool({ name, arguments: args }));
  return (result.content as Array<{ text: string }>)[0].text;
}

async function who(of: McpClient): Promise<{ pid: number; calls: number }> {
  return JSON.parse(await call(of, 'who'));
}

describe('an MCP server of the network', () => {
  it('lists its tools and runs them, in a process for each caller', async () => {
    const here = machine();
    const { command, token } = await publish(here);
    expect(command.stdout).toMatch(/starlane mcp tools --join starlane1\./);
    const first = await connect(machine(), '--join', token);
    const { tools } = await within('the list', first.client.listTools());
    expect(tools.map(({ name }) => name).sort()).toEqual(['add', 'crash', 'long', 'who']);
    expect(await call(first, 'add', { a: 2, b: 40 })).toBe('42');
    expect(await call(first, 'long', { length: 1_000_000 })).toHaveLength(1_000_000);
    // On the machine of the server, through the node that runs there.
    const second = await connect(here);
    const [one, other] = [await who(first), await who(second)];
    expect(one.pid).not.toBe(other.pid);
    expect([one.calls, other.calls, (await who(first)).calls]).toEqual([1, 1, 2]);
    await command.waitFor(/^tools \| started$/m, 'stderr');
    await command.waitFor(/^tools \| Spec server, ready to serve$/m, 'stderr');
    await first.client.close();
    await until('the end of its process', async () => !(await isRunning(one.pid)));
    expect(await isRunning(other.pid)).toBe(true);
    expect((await who(second)).calls).toBe(2);
  });

  it('is started when it is called, and ends with its caller, willing or not', async () => {
    const { command, token } = await publish(machine(), '--stubborn', '--stop-timeout', '200ms');
    expect(command.stderr).not.toMatch(/tools \|/);
    const caller = await connect(machine(), '--join', token);
    const { pid } = await who(caller);
    process.kill(caller.transport.pid as number, 'SIGKILL');
    await until('the end of its process', async () => !(await isRunning(pid)));
  });

  it('has no more processes than it may', async () => {
    const { command, token } = await publish(machine(), '--max-processes', '1');
    const there = machine();
    const first = await connect(there, '--join', token);
    const { pid } = await who(first);
    const second = there.start(['mcp', 'tools']);
    const { code, stdout, stderr } = await second.finish();
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^starlane: the MCP server tools: .*as many callers as it may \(--max-processes 1\)/);
    await first.client.close();
    await until('the end of its process', async () => !(await isRunning(pid)));
    const third = await until('a free place', () => connect(there).catch(() => undefined));
    expect((await who(third)).calls).toBe(1);
    // Not the field of a link that was lost as its caller ended.
    expect(command.stderr).not.toMatch(/error:/);
  });

  it('ends the command of the caller with a line when it crashes', async () => {
    const { command, token } = await publish(machine());
    const there = machine();
    const caller = await connect(there, '--join', token);
    const closed = new Promise<void>((resolve) => {
      caller.client.onclose = resolve;
    });
    caller.client.callTool({ name: 'crash', arguments: {} }).catch(() => {});
    await within('the end', closed);
    await until('the line', () => /^starlane: the MCP server tools has ended$/m.test(caller.stderr()));
    await command.waitFor(/a server has ended: exit code 9/, 'stderr');
  });

  it('says what is wrong on standard error only', async () => {
    const there = machine();
    expect(await there.run(['mcp', 'tools'])).toMatchObject({ code: 5, stdout: '' });
    const here = machine();
    const { token } = await publish(here);
    const missing = await there.run(['mcp', 'nothing', '--join', token, '--timeout', '5s']);
    expect(missing).toMatchObject({ code: 5, stdout: '' });
    expect(missing.stderr).toMatch(/^starlane: the MCP server nothing: .*nothing/);
    expect(missing.stderr.trim().split('\n')).toHaveLength(1);
  }, 60_000);

  it('refuses a caller when its program is not there', async () => {
    const here = machine();
    const args = ['publish', '--mcp', 'tools', '--listen', 'tls://127.0.0.1:0', '--', 'no-such-program-here'];
    const command = here.start(args);
    const [token] = await command.waitFor(/starlane1\.[\w-]+/, 'stdout');
    const { node, close } = await callerWith(token);
    ends.push(close);
    const socket = node.dial('tools');
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      cause: { message: expect.stringMatching(/cannot be started \(ENOENT\)/) },
    });
    await command.waitFor(/error: publish tools: cannot start its server: ENOENT/, 'stderr');
  });
});
