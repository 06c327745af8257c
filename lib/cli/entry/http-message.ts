// What an HTTP proxy changes in a message: headers of one hop, and answers of its own (RFC 9110, section 7.6).

import { STATUS_CODES } from 'node:http';
import { codeOf } from '../../errors.js';
import { NotAllowed } from './way-out.js';

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Returns raw headers without those of this hop. `connection`: the value of that header. */
export function endToEnd(
  rawHeaders: readonly string[],
  connection: string | undefined,
  also: readonly string[] = [],
): string[] {
  const named = new Set(
    (connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
  // These would make the message another one.
  named.delete('content-length');
  named.delete('host');
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index].toLowerCase();
    if (!HOP_BY_HOP.has(name) && !named.has(name) && !also.includes(name))
      kept.push(rawHeaders[index], rawHeaders[index + 1]);
  }
  return kept;
}

const STATUSES: Readonly<Record<string, number>> = {
  EACCES: 403,
  ENOTFOUND: 404,
  EAI_AGAIN: 404,
  EHOSTUNREACH: 503,
  ENETUNREACH: 503,
  ETIMEDOUT: 504,
};

/** Returns the status for an error of a dial. */
export function statusFor(error: unknown): number {
  return STATUSES[codeOf(error) ?? ''] ?? 502;
}

/** Returns the body of an answer of the proxy: what failed, and what could be done. */
export function bodyFor(status: number, error: Error, target: string): string {
  const hint =
    error instanceof NotAllowed
      ? 'This proxy leads to services of the network; start it with --direct for other hosts.\n'
      : status === 404
        ? 'starlane services lists what is offered.\n'
        : '';
  return `starlane proxy: ${STATUS_CODES[status]}: ${target}: ${error.message}\n${hint}`;
}

/** Splits the target of a CONNECT, `host:port` or `[::1]:port`. Undefined for anything else. */
export function splitAuthority(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:@/?#\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  return match === null || port < 1 || port > 65_535 ? undefined : { host: match[1] ?? match[2], port };
}
