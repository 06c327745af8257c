// tRPC by the name of a service, with the link and the server in adapters/trpc-link.mjs: queries, mutations, subscriptions, errors, abort.
//
//   npm install starlane @trpc/server @trpc/client valibot
//   node examples/trpc.mjs

import { once } from 'node:events';
import { createTRPCClient } from '@trpc/client';
import { initTRPC, TRPCError } from '@trpc/server';
import { createNode } from 'starlane';
import * as v from 'valibot';
import { serveTrpc, starlaneLink } from './adapters/trpc-link.mjs';

const orders = [];
let aborted;
const t = initTRPC.context().create();
const router = t.router({
  hello: t.procedure.input(v.object({ name: v.string() })).query(({ input }) => `hello ${input.name}`),
  add: t.procedure.input(v.string()).mutation(({ input, ctx }) => {
    if (input === '') throw new TRPCError({ code: 'BAD_REQUEST', message: 'an empty order' });
    orders.push({ input, by: ctx.from });
    return orders.length;
  }),
  countdown: t.procedure.input(v.number()).subscription(async function* ({ input }) {
    for (let left = input; left >= 0; left--) yield left;
  }),
  wait: t.procedure.query(({ signal }) => {
    aborted = once(signal, 'abort');
    return aborted;
  }),
});

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
serveTrpc({ node: server, service: 'shop', router, createContext: ({ from }) => ({ from }) });

const node = createNode({ seeds: [address] });
const client = createTRPCClient({ links: [starlaneLink({ node, service: 'shop' })] });

console.log(await client.hello.query({ name: 'Ada' }));
console.log(
  'orders:',
  await client.add.mutate('tea'),
  await client.add.mutate('milk'),
  '- by this node:',
  orders[0].by === node.id,
);
for (const failing of [() => client.add.mutate(''), () => client.hello.query({}), () => client.nothing.query()]) {
  await failing().catch((error) => console.log('error:', error.data.code));
}

const numbers = [];
await new Promise((onComplete, onError) => {
  client.countdown.subscribe(3, { onData: (number) => numbers.push(number), onComplete, onError });
});
console.log('countdown:', numbers);

const aborter = new AbortController();
const waiting = client.wait
  .query(undefined, { signal: aborter.signal })
  .catch((error) => console.log('aborted here:', error.name));
while (aborted === undefined) await new Promise((resolve) => setImmediate(resolve));
aborter.abort();
await waiting;
await aborted;
console.log('aborted at the server');

await node.close();
await server.close();
