// Bodies of requests and answers of an agent: JSON, and errors as { error: { code, message } }.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOf, starlaneError } from '../../errors.js';
import { clearTimeout, performanceNow, setTimeout } from '../../util/runtime/real-timers.js';
import { codedError } from '../failure.js';

/** The longest JSON body of a request. */
export const MAX_JSON_BYTES = 64 * 1024;
/** How long the next piece of a body may take. */
const STALL_MS = 30_000;
/** How long a body may take that is read as a whole, to the begin of its last piece. */
const BODY_MS = 60_000;

/** Statuses of codes; every other error is 500. */
const STATUSES: ReadonlyMap<string, number> = new Map([
  ['EACCES', 403],
  ['ENOENT', 404],
  ['EAGAIN', 429],
  ['EBUSY', 409],
  ['EEXIST', 409],
  ['ENOSPC', 507],
  ['ERR_STARLANE_ARGUMENT', 400],
  ['ERR_STARLANE_BUNDLE', 422],
  ['ERR_STARLANE_BUNDLE_SIGNATURE', 403],
  ['ERR_STARLANE_BUNDLE_OLD', 409],
  ['ERR_STARLANE_DEPLOY', 409],
  ['ERR_STARLANE_JOB', 409],
]);

export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

/** Whether nothing has been answered yet, and somebody waits for it. */
export function isAsked(response: ServerResponse): boolean {
  return !response.headersSent && !response.destroyed;
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Answers with the error; when an answer has begun, breaks it off. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (!isAsked(response)) {
    response.destroy();
    return;
  }
  const code = codeOf(error);
  // What has no code is a fault of this program, whose text is not for others.
  const message = code === undefined ? 'the agent has failed' : (error as Error).message;
  const body: ErrorBody = { error: { code: code ?? 'ERR_STARLANE_DEPLOY', message } };
  sendJson(response, STATUSES.get(code ?? '') ?? 500, body);
}

/** Yields the body of a request as it comes. @throws ETIMEDOUT when nothing comes for a while */
export async function* piecesOf(request: IncomingMessage, stallMs = STALL_MS): AsyncGenerator<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const late = () => request.destroy(codedError('ETIMEDOUT', `nothing came for ${stallMs / 1000} s`));
  timer = setTimeout(late, stallMs) as NodeJS.Timeout;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      clearTimeout(timer);
      yield piece;
      timer = setTimeout(late, stallMs) as NodeJS.Timeout;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the body of a request. @throws ERR_STARLANE_ARGUMENT when it is longer; ETIMEDOUT */
export async function bytesOf(request: IncomingMessage, maxBytes = MAX_JSON_BYTES): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const untilMs = performanceNow() + BODY_MS;
  for await (const piece of piecesOf(request)) {
    bytes += piece.length;
    if (performanceNow() > untilMs) throw codedError('ETIMEDOUT', `the body has taken more than ${BODY_MS / 1000} s`);
    if (bytes > maxBytes) throw starlaneError('ERR_STARLANE_ARGUMENT', `a body has at most ${maxBytes} bytes here`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Returns the object in the body of a request; an empty one without a body. @throws ERR_STARLANE_ARGUMENT */
export async function jsonOf(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const bytes = await bytesOf(request);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'the body must be a JSON object');
  return value as Readonly<Record<string, unknown>>;
}
