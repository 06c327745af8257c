// The requests that an agent answers: a table of routes, each with the right that it needs.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { netError, starlaneError } from '../../errors.js';
import { codedError } from '../failure.js';
import { isAsked, sendError, sendJson } from './answer.js';
import type { Caller, CallerRights, Right } from './rules.js';

/** One request, as routes see it. */
export interface Call {
  readonly caller: Caller;
  readonly rights: CallerRights;
  /** The parts of the path that are parameters: `/v1/apps/:app`. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `/v1/apps/:app/logs`: a part with a colon is a parameter. */
  readonly path: string;
  /** Undefined: every caller that a rule names may ask. */
  readonly right?: Right;
  /** The parameter with the name for which the right is needed. Without it, the right for any name is enough. */
  readonly of?: string;
  /** Answers by itself, or returns what is sent as JSON with status 200. @throws an error with a code */
  handle(call: Call): Promise<unknown> | unknown;
}

/** Answers one request. Handles all errors itself. */
export type AgentHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  caller: Caller,
  rights: CallerRights,
) => void;

export class Router {
  private readonly routes: ReadonlyArray<{ readonly route: Route; readonly parts: readonly string[] }>;

  constructor(routes: readonly Route[]) {
    this.routes = routes.map((route) => ({ route, parts: route.path.split('/') }));
  }

  handle(request: IncomingMessage, response: ServerResponse, caller: Caller, rights: CallerRights): void {
    this.answer(request, response, caller, rights).catch((error) => {
      // What the caller still sends is not read.
      if (!request.complete) response.setHeader('connection', 'close');
      sendError(response, error);
    });
  }

  private async answer(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    rights: CallerRights,
  ): Promise<void> {
    // A caller that no rule names does not learn what there is.
    if (!rights.isNamed) throw refused('no rule of this host names you');
    const [path, search = ''] = (request.url ?? '').split('?', 2);
    const found = this.find(request.method ?? '', path);
    const { route, params } = found;
    const name = route.of === undefined ? undefined : params[route.of];
    if (route.right !== undefined && !rights.may(route.right, name)) {
      throw refused(
        `no rule of this host gives you the right '${route.right}'${name === undefined ? '' : ` for ${name}`}`,
      );
    }
    const aborter = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) aborter.abort(netError('ECONNRESET', 'read'));
    });
    const call = { caller, rights, params, query: new URLSearchParams(search), request, response };
    const answer = await route.handle({ ...call, signal: aborter.signal });
    if (!isAsked(response)) return;
    if (!request.complete) response.setHeader('connection', 'close');
    sendJson(response, 200, answer ?? {});
  }

  private find(method: string, path: string): { route: Route; params: Record<string, string> } {
    const parts = path.split('/');
    let isThere = false;
    for (const { route, parts: wanted } of this.routes) {
      const params = paramsOf(wanted, parts);
      if (params === undefined) continue;
      isThere = true;
      if (route.method === method) return { route, params };
    }
    if (isThere) throw starlaneError('ERR_STARLANE_ARGUMENT', `${method} is not for ${path}`);
    throw starlaneError('ERR_STARLANE_ARGUMENT', `the agent does not know ${path}`);
  }
}

/** Returns the parameters of a path that fits; undefined for another one. */
function paramsOf(wanted: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = Object.create(null);
  for (const [index, part] of wanted.entries()) {
    const text = given[index];
    if (!part.startsWith(':')) {
      if (part !== text) return undefined;
      continue;
    }
    try {
      params[part.slice(1)] = decodeURIComponent(text);
    } catch {
      return undefined;
    }
    if (text === '') return undefined;
  }
  return params;
}

function refused(message: string): Error {
  return codedError('EACCES', message);
}
