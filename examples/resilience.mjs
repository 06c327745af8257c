// What dials do about instances that fail or are slow: ejection, a circuit breaker, and hedged dials.
//
//   node examples/resilience.mjs

import { setTimeout as wait } from 'node:timers/promises';
import { createNode } from 'starlane';

const client = createNode({ resilience: { outlierEjection: { failures: 3 }, retryBudget: true } });
const { address } = await client.listenAndServe('tcp://127.0.0.1:0');

/** Starts a node with an instance of a service. */
async function start(service, options) {
  const node = createNode();
  await node.join(address);
  node.bind(service, options, (socket) => socket.end(options.instance));
  await client.waitFor(`${options.instance}.${service}`);
  return node;
}

/** Dials, and returns the name of the node that answers. */
async function ask(service, options) {
  let answer = '';
  for await (const chunk of client.dial(service, options)) answer += chunk;
  return answer;
}

// One of two instances has no room. Every dial gets an answer from the other; after three refusals, that instance is left out.
const full = await start('search', { instance: 'full', maxConnections: 0 });
const good = await start('search', { instance: 'good' });
const answers = new Set();
for (let count = 0; count < 40; count++) answers.add(await ask('search'));
const { retries, ejections } = client.stats().dials;
console.log('40 dials, answered by', answers, '- refusals:', retries, '- ejections:', ejections);

// No instance is left: after three failed dials, the breaker makes further ones fail at once, without asking anybody.
await good.close();
client.on('warning', ({ code }) => console.log('warning:', code));
for (let count = 0; count < 4; count++) {
  await ask('search', { resilience: { circuitBreaker: { failures: 3 } } }).catch(({ code, cause }) => {
    console.log('dial failed:', code, '- cause:', cause?.code);
  });
}

// One of two instances takes long to accept. A hedged dial asks the other one too, after 50 ms, and takes the first answer.
// maxShare bounds how many dials may do so: here all of them, by default a tenth.
const slow = await start('quote', { instance: 'slow', allow: () => wait(3_000, true, { ref: false }) });
const quick = await start('quote', { instance: 'quick' });
const quotes = new Set();
const begin = performance.now();
for (let count = 0; count < 20; count++)
  quotes.add(await ask('quote', { resilience: { hedge: { delayMs: 50, maxShare: 1 } } }));
console.log('20 dials, answered by', quotes, 'in less than 3 s:', performance.now() - begin < 3_000);

for (const node of [full, slow, quick, client]) await node.close();
