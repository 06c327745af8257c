// Several instances and several services: by name of the instance, by priority, and by weight.
//
//   node examples/failover.mjs

import { createNode, failover, hash, split } from 'starlane';

const client = createNode();
const { address } = await client.listenAndServe('tcp://127.0.0.1:0');

/** Starts a node that offers a service and says who it is. */
async function start(service, options = {}) {
  const node = createNode();
  await node.join(address);
  node.bind(service, options, (socket) => socket.end(options.instance ?? service));
  await client.waitFor(options.instance ? `${options.instance}.${service}` : service);
  return node;
}

/** Dials, and returns the name of the node that answers. */
async function ask(destination, options) {
  let answer = '';
  for await (const chunk of client.dial(destination, options)) answer += chunk;
  return answer;
}

// Instances of one service: 'kafka' is any of them, '1.kafka' is this one.
const brokers = [await start('kafka', { instance: '0' }), await start('kafka', { instance: '1' })];
console.log('any broker answers:', ['0', '1'].includes(await ask('kafka')));
console.log('broker 1 answers:', await ask('1.kafka'));

// A standby, which is only dialled while there is no primary.
const primary = await start('db-primary');
const replica = await start('db-replica');
const database = failover('db-primary', 'db-replica');
console.log('with the primary:', await ask(database));
await primary.close();
console.log('without it:', await ask(database));

// A new version for a tenth of the users. With hash, each user stays with one version.
const versions = [await start('web-v1'), await start('web-v2')];
const web = split({ 'web-v1': 90, 'web-v2': 10 });
const seen = new Map();
for (let user = 0; user < 200; user++) {
  const version = await ask(web, { selector: hash(`user ${user}`) });
  seen.set(version, (seen.get(version) ?? 0) + 1);
}
console.log(
  'most users get web-v1:',
  seen.get('web-v1') > seen.get('web-v2'),
  '- some get web-v2:',
  seen.has('web-v2'),
);
const again = await Promise.all([1, 2, 3].map(() => ask(web, { selector: hash('user 7') })));
console.log('user 7 gets the same one each time:', new Set(again).size === 1);

for (const node of [...brokers, replica, ...versions, client]) await node.close();
