// Lets HTTP clients call an API: `POST /COMMAND` with JSON, as the OpenAPI document says.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOf } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import { sharedTimers } from '../../util/timers.js';
import { MessageError, messageError, notHandled } from '../outcome.js';
import type { Api } from './definition.js';
import type { ApiDescription } from './description.js';
import { shownError, type ToolClient } from './mcp.js';
import { asDescription, openApi } from './open-api.js';

const DEFAULT_BODY_BYTES = 1024 * 1024;
/** How long nothing of a body may come. */
const BODY_MS = 30_000;

/** Options of `apiHttpHandler`. */
export interface ApiHttpOptions {
  /** The longest body of a request, in bytes; beyond that the answer has status 400. Default 1048576. */
  readonly maxBodyBytes?: number | undefined;
  /** How long a call may take, in ms, 1 to 2147483647. Default: that of the client. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Returns a request listener for `http.createServer`, Express and others: it answers `POST /COMMAND` by a call, and `GET /openapi.json` with the
 * OpenAPI document. It does not ask who the client is: put it behind what does, such as `starlane gateway`.
 * @param api the definition or the self-description
 * @param client calls the commands: `apiClient(node, api)`
 */
export function apiHttpHandler(
  api: Api | ApiDescription,
  client: ToolClient,
  options: ApiHttpOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  const description = asDescription(api);
  const document = JSON.stringify(openApi(description));
  return (request, response) => {
    const [path] = (request.url ?? '/').split('?');
    if (request.method === 'GET' && path === '/openapi.json') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(document);
      return;
    }
    void answer(description, client, options, path.slice(1), request, response);
  };
}

async function answer(
  { name: api, commands }: ApiDescription,
  client: ToolClient,
  options: ApiHttpOptions,
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const aborter = new AbortController();
  response.once('close', () => aborter.abort(new DOMException('the HTTP client has gone', 'AbortError')));
  try {
    if (request.method !== 'POST' || !Object.hasOwn(commands, name)) {
      throw messageError('ERR_STARLANE_NO_HANDLER', 'not-handled', `POST /COMMAND is needed, with a command of ${api}`);
    }
    const { input, output } = commands[name];
    const text = await bodyOf(request, options.maxBodyBytes ?? DEFAULT_BODY_BYTES);
    const value = input.stream
      ? text
          .split('\n')
          .filter((line) => line.trim() !== '')
          .map(parsed)
      : parsed(text);
    const terms = {
      signal: aborter.signal,
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    };
    const pending = client.call(name, value, terms);
    if (output.stream) await sendLines(pending as AsyncIterable<unknown>, response);
    else {
      const answered = JSON.stringify((await pending) ?? null);
      response.writeHead(200, { 'content-type': 'application/json' }).end(answered);
    }
  } catch (error) {
    fail(error, response);
  }
}

async function sendLines(items: AsyncIterable<unknown>, response: ServerResponse): Promise<void> {
  for await (const item of items) {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/jsonl' });
    if (response.write(`${JSON.stringify(item)}\n`)) continue;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        response.removeListener('drain', go);
        response.removeListener('close', go);
        resolve();
      };
      response.once('drain', go);
      response.once('close', go);
    });
  }
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/jsonl' });
  response.end();
}

function fail(error: unknown, response: ServerResponse): void {
  // What has begun can only be cut off: the client must not take it for whole.
  if (response.headersSent) response.destroy();
  else {
    const body = JSON.stringify(shownError(error));
    response.writeHead(statusOf(error), { 'content-type': 'application/json', connection: 'close' }).end(body);
  }
}

function statusOf(error: unknown): number {
  const outcome = error instanceof MessageError ? error.outcome : undefined;
  switch (codeOf(error)) {
    case 'ERR_STARLANE_SCHEMA':
      return outcome === 'not-handled' ? 400 : 500;
    case 'ERR_STARLANE_MESSAGE_SIZE':
      return outcome === 'not-handled' ? 400 : 502;
    case 'ERR_STARLANE_NO_HANDLER':
      return 404;
    case 'ETIMEDOUT':
      return 504;
    default:
      if (outcome === 'handled') return 500;
      return outcome === 'not-handled' ? 503 : 502;
  }
}

/** Not by an iteration, which would destroy the request, and the response with it, when the body is too long. */
function bodyOf(request: IncomingMessage, limit: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    // Not that of the socket, which would end a call that takes longer as well.
    const late = new Deadline(sharedTimers, () => request.destroy());
    late.set(BODY_MS);
    request.on('data', (chunk: Buffer) => {
      late.set(BODY_MS);
      bytes += chunk.length;
      if (bytes <= limit) chunks.push(chunk);
      else reject(messageError('ERR_STARLANE_MESSAGE_SIZE', 'not-handled', `a body of more than ${limit} bytes`));
    });
    request.once('end', () => {
      late.clear();
      resolve(Buffer.concat(chunks).toString());
    });
    request.once('close', () => {
      late.clear();
      reject(notHandled('the HTTP client has gone'));
    });
  });
}

function parsed(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw messageError('ERR_STARLANE_SCHEMA', 'not-handled', 'the body is no JSON', error);
  }
}
