// An API: defined once, served by two nodes, called with types and checks, and by its own description. With a stream, and as MCP tools.
//
//   node examples/api.mjs

import { createNode } from 'starlane';
import { apiClient, defineApi, mcpTools, openApi, serveApi, stream } from 'starlane/messages';
import { z } from 'zod';

const greeter = defineApi({
  name: 'greeter',
  short: 'Greets people',
  version: '1.0.0',
  commands: {
    hello: {
      number: 1,
      description: 'Says hello.',
      idempotent: true,
      input: z.object({ name: z.string(), language: z.enum(['en', 'de']).default('en') }),
      output: z.object({ greeting: z.string() }),
      handler: ({ name, language }) => ({ greeting: `${language === 'de' ? 'hallo' : 'hello'} ${name}` }),
    },
    initials: {
      number: 2,
      input: stream(z.string()),
      output: stream(z.string()),
      async *handler(names) {
        for await (const name of names) yield name[0];
      },
    },
  },
});

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
serveApi(server, greeter);

const other = createNode();
await other.join(address);

// With the definition: typed, and checked at both ends.
const client = apiClient(other, greeter);
console.log(await client.hello({ name: 'Ada' }));
for await (const initial of client.initials(['Grace', 'Ada'])) console.log(initial);

const error = await client.hello({ name: 7 }).catch((reason) => reason);
console.log(error.code, error.outcome, error.issues[0].path);

// With nothing but its name.
const untyped = apiClient(other, 'greeter');
console.log(await untyped.hello({ name: 'Ada', language: 'de' }));

const description = await untyped.describe();
console.log(Object.keys(openApi(description).paths));
const [tool] = mcpTools(description, untyped);
console.log(tool.name, (await tool.run({ name: 'Grace' })).content[0].text);

await other.close();
await server.close();
