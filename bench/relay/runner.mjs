import { fileURLToPath } from 'node:url';
import { loadCarrier } from '../carriers/carrier.mjs';
import { within } from '../deadline.mjs';
import { profileArgs, Worker } from '../runner.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const DEADLINE_MS = 60_000;
/** What a relay costs when its code is compiled and its windows have grown: others need no such time, but get it too. */
const WARMUP_MS = 2_000;
/** A short run ahead of the first measured one, in which every byte is compared. */
const CHECK_TIMES = { warmupMs: 100, measureMs: 400, verify: true };

/** Of which case over which carrier the content has been seen to arrive as it was sent. @type {Set<string>} */
const checked = new Set();

/**
 * Runs one case over one carrier in three fresh processes, the one in the middle relaying; returns what was measured.
 *
 * @param {any} benchCase a RelayCase
 * @param {import('../bench.mjs').CarrierChoice} choice
 * @param {import('../cases/case.mjs').Settings} settings
 * @param {import('../runner.mjs').Profile} [profile]
 * @returns {Promise<import('../cases/case.mjs').Values>}
 */
export async function runRelayed(benchCase, choice, settings, profile) {
  const key = `${benchCase.name} ${choice.name}`;
  if (!checked.has(key) && benchCase.memory === undefined) {
    await runProcesses(benchCase, choice, { ...settings, ...CHECK_TIMES });
    checked.add(key);
  }
  const warmupMs = Math.max(settings.warmupMs, WARMUP_MS);
  return runProcesses(benchCase, choice, { ...settings, warmupMs }, profile);
}

/**
 * @param {import('./cases/case.mjs').RelayCase} benchCase
 * @param {import('../bench.mjs').CarrierChoice} choice
 * @param {import('../cases/case.mjs').Settings} settings
 * @param {import('../runner.mjs').Profile} [profile]
 * @returns {Promise<import('../cases/case.mjs').Values>}
 */
async function runProcesses(benchCase, choice, settings, profile) {
  const carrier = /** @type {import('./carriers/carrier.mjs').RelayedCarrier} */ (
    /** @type {unknown} */ (await loadCarrier(choice.url))
  );
  /** @param {'server' | 'relay' | 'client'} role */
  const start = (role) => new Worker(role, { module: WORKER, execArgv: profileArgs(role, profile) });
  const server = start('server');
  const client = start('client');
  const relay = carrier.relay === undefined ? undefined : start('relay');
  const workers = relay === undefined ? [server, client] : [server, client, relay];
  const failures = workers.map((worker) => worker.failed.promise);
  /** @type {import('./carriers/carrier.mjs').RunningRelay | undefined} */
  let program;
  const common = { caseName: benchCase.name, carrierUrl: choice.url, settings };
  /**
   * The answer of one of them, unless another fails meanwhile, which would leave it waiting.
   *
   * @param {Worker} worker
   * @param {object} request
   */
  const ask = (worker, request) => Promise.race([worker.ask(request), ...workers.map((other) => other.failed.promise)]);

  const work = async () => {
    let { address } = await ask(server, { type: 'serve', ...common });
    /** @type {number | undefined} */
    let relayPid;
    if (relay !== undefined) ({ address, pid: relayPid } = await ask(relay, { type: 'relay', ...common, address }));
    else if (carrier.startRelay !== undefined) {
      program = await carrier.startRelay(address);
      // At the end it is killed, and the promise is not used any more.
      program.failed.catch(() => {});
      failures.push(program.failed);
      ({ address, pid: relayPid } = program);
    }
    const endPids = [server.child.pid, client.child.pid];
    await ask(server, { type: 'reach', address, relayPid, endPids });
    await ask(client, { type: 'link', ...common, address });
    const isWeighed = relay !== undefined && benchCase.memory !== undefined;
    const memory = async () => (isWeighed ? ask(relay, { type: 'memory' }) : undefined);
    const cold = await memory();
    await ask(client, { type: 'warm', ...common, relayPid });
    const warm = await memory();
    const measured = await ask(client, { type: 'run', ...common, relayPid, endPids });
    const full = await memory();
    const finished = await ask(server, { type: 'finish', values: measured.values });
    await ask(client, { type: 'check' });
    /** @type {import('../cases/case.mjs').Values} */
    const values = { ...measured.values, ...finished.values };
    if (isWeighed) Object.assign(values, benchCase.memory?.(cold, warm, full, measured.values));
    for (const { key, title, isOfRelay } of benchCase.figures) {
      const isExpected = relayPid !== undefined || !isOfRelay;
      if (isExpected && !Number.isFinite(values[key])) throw new Error(`no measurement of '${title}'`);
    }
    return values;
  };

  try {
    return await within(work(), choice.deadlineMs ?? benchCase.deadlineMs ?? DEADLINE_MS, `${benchCase.name}`);
  } finally {
    await Promise.all([...workers.map((worker) => worker.stop()), program?.stop()]);
  }
}
