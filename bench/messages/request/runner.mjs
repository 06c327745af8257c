// One run: two fresh processes, and what stands between them.

import { fileURLToPath } from 'node:url';
import { within } from '../../deadline.mjs';
import { profileArgs, Worker } from '../../runner.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const DEADLINE_MS = 60_000;

/**
 * Runs one case over one carrier, and returns what the client measured.
 *
 * @param {any} benchCase
 * @param {import('../../bench.mjs').CarrierChoice} choice
 * @param {import('../../cases/case.mjs').Settings} settings
 * @param {import('../../runner.mjs').Profile} [profile]
 * @returns {Promise<import('../../cases/case.mjs').Values>}
 */
export async function runRequests(benchCase, choice, settings, profile) {
  /** @type {{ carrier: import('./carriers/carrier.mjs').RequestCarrier }} */
  const { carrier } = await import(choice.url);
  const [server, client] = ['server', 'client'].map(
    (role) => new Worker(role, { module: WORKER, execArgv: profileArgs(role, profile) }),
  );
  const middle = await carrier.startMiddle?.();
  const common = { carrierUrl: choice.url, settings, bytes: benchCase.bytes };
  const work = async () => {
    const { address } = await server.ask({ type: 'serve', ...common, middle: middle?.address });
    const asking = client.ask({ type: 'run', ...common, address });
    return (await Promise.race([asking, server.failed.promise])).values;
  };
  try {
    return await within(work(), DEADLINE_MS, benchCase.name);
  } finally {
    await Promise.all([server.stop(), client.stop(), middle?.stop()]);
  }
}
