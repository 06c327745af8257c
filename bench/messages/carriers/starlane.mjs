// Topics, and (for other cases) the node itself, over plain TCP on loopback. The hub is the node that listens; the others have a link to it.

import { createNode } from '../../../dist/index.js';
import { topics } from '../../../dist/messages/index.js';

/**
 * @param {string | undefined} hub the address of the node that listens; undefined: this one does
 * @returns {Promise<import('../case.mjs').Bus & { node: any }>}
 */
export async function open(hub) {
  const node = createNode();
  let address = hub;
  if (hub === undefined) ({ address } = await node.listenAndServe('tcp://127.0.0.1:0'));
  else await node.join(hub);
  const bus = topics(node);
  return {
    node,
    address,
    subscribe(topic, onData, { queue } = {}) {
      bus.subscribe(topic, queue === undefined ? {} : { queue }, ({ data }) => onData(data));
    },
    async ready(topic, subscribers) {
      const service = `topic/${topic}`;
      while (
        node
          .serviceMap()
          .get(service)
          .filter(({ local }) => !local).length < subscribers
      ) {
        await new Promise((resolve) => node.once('service', resolve));
      }
    },
    async pump(topic, data, count) {
      for (let index = 0; index < count; index++) if (!bus.publish(topic, data)) await bus.drained();
      await bus.flush({ timeoutMs: 60_000 });
    },
    send(topic, data) {
      bus.publish(topic, data);
    },
    answer(topic, handler) {
      bus.subscribe(topic, ({ data }) => handler(data));
    },
    request: (topic, data) => bus.request(topic, data),
    close: () => node.close(),
  };
}
