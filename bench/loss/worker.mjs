// One of the three processes of a run, started by main.mjs: `worker.mjs relay | server | client CIRCUITS`.

import { once } from 'node:events';
import { createNode } from '../../dist/index.js';

const [, , role, number] = process.argv;
const circuits = Number(number);
const BATCH = 1_000;
/** The one client here does what the limits expect of many. */
const LIMITS = {
  maxCircuitsPerNeighbour: circuits,
  maxCircuitsPerSource: circuits,
  relayOpensPerSecond: 1_000_000,
  opensPerSecond: 1_000_000,
};

const node = createNode({ role: role === 'relay' ? 'router' : 'peer', ...LIMITS });
/** How many circuits of the client have ended, by their codes. @type {Record<string, number>} */
const codes = {};
let closed = 0;
/** @type {() => void} */
let onAllClosed = () => {};
/** The longest time between two turns of the event loop, in ms. */
let longestMs = 0;

function watch() {
  let last = performance.now();
  longestMs = 0;
  const turn = () => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
    setImmediate(turn);
  };
  setImmediate(turn);
}

async function dialAll() {
  const begin = performance.now();
  for (let opened = 0; opened < circuits; opened += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, circuits - opened) }, () => {
      const socket = node.dial('idle', { timeoutMs: 60_000 });
      socket.on('error', (/** @type {NodeJS.ErrnoException} */ { code = '' }) => {
        codes[code] = (codes[code] ?? 0) + 1;
      });
      socket.on('close', () => {
        if (++closed === circuits) onAllClosed();
      });
      return once(socket, 'connect');
    });
    await Promise.all(batch);
  }
  return (circuits * 1_000) / (performance.now() - begin);
}

/** @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async start({ address }) {
    if (role === 'relay') return { address: (await node.listenAndServe('tcp://127.0.0.1:0')).address };
    if (role === 'server') node.bind('idle', (socket) => socket.on('error', () => {}));
    await node.join(address);
    if (role === 'server') return {};
    await node.waitFor('idle');
    return { perS: await dialAll() };
  },
  async watch() {
    watch();
    return {};
  },
  async await() {
    if (role === 'relay') return { longestMs, left: node.stats().relay.circuits };
    if (closed < circuits) {
      await new Promise((resolve) => {
        onAllClosed = () => resolve(undefined);
      });
    }
    return { longestMs, codes };
  },
};

process.on('message', (/** @type {any} */ request) => {
  requests[request.type](request).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit(1));
