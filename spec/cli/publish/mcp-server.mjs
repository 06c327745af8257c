// An MCP server for specs: starlane publish --mcp runs it.

import { McpServer } from '@modelcontextprotocol/server';
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const server = new McpServer({ name: 'spec', version: '1.0.0' });
let calls = 0;

server.registerTool(
  'add',
  { description: 'Adds two numbers.', inputSchema: z.object({ a: z.number(), b: z.number() }) },
  async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }),
);
server.registerTool('who', { description: 'Says which process this is.', inputSchema: z.object({}) }, async () => ({
  content: [{ type: 'text', text: JSON.stringify({ pid: process.pid, calls: ++calls }) }],
}));
server.registerTool(
  'long',
  { description: 'Returns a long text.', inputSchema: z.object({ length: z.number() }) },
  async ({ length }) => ({ content: [{ type: 'text', text: 'x'.repeat(length) }] }),
);
server.registerTool('crash', { description: 'Ends the process.', inputSchema: z.object({}) }, async () =>
  process.exit(9),
);

// A careless server: neither is part of the protocol.
console.log('Spec server, ready to serve');
console.error('started');
if (process.argv.includes('--stubborn')) {
  process.on('SIGTERM', () => {});
  setInterval(() => {}, 1e6);
}
await server.connect(new StdioServerTransport());
