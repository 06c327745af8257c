// Asks a node that runs in another process of this machine, and uses it as one's own.

import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Duplex } from 'node:stream';
import { codeOf, netError } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { PeerInfo } from '../../socket/endpoints.js';
import { ExitCode, Failure } from '../failure.js';
import type { Overlay, OverlayBindOptions, OverlayDialOptions, OverlayServer, OverlaySocket } from '../run/overlay.js';
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
    const response = await this.open({ method, path, signal: AbortSignal.timeout(timeoutMs) }, body);
    const text = await textOf(response);
    const value = JSON.parse(text);
    if ((response.statusCode ?? 500) >= 400) throw receivedError(value);
    return value;
  }

  /** Returns the answer with its body still to be read. */
  open(options: RequestOptions, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.path, agent: false, ...options }, resolve);
      request.once('error', (error) => reject(this.explained(error)));
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Returns a socket that the running node has made of a CONNECT. */
  connect(path: string): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        method: 'CONNECT',
        path,
        // Without `agent`, which would not use it.
        createConnection: () => connect({ path: this.path, allowHalfOpen: true }),
      });
      request.once('connect', (response, socket: Socket, head: Buffer) => {
        if (response.statusCode === 200) {
          if (head.length > 0) socket.unshift(head);
          resolve(socket);
          return;
        }
        const chunks: Buffer[] = [head];
        socket.on('data', (chunk: Buffer) => chunks.push(chunk));
        socket.once('close', () => {
          try {
            reject(receivedError(JSON.parse(Buffer.concat(chunks).toString())));
          } catch (error) {
            reject(error);
          }
        });
        socket.end();
      });
      request.once('error', (error) => reject(this.explained(error)));
      request.end();
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

  async bind(
    address: string,
    options: OverlayBindOptions,
    handler: (socket: OverlaySocket) => void,
  ): Promise<OverlayServer> {
    const response = await this.client.open({ method: 'POST', path: '/control/bind' }, { address, ...options });
    if (response.statusCode !== 200) throw receivedError(JSON.parse(await textOf(response)));
    let isClosed = false;
    await new Promise<void>((resolve, reject) => {
      const lines = createInterface({ input: response });
      // It repeats the errors of its input, see below.
      lines.on('error', () => {});
      lines.on('line', (text) => {
        const line = JSON.parse(text) as BindLine;
        if ('bound' in line) resolve();
        else handler(new JoinedSocket(this.client.connect(`take?id=${line.id}`), line.peer));
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

/** A socket that can be written before it is there. */
class JoinedSocket extends Duplex implements OverlaySocket {
  connecting = true;
  private socket: Socket | undefined;

  constructor(
    opened: Promise<Socket>,
    readonly peer?: PeerInfo | undefined,
  ) {
    super({ allowHalfOpen: true, autoDestroy: true });
    opened.then(
      (socket) => this.use(socket),
      (error) => this.destroy(error),
    );
  }

  override _construct(callback: (error?: Error | null) => void): void {
    callback();
  }

  private use(socket: Socket): void {
    if (this.destroyed) {
      socket.destroy();
      return;
    }
    this.socket = socket;
    this.connecting = false;
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.once('end', () => this.push(null));
    socket.once('error', (error) => this.destroy(error));
    // Before the end of either direction, a close is a reset: the other end of the circuit has gone.
    socket.once('close', () => {
      if (!this.readableEnded && !socket.readableEnded) this.destroy(netError('ECONNRESET', 'read'));
      else if (!this.writableFinished) this.destroy(netError('ECONNRESET', 'write'));
    });
    this.emit('connect');
  }

  override _read(): void {
    this.socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.whenOpen(() => (this.socket as Socket).write(chunk, callback));
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.whenOpen(() => (this.socket as Socket).end(callback));
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.socket?.destroy();
    callback(error);
  }

  private whenOpen(then: () => void): void {
    if (this.socket !== undefined) then();
    else this.once('connect', then);
  }
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
