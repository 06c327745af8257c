// The other side of an agent's port: requests to the agent of one host, each over a circuit of its own.

import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { NodeId } from '../../address.js';
import { codeOf } from '../../errors.js';
import { nodeHttp } from '../../util/runtime/builtins.js';
import { clearTimeout, setTimeout } from '../../util/runtime/real-timers.js';
import { codedError, ExitCode, Failure } from '../failure.js';
import type { Overlay } from '../run/overlay.js';
import type { ErrorBody } from './answer.js';
import { AGENT_PORT } from './port.js';

/** Answers of an agent that are read as a whole. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export interface HostRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** A value that is sent as JSON, bytes, or a stream. */
  readonly body?: unknown;
  /** How long the answer may take to begin, and to end where it is read as a whole. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Called when the host has accepted the circuit. Nothing of the request has left before. */
  readonly onReached?: () => void;
}

export class HostClient {
  constructor(
    private readonly overlay: Overlay,
    readonly nodeId: NodeId,
  ) {}

  /** Returns the answer as JSON. @throws what the agent answers, with its code; what the dial fails with */
  async ask(request: HostRequest): Promise<unknown> {
    const bounds = new Bounds(request);
    try {
      const response = await this.send(request, bounds.signal);
      return JSON.parse((await textOf(response)).toString()) as unknown;
    } catch (error) {
      throw bounds.reason ?? error;
    } finally {
      bounds.release();
    }
  }

  /** Returns the answer with its body still to be read; its end is no longer limited. @throws as {@link ask} */
  async open(request: HostRequest): Promise<IncomingMessage> {
    const bounds = new Bounds(request);
    try {
      const response = await this.send(request, bounds.signal);
      bounds.endTime();
      response.once('close', () => bounds.release());
      return response;
    } catch (error) {
      bounds.release();
      throw bounds.reason ?? error;
    }
  }

  private async send(
    { method, path, body, timeoutMs, onReached }: HostRequest,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const isStream = typeof body === 'object' && body !== null && 'pipe' in body;
    const bytes =
      body === undefined || isStream
        ? undefined
        : body instanceof Uint8Array
          ? body
          : Buffer.from(JSON.stringify(body));
    const address = `@${this.nodeId}:${AGENT_PORT}`;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      // Not left to the request: one whose circuit is still being opened does not always report that it was destroyed.
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      const request = nodeHttp().request(
        {
          method,
          path,
          signal,
          createConnection: (_options, onCreated) => {
            const socket = this.overlay.dial(address, { timeoutMs, signal });
            const onError = (error: Error) => onCreated(error, socket);
            socket.once('error', onError);
            // A circuit takes what is written before along: the request waits, so that a failed dial proves that the host has nothing of it.
            socket.once('connect', () => {
              socket.removeListener('error', onError);
              onReached?.();
              onCreated(null, socket);
            });
            return undefined;
          },
          headers: { host: 'agent', ...(bytes === undefined ? {} : { 'content-length': bytes.byteLength }) },
        },
        resolve,
      );
      request.once('error', (error) => reject(signal.aborted ? signal.reason : explained(error)));
      if (isStream) {
        // Its error is that of the request; an answer may come before all is sent.
        pipeline(body as Readable, request).catch((error) => request.destroy(error));
      } else request.end(bytes);
    });
    response.on('error', () => {});
    if ((response.statusCode ?? 500) < 400) return response;
    throw errorOf(await textOf(response));
  }
}

/** What ends a request before its answer has: the signal of its caller, or its time (ETIMEDOUT). */
class Bounds {
  private readonly aborter = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private readonly onAbort = (): void => this.aborter.abort(this.request.signal?.reason);

  constructor(private readonly request: HostRequest) {
    const { timeoutMs, signal } = request;
    if (signal?.aborted) this.onAbort();
    signal?.addEventListener('abort', this.onAbort, { once: true });
    const late = () => this.aborter.abort(codedError('ETIMEDOUT', `no answer within ${timeoutMs / 1000} s`));
    this.timer = setTimeout(late, timeoutMs) as NodeJS.Timeout;
  }

  get signal(): AbortSignal {
    return this.aborter.signal;
  }

  /** Why it was ended; undefined when it was not. */
  get reason(): unknown {
    return this.signal.aborted ? this.signal.reason : undefined;
  }

  /** From now on only the signal of the caller ends it. */
  endTime(): void {
    clearTimeout(this.timer);
  }

  release(): void {
    this.endTime();
    this.request.signal?.removeEventListener('abort', this.onAbort);
  }
}

function explained(error: Error): Error {
  const code = codeOf(error);
  const what =
    code === 'ECONNREFUSED' || code === 'ENOTFOUND'
      ? 'no agent runs there'
      : code === 'EHOSTUNREACH'
        ? 'the host is not in the network now'
        : undefined;
  return what === undefined ? error : Object.assign(new Error(what, { cause: error }), { code });
}

function errorOf(bytes: Buffer): Error {
  let body: Partial<ErrorBody>;
  try {
    body = JSON.parse(bytes.toString()) as Partial<ErrorBody>;
  } catch {
    body = {};
  }
  const { code, message } = body.error ?? {};
  if (typeof code !== 'string' || typeof message !== 'string')
    return new Failure('the answer of the agent cannot be read', ExitCode.FAILURE);
  return codedError(code, message);
}

async function textOf(response: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Failure('the answer of the agent is too long');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
