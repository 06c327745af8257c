// The queries of a node as a handler of HTTP requests: GET /v1/health and the like, with answers of JSON. The same handler serves the port of
// queries, the control socket of the command, and the monitor; each says what its callers may ask for.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { debug } from '../../util/runtime/debug.js';
import type { AnswerPath, Answers, ErrorAnswer } from './answers.js';
import type { Bulk } from './bulk.js';
import {
  describeHealth,
  describeLinks,
  describeMembers,
  describeNodes,
  describeRelay,
  describeRoutes,
  describeServices,
  describeTopology,
} from './describe.js';
import type { EventReaders } from './events.js';
import { type HopMeter, MAX_SAMPLES } from './hop.js';
import { NodeFilter, ServiceFilter } from './lists/filters.js';
import { Parameters, Refusal } from './parameters.js';
import type { Readiness } from './ready.js';
import type { CallerRights } from './rights.js';
import type { QuerySources } from './sources.js';
import type { StreamWatch } from './streams.js';
import { charged, UNLIMITED, type Work } from './work.js';

const log = debug('node');

const DEFAULT_STALLED_MS = 2_000;
const MAX_STALLED_MS = 30_000;

/** Answers one request. Handles all errors itself. `work` counts what it takes; without it nothing is limited. */
export type QueryHandler = (request: IncomingMessage, response: ServerResponse, work?: Work) => void;

/** Returns what the one who makes a request may ask for. */
export type RightsOf = (request: IncomingMessage) => CallerRights;

interface ApiParts {
  readonly sources: QuerySources;
  readonly streams: StreamWatch;
  readonly meter: HopMeter;
  readonly readiness: Readiness;
  readonly readers: EventReaders;
  readonly bulk: Bulk;
}

/** A request as resources see it. */
interface Query {
  readonly rights: CallerRights;
  readonly parameters: Parameters;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
  readonly work: Work;
}

interface Resource<Answer> {
  /** Whether every caller that shares an env may ask, and costs little. */
  readonly isOpen?: true;
  /** Whether every caller that shares an env may ask, and sees what it may dial. */
  readonly isPartly?: true;
  /** The status of an answer. Default 200. */
  status?(answer: Answer): number;
  answer(query: Query, parts: ApiParts): Answer | Promise<Answer>;
}

const RESOURCES: { readonly [Path in AnswerPath]: Resource<Answers[Path]> } = {
  '/v1/health': { isOpen: true, answer: (_query, { sources }) => describeHealth(sources) },
  '/v1/ready': {
    isOpen: true,
    status: ({ ready }) => (ready ? 200 : 503),
    answer: (_query, { readiness }) => readiness.describe(),
  },
  '/v1/hop': {
    isOpen: true,
    answer: ({ parameters }, { meter }) => {
      const to = parameters.nodeId('to');
      if (to === undefined) throw new Refusal(400, 'ERR_STARLANE_ARGUMENT', 'to is missing');
      return meter.describe(to, parameters.integer('samples', 1, 1, MAX_SAMPLES));
    },
  },
  '/v1/stats': { answer: (_query, { sources }) => sources.stats() },
  '/v1/links': { answer: ({ rights }, { sources }) => describeLinks(sources, rights) },
  '/v1/services': {
    isPartly: true,
    answer: ({ parameters, rights }, { sources }) => {
      const { limit, after } = parameters;
      return describeServices(sources, rights, { filter: new ServiceFilter(parameters), limit, after });
    },
  },
  '/v1/routes': { answer: ({ parameters }, { sources }) => describeRoutes(sources, parameters.limit) },
  '/v1/nodes': {
    isPartly: true,
    answer: ({ parameters, rights }, { sources }) => {
      const { limit, after } = parameters;
      return describeNodes(sources, rights, { filter: new NodeFilter(parameters), limit, after });
    },
  },
  '/v1/topology': {
    answer: ({ parameters, rights }, { sources }) => describeTopology(sources, rights, parameters.limit),
  },
  '/v1/members': { answer: ({ parameters }, { sources }) => describeMembers(sources, parameters.limit) },
  '/v1/streams': {
    answer: ({ parameters, rights, signal, work }, { streams }) => {
      if (streams.isFull) throw new Refusal(503, 'EAGAIN', 'too many queries watch the streams of this node');
      const stalledMs = parameters.integer('forMs', DEFAULT_STALLED_MS, 1, MAX_STALLED_MS);
      const request = {
        limit: parameters.limit,
        stalledMs: parameters.isSet('stalled') ? stalledMs : undefined,
        service: parameters.text('service'),
        peerId: parameters.nodeId('peer'),
      };
      return streams.describe(request, rights, signal, work);
    },
  },
  '/v1/relay': { answer: (_query, { sources }) => describeRelay(sources) },
};

const EVENTS = '/v1/events';
/** Bytes without meaning, `?bytes=<1 to 1073741824>`: for measuring how fast they come. */
const SOURCE = '/v1/source';
const MAX_SOURCE_BYTES = 1024 * 1024 * 1024;
const DEFAULT_SOURCE_BYTES = 64 * 1024;

/** Returns a handler of requests. `rightsOf`: what the caller of a request may ask for. */
export function queryHandler(parts: ApiParts, rightsOf: RightsOf): QueryHandler {
  return (request, response, work = UNLIMITED) => {
    answer(parts, rightsOf, request, response, work).catch((error: unknown) => {
      log('%s could not answer a query: %s', parts.sources.id, (error as Error).message);
      if (!response.headersSent) refuse(response, new Refusal(500, 'ERR_STARLANE_QUERY', 'the node failed to answer'));
      else response.destroy();
    });
  };
}

async function answer(
  parts: ApiParts,
  rightsOf: RightsOf,
  request: IncomingMessage,
  response: ServerResponse,
  work: Work,
): Promise<void> {
  const aborter = new AbortController();
  response.once('close', () => aborter.abort());
  try {
    const { path, parameters } = parse(request);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new Refusal(405, 'ERR_STARLANE_ARGUMENT', 'queries are made with GET');
    }
    const isEvents = path === EVENTS;
    const resource = Object.hasOwn(RESOURCES, path) ? RESOURCES[path as AnswerPath] : undefined;
    const rights = rightsOf(request);
    if (rights.envs.size === 0) throw new Refusal(403, 'EACCES', 'this node is in no env of the one who asks');
    if (!rights.all && resource?.isOpen !== true && resource?.isPartly !== true) {
      throw new Refusal(403, 'EACCES', `the option queries of this node does not let the one who asks see ${path}`);
    }
    // What is open to all costs little, and neighbours find out by it whether they are reached.
    const { isSpent } = work;
    if (isSpent !== undefined && resource?.isOpen !== true) {
      const whose = isSpent === 'caller' ? 'your queries have' : 'all queries together have';
      throw new Refusal(isSpent === 'caller' ? 429 : 503, 'EAGAIN', `${whose} taken too much time of this node`);
    }
    if (isEvents) {
      sendEvents(parts, request, response, rights);
      return;
    }
    if (path === SOURCE) {
      const bytes = parameters.integer('bytes', DEFAULT_SOURCE_BYTES, 1, MAX_SOURCE_BYTES);
      if (parts.bulk.isFull) throw new Refusal(503, 'EAGAIN', 'too many read bulk from this node');
      parts.bulk.send(response, bytes, request.method === 'HEAD');
      return;
    }
    if (resource === undefined) throw new Refusal(404, 'ENOENT', `${path} is no resource of this version`);
    const { signal } = aborter;
    await send(parts, resource as Resource<unknown>, { rights, parameters, signal, work }, response);
  } catch (error) {
    if (aborter.signal.aborted) return;
    if (!(error instanceof Refusal)) throw error;
    refuse(response, error);
  }
}

async function send(
  parts: ApiParts,
  resource: Resource<unknown>,
  query: Query,
  response: ServerResponse,
): Promise<void> {
  const { work } = query;
  const body = await charged(work, () => resource.answer(query, parts));
  if (query.signal.aborted) return;
  charged(work, () => sendJson(response, resource.status?.(body) ?? 200, body));
}

function sendEvents(
  { readers }: ApiParts,
  request: IncomingMessage,
  response: ServerResponse,
  rights: CallerRights,
): void {
  if (readers.isFull) throw new Refusal(503, 'EAGAIN', `${readers.size} readers follow the events of this node`);
  if (request.method === 'HEAD') throw new Refusal(405, 'ERR_STARLANE_ARGUMENT', 'events are read with GET');
  readers.add(response, rights);
}

function parse({ url }: IncomingMessage): { path: string; parameters: Parameters } {
  // Only the path counts. The host is any that leads here.
  const text = url ?? '/';
  const mark = text.indexOf('?');
  const path = mark < 0 ? text : text.slice(0, mark);
  return { path, parameters: new Parameters(new URLSearchParams(mark < 0 ? '' : text.slice(mark + 1))) };
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(bytes);
}

function refuse(response: ServerResponse, { status, code, message }: Refusal): void {
  if (code === 'EAGAIN') response.setHeader('retry-after', '1');
  const body: ErrorAnswer = { error: { code, message } };
  sendJson(response, status, body);
}
