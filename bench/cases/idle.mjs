import v8 from 'node:v8';
import vm from 'node:vm';
import { deferred, pause } from '../deadline.mjs';
import { makeMessage } from '../payload.mjs';

/** Streams by carrier: as many as each can reasonably hold; the figure is per stream. @type {Record<string, number>} */
const STREAMS = { starlane: 1_000_000, http2: 50_000, net: 5_000 };
const STREAMS_OF_OTHERS = 20_000;
const BATCH = 1_000;
const CHECKED = 1_000;

/** A full collection without starting node with a flag: the heap keeps node's default limit. */
export function collectGarbage() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  gc();
  gc();
}

/** RSS as it is, and after a forced collection whose pages have gone back to the system. */
async function measureRss() {
  const before = process.memoryUsage.rss();
  collectGarbage();
  await pause(200);
  collectGarbage();
  return { before, after: process.memoryUsage.rss() };
}

/** @type {import('./case.mjs').BenchCase} */
const idle = {
  name: 'idle',
  about: 'RSS of an open, connected, idle stream (node and its default heap limit; starlane 1,000,000 over one link)',
  defaultRuns: 1,
  deadlineMs: 300_000,
  figures: [
    { key: 'client', title: 'client B/stream', digits: 0, floors: [{ atMost: 1200 }] },
    { key: 'server', title: 'server B/stream', digits: 0, floors: [{ atMost: 1200 }] },
    { key: 'clientBeforeGc', title: 'client B/stream, no forced GC', digits: 0 },
    { key: 'serverBeforeGc', title: 'server B/stream, no forced GC', digits: 0 },
    { key: 'streams', title: 'streams', digits: 0, isAmount: true },
    { key: 'rate', title: 'opened/s', digits: 0 },
  ],

  server(run) {
    let accepted = 0;
    /** @this {import('node:stream').Duplex} @param {Buffer} chunk */
    function echo(chunk) {
      this.write(chunk);
    }
    collectGarbage();
    const base = process.memoryUsage.rss();
    return {
      services: {
        idle(socket) {
          accepted += 1;
          socket.on('data', echo);
          socket.on('error', run.fail);
        },
      },
      async finish(client) {
        for (let waited = 0; accepted < client.streams && waited < 10_000; waited += 10) await pause(10);
        if (accepted !== client.streams) throw new Error(`${accepted} of ${client.streams} streams arrived`);
        const rss = await measureRss();
        return { server: (rss.after - base) / accepted, serverBeforeGc: (rss.before - base) / accepted };
      },
    };
  },

  async client(run) {
    const most = STREAMS[run.carrier] ?? STREAMS_OF_OTHERS;
    const streams = Math.min(run.settings.streams ?? most, most);
    /** @type {import('node:stream').Duplex[]} */
    const sockets = [];
    let connected = 0;
    let batch = deferred();
    const onConnect = () => {
      connected += 1;
      if (connected === sockets.length) batch.resolve();
    };

    collectGarbage();
    const base = process.memoryUsage.rss();
    const from = performance.now();
    while (sockets.length < streams) {
      batch = deferred();
      for (let i = Math.min(BATCH, streams - sockets.length); i > 0; i--) {
        const socket = run.connect('idle');
        socket.on('error', run.fail);
        if (run.connectEvent === undefined) setImmediate(onConnect);
        else socket.once(run.connectEvent, onConnect);
        sockets.push(socket);
      }
      await batch.promise;
    }
    const rate = (streams * 1000) / (performance.now() - from);
    const rss = await measureRss();
    return {
      values: {
        streams,
        rate,
        client: (rss.after - base) / streams,
        clientBeforeGc: (rss.before - base) / streams,
      },
      check: () => checkSome(sockets),
    };
  },
};

/**
 * Sees some of the streams, spread over all, carry an echo.
 *
 * @param {import('node:stream').Duplex[]} sockets
 */
export async function checkSome(sockets) {
  const step = Math.max(1, Math.floor(sockets.length / CHECKED));
  for (let i = 0; i < sockets.length; i += step) {
    const echoed = deferred();
    const message = makeMessage(i);
    sockets[i].once('data', (chunk) => echoed.resolve(chunk));
    sockets[i].write(message);
    const chunk = /** @type {any} */ (await echoed.promise);
    if (!message.equals(chunk)) throw new Error(`stream ${i}: wrong echo`);
  }
}

export const cases = [idle];
