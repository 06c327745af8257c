// What a client gets when there is no answer of a service: a status that follows from the error, and a page that a person understands.
// Nothing of the inside is shown but the name of the service and the code.

import { codeOf } from '../../errors.js';
import { fieldOf, type HeaderList } from './headers.js';

export interface Failure {
  readonly status: number;
  readonly code: string;
  /** A sentence for people. */
  readonly text: string;
  /** Seconds after which another attempt makes sense; undefined where it does not. */
  readonly retryAfterS?: number | undefined;
}

const BUSY_S = 1;
const AWAY_S = 5;

const GONE: Failure = {
  status: 503,
  code: 'ECANCELED',
  text: 'The gateway is closing. Try again in a moment.',
  retryAfterS: AWAY_S,
};

const BROKEN = 'The service did not give a valid answer.';

/** By the code of the error of a dial or a circuit. */
const FAILURES: Readonly<Record<string, Failure>> = {
  ENOTFOUND: { status: 404, code: 'ENOTFOUND', text: 'No node offers this service at the moment.' },
  ERR_STARLANE_NOT_FOUND: { status: 404, code: 'ENOTFOUND', text: 'No node offers this service at the moment.' },
  EACCES: { status: 403, code: 'EACCES', text: 'The service does not accept requests of this gateway.' },
  EHOSTUNREACH: {
    status: 503,
    code: 'EHOSTUNREACH',
    text: 'There is no way to the service at the moment.',
    retryAfterS: AWAY_S,
  },
  ECONNREFUSED: { status: 502, code: 'ECONNREFUSED', text: 'The service does not take requests at the moment.' },
  ECONNRESET: { status: 502, code: 'ECONNRESET', text: 'The service ended before it had answered.' },
  EPIPE: { status: 502, code: 'ECONNRESET', text: 'The service ended before it had answered.' },
  ETIMEDOUT: { status: 504, code: 'ETIMEDOUT', text: 'The service did not answer in time.' },
  ERR_STARLANE_GO_AWAY: {
    status: 503,
    code: 'ECONNREFUSED',
    text: 'The service does not take requests at the moment.',
    retryAfterS: BUSY_S,
  },
  ERR_STARLANE_MESSAGE: { status: 502, code: 'ERR_STARLANE_MESSAGE', text: BROKEN },
  ECANCELED: GONE,
  ERR_STARLANE_CLOSED: GONE,
};

/** Returns the failure for an error of a circuit. */
export function failureOf(error: unknown): Failure {
  const code = codeOf(error) ?? '';
  const failure = Object.hasOwn(FAILURES, code) ? FAILURES[code] : undefined;
  return failure ?? { status: 502, code: 'ECONNRESET', text: BROKEN };
}

export const NO_RULE: Failure = { status: 404, code: 'ENOTFOUND', text: 'Nothing is published under this address.' };

export const TOO_MANY: Failure = {
  status: 503,
  code: 'EBUSY',
  text: 'There are too many requests at the moment. Try again in a moment.',
  retryAfterS: BUSY_S,
};

/** Returns the failure for a request that cannot be served as it is. */
export function badRequest(status: number): Failure {
  return { status, code: `HTTP_${status}`, text: TEXTS[status] ?? 'The request is not valid.' };
}

const TEXTS: Readonly<Record<number, string>> = {
  405: 'This method is not available here.',
  408: 'The request did not arrive in time.',
  413: 'The request is too large.',
  414: 'The address is too long.',
  417: 'The expectation of the request cannot be met.',
  431: 'The header of the request is too large.',
  501: 'The request is coded in a way that the gateway does not know.',
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

export interface Page {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList;
  readonly body: Buffer;
}

/** The status of gRPC for one of HTTP (grpc/doc/http-grpc-status-mapping.md). */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 13,
  403: 7,
  404: 12,
  413: 8,
  414: 8,
  431: 8,
  502: 14,
  503: 14,
  504: 14,
};

/** Returns whether the request is one of gRPC, and not of gRPC-Web. */
export function isGrpc(headers: HeaderList): boolean {
  return /^application\/grpc(?:[+;]|$)/i.test(fieldOf(headers, 'content-type') ?? '');
}

/** Returns the page for a failure in the form that the client prefers. `service` is empty where there is none. */
export function pageFor(failure: Failure, service: string, requestId: string, headers: HeaderList): Page {
  const { status, code, text, retryAfterS } = failure;
  const reason = TITLES[status] ?? 'Error';
  const common: HeaderList = ['Cache-Control', 'no-store', 'X-Request-Id', requestId];
  if (retryAfterS !== undefined) common.push('Retry-After', String(retryAfterS));
  if (isGrpc(headers)) {
    const message = service === '' ? `${text} (${code})` : `${service}: ${text} (${code})`;
    const grpc = ['Content-Type', 'application/grpc', 'grpc-status', String(GRPC_STATUS[status] ?? 2)];
    return {
      status: 200,
      reason: 'OK',
      headers: [...common, ...grpc, 'grpc-message', percentEncoded(message)],
      body: Buffer.alloc(0),
    };
  }
  const accept = fieldOf(headers, 'accept') ?? '';
  let type = 'text/plain; charset=utf-8';
  let body: string;
  if (/\btext\/html\b/i.test(accept)) {
    type = 'text/html; charset=utf-8';
    body = html(status, reason, text, service, code, requestId);
  } else if (/[/+]json\b/i.test(accept)) {
    type = 'application/json';
    const shown = service === '' ? undefined : service;
    body = `${JSON.stringify({ error: { status, code, message: text, service: shown, requestId } })}\n`;
  } else {
    body = `${status} ${reason}\n${text}\n${service === '' ? '' : `service: ${service}\n`}code: ${code}\nrequest: ${requestId}\n`;
  }
  const bytes = Buffer.from(body);
  return {
    status,
    reason,
    headers: [
      ...common,
      'Content-Type',
      type,
      'Content-Length',
      String(bytes.length),
      'X-Content-Type-Options',
      'nosniff',
    ],
    body: bytes,
  };
}

/** As grpc-message is: visible ASCII, the rest as UTF-8 in percent signs. */
function percentEncoded(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/gu, (character) => encodeURIComponent(character));
}

function html(status: number, reason: string, text: string, service: string, code: string, requestId: string): string {
  const rows = [...(service === '' ? [] : [['Service', service]]), ['Code', code], ['Request', requestId]];
  const list = rows.map(([name, value]) => `<dt>${name}</dt><dd>${escaped(value)}</dd>`).join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${status} ${reason}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.4em}dl{display:grid;grid-template-columns:auto 1fr;gap:.2em 1em;color:#555;font-size:.9em}dd{margin:0;overflow-wrap:anywhere}</style>
</head><body><main><h1>${status} ${reason}</h1><p>${escaped(text)}</p><dl>${list}</dl></main></body></html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
