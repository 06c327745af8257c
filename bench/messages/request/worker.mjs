// One end of one run in a process of its own, started by runner.mjs: `worker.mjs server | client`.

import { fillHeap } from '../../heap.mjs';
import { answerRequests } from '../../requests.mjs';
import { measure } from './cases.mjs';

answerRequests({
  async serve({ carrierUrl, settings, middle }) {
    fillHeap(settings.heapMib);
    const { carrier } = await import(carrierUrl);
    return { type: 'serving', address: await carrier.serve(middle) };
  },
  async run({ carrierUrl, settings, bytes, address }) {
    fillHeap(settings.heapMib);
    const { carrier } = await import(carrierUrl);
    const ask = await carrier.link(address);
    return { type: 'measured', values: await measure(ask, bytes, settings) };
  },
});
