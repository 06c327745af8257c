// One of the three processes of a run, started by main.mjs: `worker.mjs relay | server | client`.

import { once } from 'node:events';
import { createNode } from '../../dist/index.js';
import { answerRequests } from '../requests.mjs';

const BATCH = 1_000;

/** @type {import('../../dist/index.js').Node} */
let node;
/** How many circuits of the client have ended, by their codes. @type {Record<string, number>} */
const codes = {};
let closed = 0;
let circuits = 0;
/** @type {() => void} */
let onAllClosed = () => {};
/** The longest time between two turns of the event loop, in ms. */
let longestMs = 0;

/**
 * The one client here does what the limits expect of many.
 *
 * @param {'router' | 'peer'} role
 */
function start(role) {
  node = createNode({
    role,
    maxCircuitsPerNeighbour: circuits,
    maxCircuitsPerSource: circuits,
    relayOpensPerSecond: 1_000_000,
    opensPerSecond: 1_000_000,
  });
}

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

/** What main.mjs may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async relay(request) {
    ({ circuits } = request);
    start('router');
    return { type: 'relaying', address: (await node.listenAndServe('tcp://127.0.0.1:0')).address };
  },
  async serve(request) {
    ({ circuits } = request);
    start('peer');
    node.bind('idle', (socket) => socket.on('error', () => {}));
    await node.join(request.address);
    return { type: 'serving' };
  },
  async dial(request) {
    ({ circuits } = request);
    start('peer');
    await node.join(request.address);
    await node.waitFor('idle');
    return { type: 'dialled', perS: await dialAll() };
  },
  async watch() {
    watch();
    return { type: 'watching' };
  },
  async lost() {
    if (closed < circuits) {
      await new Promise((resolve) => {
        onAllClosed = () => resolve(undefined);
      });
    }
    return { type: 'lost', longestMs, codes };
  },
  async relayed() {
    return { type: 'relayed', longestMs, left: node.stats().relay.circuits };
  },
};

answerRequests(requests);
