// One end of one run in a process of its own, started by runner.mjs: `worker.mjs server | client`.

import { loadCarrier } from './carriers/carrier.mjs';
import { findCase } from './cases/index.mjs';
import { fillHeap } from './heap.mjs';
import { answerRequests, fail } from './requests.mjs';

/** @type {import('./cases/case.mjs').ServerSide | undefined} */
let server;
/** @type {import('./cases/case.mjs').ClientSide | undefined} */
let client;

/** What the runner may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async serve({ caseName, carrierUrl, settings }) {
    fillHeap(settings.heapMib);
    const carrier = await loadCarrier(carrierUrl);
    server = findCase(caseName).server({ settings, fail });
    return { type: 'serving', address: await carrier.serve(server.services) };
  },
  async run({ caseName, carrierUrl, settings, address }) {
    fillHeap(settings.heapMib);
    const carrier = await loadCarrier(carrierUrl);
    const connect = await carrier.link(address);
    const { name, connectEvent } = carrier;
    const http = carrier.http === undefined ? undefined : () => /** @type {any} */ (carrier).http(address);
    client = await findCase(caseName).client({ settings, carrier: name, connect, connectEvent, http, fail });
    return { type: 'measured', values: client.values };
  },
  async finish({ values }) {
    return { type: 'finished', values: await server?.finish(values) };
  },
  async check() {
    await client?.check?.();
    return { type: 'checked' };
  },
};

answerRequests(requests);
