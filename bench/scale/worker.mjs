// One of the processes of bench:scale, started by main.mjs: `worker.mjs origin | watcher | mesh`.

import { createNode } from '../../dist/index.js';
import { pause } from '../deadline.mjs';
import { answerRequests } from '../requests.mjs';

const LOOK_MS = 20;

/** @type {import('../../dist/index.js').Node[]} */
let nodes = [];
/** @type {import('../../dist/index.js').Server[]} */
let servers = [];

/** CPU time of this process and the time in which it had nothing to do, in ms: the time without waits for a core. */
function ownMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000 + performance.eventLoopUtilization().idle;
}

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/**
 * @param {() => boolean} isDone
 * @param {number} ms
 */
async function until(isDone, ms) {
  const end = performance.now() + ms;
  while (!isDone()) {
    if (performance.now() > end) return `not within ${ms / 1_000} s`;
    await pause(LOOK_MS);
  }
  return undefined;
}

/** What main.mjs may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async serve() {
    nodes = [createNode()];
    return { type: 'serving', address: (await nodes[0].listenAndServe('tcp://127.0.0.1:0')).address };
  },

  async join({ address }) {
    nodes = [createNode()];
    await nodes[0].join(address);
    // A node that has just joined publishes itself in the first seconds.
    await pause(3_000);
    return { type: 'joined' };
  },

  async bind({ services }) {
    const [sinceMs, begin] = [Date.now(), cpuMs()];
    servers = Array.from({ length: services }, (_, n) => nodes[0].bind(`service-${n}`, (socket) => socket.end()));
    return { type: 'bound', sinceMs, ownMs: cpuMs() - begin };
  },

  async unbind() {
    const [sinceMs, begin] = [Date.now(), cpuMs()];
    for (const server of servers.splice(0)) server.close();
    return { type: 'unbound', sinceMs, ownMs: cpuMs() - begin };
  },

  /** As soon as it knows so many services. */
  async know({ count, ms }) {
    const begin = cpuMs();
    const failed = await until(() => nodes[0].stats().services.instances === count, ms);
    return { type: 'known', atMs: Date.now(), ownMs: cpuMs() - begin, failed };
  },

  async mesh({ nodes: count, ms }) {
    const [begin, own] = [performance.now(), ownMs()];
    nodes = Array.from({ length: count }, () => createNode());
    // The warnings of many nodes that join at once add no information.
    for (const node of nodes) node.on('warning', () => {});
    const listeners = await Promise.all(nodes.map((node) => node.listenAndServe('tcp://127.0.0.1:0')));
    for (const node of nodes.slice(1)) node.join(listeners[0].address).catch(() => {});
    const failed = await until(() => nodes.every((node) => node.stats().mesh.nodes === count - 1), ms);
    return { type: 'converged', wallMs: performance.now() - begin, ownMs: ownMs() - own, failed };
  },

  async rest({ ms }) {
    await pause(ms);
    const [begin, cpu] = [performance.now(), cpuMs()];
    await pause(ms);
    return { type: 'rested', cpuPercent: (100 * (cpuMs() - cpu)) / (performance.now() - begin) };
  },
};

answerRequests(requests);
