// One query to another node: an HTTP request over a circuit to its port of queries.

import type { IncomingMessage } from 'node:http';
import type { NodeId } from '../../address.js';
import { QUERY_PORT, SERVER_FULL } from '../../circuit/bindings.js';
import { codeOf, netError, starlaneError } from '../../errors.js';
import type { Socket } from '../../socket/socket.js';
import { waitWithin } from '../../util/deadline.js';
import { nodeHttp } from '../../util/runtime/builtins.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { Timers } from '../../util/timers.js';
import { VERSION } from '../../util/version.js';
import type { ErrorAnswer, HopAnswer } from './answers.js';
import type { QuerySources } from './sources.js';

/** The longest answer that is read, in bytes: that about a mesh of the largest size fits. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export interface QueryOptions {
  /** For all of it, in ms. Default 10000. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export const QUERY_MS = 10_000;
/** What a dial may take of the time for a query. */
const DIAL_SHARE = 0.95;

/** How a circuit to a node is made. */
export type DialNode = (address: string, timeoutMs: number) => Socket;

/** A connection to the port of queries of a node, for one query after another. */
export class QueryConnection {
  private failure: Error | undefined;

  private constructor(
    private readonly nodeId: NodeId,
    private readonly timers: Timers,
    readonly socket: Socket,
  ) {
    socket.on('error', (error) => {
      this.failure = error;
    });
  }

  /** Dials it. What is asked before it is connected is sent with the open. */
  static to(nodeId: NodeId, timers: Timers, dial: DialNode, timeoutMs: number): QueryConnection {
    // The dial knows best why it takes too long, so that it ends first.
    const dialMs = Math.max(1, Math.floor(timeoutMs * DIAL_SHARE));
    return new QueryConnection(nodeId, timers, dial(`@${nodeId}:${QUERY_PORT}`, dialMs));
  }

  /** The relays that the circuit passes, nearest first. */
  get via(): readonly NodeId[] {
    return this.socket.peer?.via ?? [];
  }

  /**
   * Resolves with the answer, whatever its status. One at a time.
   * @throws ENOTFOUND, EHOSTUNREACH, ETIMEDOUT, ECONNRESET and the like of the circuit; ERR_STARLANE_QUERY when the node answers no queries
   */
  get(path: string, { timeoutMs = QUERY_MS, signal }: QueryOptions = {}): Promise<{ status: number; body: unknown }> {
    const { nodeId } = this;
    const late = (): Error => netError('ETIMEDOUT', 'query', { address: `@${nodeId}`, port: QUERY_PORT });
    return waitWithin(this.timers, { timeoutMs, signal, late }, (resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.explain(this.failure));
        return undefined;
      }
      const options = {
        createConnection: () => this.socket as never,
        // Without an agent, only the header lets the connection go on.
        headers: { host: `@${nodeId}`, connection: 'keep-alive', 'user-agent': `starlane/${VERSION}` },
        path,
      };
      const request = withoutContext(() => nodeHttp().request(options));
      let isAnswered = false;
      request.once('response', (response: IncomingMessage) => {
        isAnswered = true;
        readJson(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      });
      request.once('error', (error) => {
        if (!isAnswered) reject(this.explain(error));
      });
      request.end();
      return () => {
        if (!isAnswered) request.destroy();
      };
    });
  }

  close(): void {
    this.socket.destroy();
  }

  /** Returns a clear error for a node that does not answer queries. */
  private explain(error: Error): Error {
    if (codeOf(error) !== 'ECONNREFUSED' || reasonsOf(error).includes(SERVER_FULL)) return error;
    const what = `nothing answers at port ${QUERY_PORT} of @${this.nodeId}: its version is older, or its option queries is false`;
    return starlaneError('ERR_STARLANE_QUERY', what, error);
  }
}

function reasonsOf(error: unknown): string {
  let text = '';
  for (let cause: unknown = error; cause instanceof Error; { cause } = cause) text += `${cause.message}\n`;
  return text;
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw starlaneError('ERR_STARLANE_QUERY', `more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw starlaneError('ERR_STARLANE_QUERY', `what came with status ${response.statusCode} is not JSON`, error);
  }
}

/** Statuses whose answer says what the node found, and not that it refused. */
const ANSWERED: ReadonlySet<number> = new Set([200, 503]);

/** Returns the body of an answer. @throws EACCES, ERR_STARLANE_QUERY, ERR_STARLANE_ARGUMENT */
export function bodyOf(nodeId: NodeId, path: string, status: number, body: unknown): unknown {
  const { error } = (typeof body === 'object' && body !== null ? body : {}) as Partial<ErrorAnswer>;
  if (ANSWERED.has(status) && error === undefined) return body;
  const said = typeof error?.message === 'string' ? error.message : `status ${status}`;
  if (status === 403) {
    return fail(netError('EACCES', 'query', { address: `@${nodeId}`, port: QUERY_PORT }, new Error(said)));
  }
  if (status === 400) return fail(starlaneError('ERR_STARLANE_ARGUMENT', said));
  return fail(starlaneError('ERR_STARLANE_QUERY', `@${nodeId} ${path}: ${said}`));
}

function fail(error: Error): never {
  throw error;
}

/** Asks a node once. @throws what {@link QueryConnection.get} and {@link bodyOf} throw */
export async function ask(
  nodeId: NodeId,
  path: string,
  timers: Timers,
  dial: DialNode,
  options: QueryOptions = {},
): Promise<unknown> {
  const { timeoutMs = QUERY_MS } = options;
  const connection = QueryConnection.to(nodeId, timers, dial, timeoutMs);
  try {
    const { status, body } = await connection.get(path, { ...options, timeoutMs });
    return bodyOf(nodeId, path, status, body);
  } finally {
    connection.close();
  }
}

/** Asks a neighbour how far the node is from it. */
export async function askNeighbour(
  { id, circuits, timers }: QuerySources,
  peerId: NodeId,
  timeoutMs: number,
): Promise<{ rttMs: number | null; hasRoute: boolean }> {
  const dial: DialNode = (address, dialMs) => circuits.dial(address, { timeoutMs: dialMs }, undefined);
  const answer = (await ask(peerId, `/v1/hop?to=${id}`, timers, dial, { timeoutMs })) as Partial<HopAnswer>;
  const rttMs = typeof answer.link?.rttMs === 'number' ? answer.link.rttMs : null;
  return { rttMs, hasRoute: typeof answer.route === 'object' && answer.route !== null };
}
