// An API of the network, as the commands use it: through the node that runs already, or through one of their own. Each call has a circuit of its
// own, as there is no node in this process that could share one.

import { codeOf } from '../../errors.js';
import { clientOver, type UntypedClient } from '../../messages/api/client.js';
import { MessageError } from '../../messages/outcome.js';
import { MESSAGE_PORT } from '../../messages/ports.js';
import type { Context } from '../command.js';
import { ExitCode, exitCodeOf, Failure, lineOf, usage } from '../failure.js';
import { DEFAULT_TIMEOUT_MS } from '../run/network.js';
import type { Overlay } from '../run/overlay.js';
import { checkedTarget } from '../run/target.js';
import { nodeValues, useNetwork } from '../run/use-network.js';

/**
 * Calls `use` with a client of the API, and a signal that aborts when the process is asked to end.
 * @throws Failure
 */
export async function withApi(
  context: Context,
  name: string,
  use: (client: UntypedClient, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  checkedTarget(`API ${name}`, name);
  const aborter = new AbortController();
  let interrupted: number | undefined;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      interrupted ??= code;
      aborter.abort(new Failure(`ended by ${signal}`, code));
    });
  }
  const { signal } = aborter;
  const access = await Promise.race([useNetwork(context, { needsLink: true, isClient: true }), abortOf(signal)]);
  try {
    return await use(clientOf(access.overlay, name, nodeValues(context).timeout ?? DEFAULT_TIMEOUT_MS), signal);
  } catch (error) {
    if (interrupted !== undefined) return interrupted;
    throw failureOf(name, error);
  } finally {
    await access.close();
  }
}

function clientOf(overlay: Overlay, name: string, timeoutMs: number): UntypedClient {
  const network = {
    // One call, or a few: what the directory knows of versions is not asked for.
    instances: () => [],
    call: undefined,
    dial: (service: string, options: { readonly timeoutMs: number; readonly signal: AbortSignal }) =>
      overlay.dial(`${service}:${MESSAGE_PORT}`, { timeoutMs: options.timeoutMs, signal: options.signal }),
  };
  return clientOver(network, name, { timeoutMs });
}

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Returns the failure of a call: its exit code says what is certain. */
function failureOf(name: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (!(error instanceof MessageError))
    return new Failure(`${name}: ${lineOf(error)}`, exitCodeOf(error), { cause: error });
  return new Failure(`${name}: ${lineOf(error)} (${error.outcome})`, exitCodeOfCall(error), { cause: error });
}

function exitCodeOfCall({ code, outcome, cause }: MessageError): number {
  if (outcome === 'unknown') return ExitCode.UNKNOWN;
  if (outcome === 'handled') return ExitCode.FAILURE;
  if (code === 'ERR_STARLANE_SCHEMA') return ExitCode.USAGE;
  if (code === 'ERR_STARLANE_NO_HANDLER' || code === 'ERR_STARLANE_API') return ExitCode.NOT_FOUND;
  const reason = codeOf(cause);
  const known = reason === undefined ? ExitCode.FAILURE : exitCodeOf(cause);
  return known === ExitCode.FAILURE ? ExitCode.UNREACHABLE : known;
}

/** Returns a value of the command line. @throws Failure */
export function parsedJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usage(`${where}: ${(error as Error).message}; a text needs quotes of JSON, as in '"text"'`);
  }
}
