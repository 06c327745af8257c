// One check of a published service: whether it accepts a connection, or how it answers an HTTP request.

import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { usage } from '../../failure.js';
import { connectTo, nameOf, reasonOf, type Target } from './target.js';

/** Resolves when the service is well. @throws Error whose message says what is wrong */
export type Probe = (target: Target, timeoutMs: number) => Promise<void>;

const DEFAULT_STATUS = '200-399';
/** How long a server may take to close the connection of a check. */
const LEAVE_MS = 1_000;

/**
 * Returns the check that `--check` names: `tcp`, a path, or a URL.
 * @param status what an HTTP answer may be: `200`, `200-299`, or several of them with commas
 * @throws Failure
 */
export function probeOf(check: string, status: string | undefined, where: string): Probe {
  if (check === 'tcp') {
    if (status !== undefined) throw usage(`${where}: --check-status needs a check by HTTP, such as --check /health`);
    return probeConnection;
  }
  const accepts = statusTest(status ?? DEFAULT_STATUS, where);
  if (check.startsWith('/')) return (target, timeoutMs) => probeHttp(check, target, accepts, timeoutMs);
  if (/^https?:\/\/[^/]/.test(check) && URL.canParse(check)) {
    return (_target, timeoutMs) => probeHttp(new URL(check), undefined, accepts, timeoutMs);
  }
  throw usage(`${where}: --check must be tcp, none, a path such as /health, or a URL, not ${JSON.stringify(check)}`);
}

type StatusTest = (status: number) => boolean;

function statusTest(text: string, where: string): StatusTest {
  const ranges = text.split(',').map((word) => {
    const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(word.trim());
    if (match === null)
      throw usage(`${where}: --check-status must be such as 200 or 200-299, not ${JSON.stringify(text)}`);
    const first = Number(match[1]);
    return [first, match[2] === undefined ? first : Number(match[2])] as const;
  });
  return (status) => ranges.some(([first, last]) => status >= first && status <= last);
}

async function probeConnection(target: Target, timeoutMs: number): Promise<void> {
  try {
    leave(await connectTo(target, AbortSignal.timeout(timeoutMs)));
  } catch (error) {
    throw new Error(faultOf(error, timeoutMs), { cause: error });
  }
}

/** Ends a connection as a client does that has what it wants: a reset would be an error for the server, and end a careless one. */
function leave(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LEAVE_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
  socket.unref();
  socket.resume();
  socket.end();
  socket.once('end', () => socket.destroy());
}

/** Redirects are not followed: by default they are an answer like any other. */
function probeHttp(
  what: string | URL,
  target: Target | undefined,
  accepts: StatusTest,
  timeoutMs: number,
): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  const options = { agent: false, signal, headers: { 'user-agent': 'starlane', connection: 'close' } } as const;
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new Error(faultOf(error, timeoutMs), { cause: error }));
    const request =
      typeof what !== 'string'
        ? (what.protocol === 'https:' ? httpsRequest : httpRequest)(what, options)
        : httpRequest({ ...options, path: what, ...placeOf(target as Target) });
    request.on('error', fail);
    request.once('response', (response) => {
      const { statusCode = 0 } = response;
      // The body does not matter, and is cut when the time is over.
      response.on('error', () => {});
      response.resume();
      if (accepts(statusCode)) resolve();
      else reject(new Error(`status ${statusCode}`));
    });
    request.end();
  });
}

function placeOf(target: Target): object {
  const { unix, host, port } = target;
  return unix === undefined
    ? { host, port, setHost: false, headers: headersOf(nameOf(target)) }
    : { socketPath: unix, setHost: false, headers: headersOf('localhost') };
}

function headersOf(host: string): Record<string, string> {
  return { host, 'user-agent': 'starlane', connection: 'close' };
}

function faultOf(error: unknown, timeoutMs: number): string {
  const name = (error as Error | undefined)?.name;
  if (name === 'TimeoutError' || name === 'AbortError') return `no answer within ${timeoutMs / 1000} s`;
  return reasonOf(error);
}
