// One of the processes of one run, in a namespace at either end of the path, started by runner.mjs:
// `worker.mjs server | relay | client`.

import { once } from 'node:events';
import { loadCarrier } from '../carriers/carrier.mjs';
import { fillHeap } from '../heap.mjs';
import { answerRequests, fail } from '../requests.mjs';
import { Receiver, Sender } from './bulk.mjs';
import { nowMs } from './clock.mjs';
import { Echoes } from './echo.mjs';

/** @typedef {(service: string) => import('node:stream').Duplex} Connect */

/** @type {import('./carriers/carrier.mjs').PathCarrier} */
let carrier;
/** @type {Connect} */
let connect;
/** @type {Sender | undefined} */
let sender;
/** @type {Receiver | undefined} */
let receiver;
/** @type {Echoes | undefined} */
let echoes;

/**
 * The connect times of dials, one after the other.
 *
 * @param {number} count
 */
async function dialTimes(count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const beganMs = nowMs();
    const socket = connect('echo');
    await once(socket, carrier.connectEvent ?? 'connect');
    times.push(nowMs() - beganMs);
    socket.on('error', () => {});
    socket.destroy();
  }
  return times;
}

/** What the runner may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async serve({ carrierUrl, heapMib, work, host }) {
    fillHeap(heapMib);
    carrier = /** @type {any} */ (await loadCarrier(carrierUrl));
    sender = new Sender(fail);
    receiver = new Receiver(work.bulk?.streams ?? 0, fail);
    const services = {
      /** @param {import('node:stream').Duplex} socket */
      sink: (socket) => receiver?.add(socket),
      /** @param {import('node:stream').Duplex} socket */
      source: (socket) => sender?.add(socket),
      /** @param {import('node:stream').Duplex} socket */
      echo: (socket) => {
        socket.on('error', work.dials === undefined ? fail : () => {});
        socket.pipe(socket);
      },
    };
    return { type: 'serving', address: await carrier.serve(services, host) };
  },
  async relay({ carrierUrl, host, previous, served }) {
    carrier = /** @type {any} */ (await loadCarrier(carrierUrl));
    return { type: 'relaying', address: await carrier.relay?.(host, previous, served) };
  },
  async reach({ address }) {
    await carrier.reach?.(address);
    return { type: 'reached' };
  },
  async link({ carrierUrl, heapMib, address }) {
    fillHeap(heapMib);
    carrier = /** @type {any} */ (await loadCarrier(carrierUrl));
    connect = await carrier.link(address);
    return { type: 'linked' };
  },
  async start({ work }) {
    const startedMs = nowMs();
    const { bulk, echo } = work;
    if (bulk?.direction === 'up') {
      sender = new Sender(fail);
      for (let i = 0; i < bulk.streams; i++) sender.add(connect('sink'));
    } else if (bulk !== undefined) {
      receiver = new Receiver(bulk.streams, fail);
      for (let i = 0; i < bulk.streams; i++) receiver.add(connect('source'));
    }
    if (echo !== undefined) {
      echoes = new Echoes(echo, fail);
      for (let i = 0; i < echo.streams; i++) echoes.add(connect('echo'), i);
    }
    return { type: 'started', startedMs, dialMs: work.dials === undefined ? [] : await dialTimes(work.dials) };
  },
  async endEchoes() {
    return { type: 'echoes', times: await echoes?.end() };
  },
  async check() {
    carrier.check?.();
    return { type: 'checked' };
  },
  async arrivals() {
    return { type: 'arrivals', arrivals: receiver?.arrivals.toData() };
  },
  async endBulk() {
    return { type: 'ended', written: sender?.end() };
  },
  async awaitEnd() {
    await receiver?.ended.promise;
    return { type: 'complete', bytes: receiver?.arrivals.bytes };
  },
};

answerRequests(requests);
