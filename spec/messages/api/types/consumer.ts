// A program that defines, serves and calls an API. It does not run: types.long.spec.ts compiles it. What must not compile says so.

import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import type { Node } from '../../../../lib/index.js';
import { type ApiClient, apiClient, defineApi, serveApi, stream } from '../../../../lib/messages/index.js';

/** Compiles only if both types are the same. */
function same<A, B>(
  ..._proof: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? [] : ['differ']
): void {}

declare const node: Node;

const api = defineApi({
  name: 'shop',
  version: '1.0.0',
  commands: {
    zod: {
      number: 1,
      input: z.object({ name: z.string(), count: z.number().default(1) }),
      output: z.object({ at: z.string().transform((text) => new Date(text)) }),
      handler: (input, call) => {
        same<typeof input, { name: string; count: number }>();
        same<typeof call.signal, AbortSignal>();
        same<typeof call.deadline, number | undefined>();
        // @ts-expect-error there is no such field
        input.nothing;
        return { at: input.name };
      },
    },
    valibot: {
      number: 2,
      input: v.pipe(v.string(), v.transform(Number)),
      output: v.array(v.string()),
      async handler(input) {
        same<typeof input, number>();
        return ['a'];
      },
    },
    arktype: {
      number: 3,
      input: type({ id: 'number', 'note?': 'string' }),
      output: type('boolean'),
      handler: ({ id }) => id > 3,
    },
    streams: {
      number: 4,
      input: stream(z.string()),
      output: stream(z.number()),
      async *handler(input) {
        for await (const text of input) {
          same<typeof text, string>();
          yield text.length;
        }
      },
    },
    untyped: { number: 5, handler: (input) => input.anything },
    optional: { number: 6, input: z.string().optional(), output: z.number() },
    nothing: { number: 7 },
    wrong: {
      number: 8,
      output: z.string(),
      // @ts-expect-error a text is needed
      handler: () => 3,
    },
  },
});

// @ts-expect-error a number is needed
defineApi({ name: 'x', version: '1', commands: { a: { input: z.string() } } });
// @ts-expect-error a schema is needed
defineApi({ name: 'x', version: '1', commands: { a: { number: 1, input: 'string' } } });
// @ts-expect-error a version is needed
defineApi({ name: 'x', commands: {} });

same<typeof api.name, 'shop'>();

export async function calls(client: ApiClient<typeof api>): Promise<void> {
  const answer = await client.zod({ name: 'x' });
  same<typeof answer, { at: Date }>();
  same<Parameters<typeof client.zod>[0], { name: string; count?: number | undefined }>();
  // @ts-expect-error the name is missing
  await client.zod({});
  // @ts-expect-error an input is needed
  await client.zod();
  same<Awaited<ReturnType<typeof client.valibot>>, string[]>();
  same<Parameters<typeof client.valibot>[0], string>();
  same<Awaited<ReturnType<typeof client.arktype>>, boolean>();
  await client.arktype({ id: 3 }, { timeoutMs: 100, signal: AbortSignal.timeout(3) });
  for await (const item of client.streams(['a'])) same<typeof item, number>();
  for await (const item of client.streams(texts())) same<typeof item, number>();
  // @ts-expect-error texts are needed
  client.streams([3]);
  // @ts-expect-error it is iterated, not awaited
  (await client.streams(['a'])).toFixed();
  const anything = await client.untyped({ any: 1 });
  anything.field.of.anything;
  await client.optional();
  await client.optional('x');
  await client.nothing();
  // @ts-expect-error there is no such command
  client.missing();
  same<Awaited<ReturnType<typeof client.optional>>, number>();
  const byName = await client.call('zod', { name: 'x' });
  same<typeof byName, { at: Date }>();
  // @ts-expect-error there is no such command
  client.call('missing');
  // @ts-expect-error a name is needed
  client.call('zod', {});
}

await calls(apiClient(node, api));
await calls(apiClient<typeof api>(node, 'shop'));

const untyped = apiClient(node, 'shop');
await untyped['anything']?.({ any: 1 });
await untyped.call('anything', 3);
for await (const item of untyped.call('anything')) item.field;

serveApi(node, api, { handlers: { nothing: () => 3, optional: (text) => text?.length ?? 0 } });
// @ts-expect-error a number is needed
serveApi(node, api, { handlers: { optional: () => 'x' } });
// @ts-expect-error there is no such command
serveApi(node, api, { handlers: { missing: () => 'x' } });

async function* texts(): AsyncGenerator<string> {
  yield 'a';
}
