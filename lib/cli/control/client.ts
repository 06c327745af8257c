// Asks a node that runs in another process of this machine, and uses it as one's own.

import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { codeOf } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { AllowRequest } from '../../options/allow.js';
import type { PeerInfo } from '../../socket/endpoints.js';
import { ExitCode, Failure } from '../failure.js';
import type {
  Overlay,
  OverlayBindOptions,
  OverlayDialOptions,
  OverlayPrepare,
  OverlayServer,
  OverlaySocket,
} from '../run/overlay.js';
import { noAnswer } from './request.js';
import type { ControlSession } from './session.js';
import { type BindLine, MAX_BODY_BYTES, receivedError } from './wire.js';

const ANSWER_MS = 30_000;

export class ControlClient {
  constructor(readonly path: string) {}

  /** Whether a process answers there. */
  async isRunning(): Promise<boolean> {
    try {
      const socket = connect(this.path);
      await once(socket, 'connect');
      socket.destroy();
      return true;
    } catch {
      return false;
    }
  }

  get(path: string, timeoutMs = ANSWER_MS): Promise<unknown> {
    return this.call('GET', path, undefined, timeoutMs);
  }

  post(path: string, body: unknown = {}, timeoutMs = ANSWER_MS): Promise<unknown> {
    return this.call('POST', path, body, timeoutMs);
  }

  private async call(method: string, path: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.open({ method, path, signal }, body);
      const text = await textOf(response);
      const value = JSON.parse(text);
      if ((response.statusCode ?? 500) >= 400) throw receivedError(value);
      return value;
    } catch (error) {
      throw signal.aborted ? noAnswer(timeoutMs) : error;
    }
  }

  /** Returns the answer with its body still to be read. */
  open(options: RequestOptions, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.path, agent: false, ...options }, resolve);
      request.once('error', (error) => reject(this.explained(error)));
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  private explained(error: Error): Error {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED') {
      return new Failure(`no node runs at ${this.path}`, ExitCode.UNREACHABLE, { cause: error });
    }
    return error;
  }
}

/** The network through the node of another process. */
export class ControlOverlay implements Overlay {
  readonly node = undefined;

  constructor(
    private readonly client: ControlClient,
    private readonly session: ControlSession,
    /** Called when the process of the node has ended. */
    private readonly onLost: (error: Error) => void,
  ) {
    session.whenLost(onLost);
  }

  get id(): string {
    return this.session.nodeId;
  }

  dial(address: string, { timeoutMs, signal, key, preferredPort }: OverlayDialOptions = {}): OverlaySocket {
    const query = new URLSearchParams({ to: address });
    if (timeoutMs !== undefined) query.set('timeout', String(timeoutMs));
    if (key !== undefined) query.set('key', key);
    if (preferredPort !== undefined) query.set('port', String(preferredPort));
    const circuit = this.session.connect('dial', query);
    if (signal !== undefined) {
      const abort = () => circuit.destroy(signal.reason);
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
      circuit.once('close', () => signal.removeEventListener('abort', abort));
    }
    return circuit;
  }

  async bind<T = undefined>(
    address: string,
    { prepare, ...options }: OverlayBindOptions & { readonly prepare?: OverlayPrepare<T> | undefined },
    handler: (socket: OverlaySocket, prepared: T) => void,
  ): Promise<OverlayServer> {
    const response = await this.client.open({ method: 'POST', path: '/control/bind' }, { address, ...options });
    if (response.statusCode !== 200) throw receivedError(JSON.parse(await textOf(response)));
    let isClosed = false;
    const waiting = new Map<string, AbortController>();
    const take = async (id: string, request: AllowRequest) => {
      const aborter = new AbortController();
      waiting.set(id, aborter);
      try {
        const prepared = (await prepare?.(request, aborter.signal)) as T;
        if (aborter.signal.aborted) return;
        const circuit = this.session.connect('take', new URLSearchParams({ id }), peerOf(request));
        const isGone = () => aborter.abort();
        circuit.once('error', isGone);
        circuit.once('connect', () => {
          circuit.removeListener('error', isGone);
          handler(circuit, prepared);
        });
      } catch (error) {
        // When the node has ended meanwhile, the session says so.
        await this.client.post('/control/refuse', { id, reason: (error as Error).message }).catch(() => {});
      } finally {
        waiting.delete(id);
      }
    };
    await new Promise<void>((resolve, reject) => {
      const lines = createInterface({ input: response });
      // It repeats the errors of its input, see below.
      lines.on('error', () => {});
      lines.on('line', (text) => {
        const line = JSON.parse(text) as BindLine;
        if ('bound' in line) resolve();
        else if ('gone' in line) waiting.get(line.gone)?.abort();
        else void take(line.id, line.request);
      });
      const lost = () => {
        const error = new Failure('the node that this command used has ended', ExitCode.UNREACHABLE);
        reject(error);
        if (!isClosed) this.onLost(error);
      };
      response.once('error', lost);
      response.once('close', lost);
    });
    return {
      close: async () => {
        isClosed = true;
        response.destroy();
      },
    };
  }

  async services(): Promise<ServiceInfo[]> {
    return (await this.client.get('/control/services')) as ServiceInfo[];
  }

  async offers(service: string): Promise<boolean> {
    return (await this.client.get(`/control/offers?${new URLSearchParams({ service })}`)) === true;
  }
}

/** What is known of a peer when its circuit is announced; the rest comes with the circuit. */
function peerOf({ peer: { id, via, name, tags }, service }: AllowRequest): PeerInfo {
  const named = name === undefined ? {} : { name };
  return { id, service, via: [...via], ...named, ...(tags.length === 0 ? {} : { tags: [...tags] }) };
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Failure('the answer of the running node is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
