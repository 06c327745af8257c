// The other end of process.mjs: what every process of the demo answers.

import { once } from 'node:events';

/** @param {Error} error */
export function report(error) {
  process.send?.({ type: 'failed', reason: error.message });
}

/**
 * @param {import('../../dist/index.js').Node} node
 * @param {() => object} count
 */
export function answerAbout(node, count) {
  /** @type {Record<string, (question: any) => Promise<object>>} */
  const answers = {
    async report() {
      const { user, system } = process.cpuUsage();
      const cpuSeconds = (user + system) / 1e6;
      return { type: 'report', ...count(), links: node.links(), rssBytes: process.memoryUsage.rss(), cpuSeconds };
    },
    async linked({ peerId }) {
      while (!node.links().some((link) => link.peerId === peerId)) await once(node, 'link');
      return { type: 'linked' };
    },
    async close() {
      await node.close();
      process.exit(0);
    },
  };
  process.on('message', (/** @type {any} */ question) => {
    answers[question.type](question).then((answer) => process.send?.(answer), report);
  });
  process.on('uncaughtException', report);
  process.on('unhandledRejection', (error) => report(/** @type {Error} */ (error)));
  process.on('disconnect', () => process.exit(1));
}
