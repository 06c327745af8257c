// One of the three processes of one run, started by runner.mjs: `worker.mjs server | relay | client`.

import { loadCarrier } from '../carriers/carrier.mjs';
import { collectGarbage } from '../cases/idle.mjs';
import { findCase } from '../cases/index.mjs';
import { pause } from '../deadline.mjs';
import { fillHeap } from '../heap.mjs';
import { answerRequests, fail } from '../requests.mjs';
import { CASES } from './cases/index.mjs';

/** @type {import('./cases/case.mjs').RelayServerSide | undefined} */
let server;
/** @type {import('../cases/case.mjs').ClientSide | undefined} */
let client;
/** @type {any} */
let carrier;
/** @type {((service: string) => import('node:stream').Duplex) | undefined} */
let connect;

/**
 * @param {{ caseName: string }} request
 * @returns {import('./cases/case.mjs').RelayCase}
 */
const findRelayCase = ({ caseName }) => /** @type {any} */ (findCase(caseName, CASES));

/**
 * @param {{ settings: import('../cases/case.mjs').Settings, relayPid: number | undefined, endPids: number[] }} request
 * @returns {any}
 */
function clientRun({ settings, relayPid, endPids }) {
  const { name, connectEvent } = carrier;
  return { settings, carrier: name, connect, connectEvent, relayPid, endPids, fail };
}

/** What the runner may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async serve(request) {
    fillHeap(request.settings.heapMib);
    carrier = await loadCarrier(request.carrierUrl);
    server = findRelayCase(request).server({ settings: request.settings, fail });
    return { type: 'serving', address: await carrier.serve(server.services) };
  },
  async relay({ carrierUrl, address }) {
    carrier = await loadCarrier(carrierUrl);
    return { type: 'relaying', address: await carrier.relay(address), pid: process.pid };
  },
  async reach({ address, relayPid, endPids }) {
    await carrier.reach?.(address);
    server?.relayedBy?.(relayPid, endPids);
    return { type: 'reached' };
  },
  async link({ carrierUrl, address, settings }) {
    fillHeap(settings.heapMib);
    carrier = await loadCarrier(carrierUrl);
    connect = await carrier.link(address);
    return { type: 'linked' };
  },
  async warm(request) {
    await findRelayCase(request).warm?.(clientRun(request));
    return { type: 'warm' };
  },
  async run(request) {
    client = await findRelayCase(request).client(clientRun(request));
    return { type: 'measured', values: client.values };
  },
  async finish({ values }) {
    return { type: 'finished', values: await server?.finish(values) };
  },
  async check() {
    carrier.check?.();
    await client?.check?.();
    return { type: 'checked' };
  },
  async memory() {
    collectGarbage();
    await pause(200);
    collectGarbage();
    const { rss, heapUsed } = process.memoryUsage();
    return { type: 'memory', rss, heap: heapUsed };
  },
};

answerRequests(requests);
