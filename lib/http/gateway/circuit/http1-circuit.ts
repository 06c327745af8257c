// One circuit to a service on which requests of HTTP/1.1 follow each other. Requests are written as text and answers read by
// ResponseParser: node:http would make a request, a response and two sets of listeners for each.

import { netError, starlaneError } from '../../../errors.js';
import type { Socket } from '../../../socket/socket.js';
import { dateNow } from '../../../util/runtime/real-timers.js';
import { fieldLines, type HeaderList } from '../headers.js';
import type { OutboundRequest, RequestSink } from './outbound.js';
import { type AnswerHead, type AnswerSink, ResponseParser } from './response-parser.js';

/** Methods whose requests usually have no body. */
const WITHOUT_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE']);

export interface CircuitOwner {
  /** The answer is read to its end and the circuit can carry another request. */
  onFree(circuit: Http1Circuit): void;
  /** The circuit has closed. */
  onGone(circuit: Http1Circuit): void;
}

export class Http1Circuit implements AnswerSink, OutboundRequest {
  /** The node at the other end; empty before it is connected. */
  nodeId = '';
  /** The port there. */
  port = 0;
  /** When it was dialled, in ms. */
  readonly sinceMs = dateNow();
  /** Until when it may wait for a request, in ms. */
  idleUntilMs = 0;
  /** Requests before this one. */
  served = 0;
  /** Seconds that the server keeps it when idle, as far as it has said so. */
  keepAliveS: number | undefined;
  /** Closed after the request that it carries. */
  isRetired = false;
  private readonly parser = new ResponseParser(this);
  private sink: RequestSink | undefined;
  private isChunked = false;
  private isSent = true;
  private keepsAlive = true;
  /** Whether a server may have taken the request otherwise than it was meant, so that nothing may follow it. */
  private isDoubtful = false;
  /** Bytes of the body that the head has announced and that have not been written; undefined where it has announced none. */
  private leftBytes: number | undefined;

  constructor(
    readonly key: string,
    readonly socket: Socket,
    private readonly owner: CircuitOwner,
  ) {
    socket.on('connect', () => this.onConnect());
    socket.on('data', (chunk: Buffer) => this.onBytes(chunk));
    socket.on('end', () => this.onSocketEnd());
    socket.on('drain', () => this.sink?.onDrain());
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.onClose());
  }

  /** Whether it can carry a request now. */
  get isUsable(): boolean {
    const { socket } = this;
    // What waits in the socket would be taken for the next answer.
    const isQuiet = socket.readableLength === 0 && !this.parser.isBusy && this.parser.isInStep;
    return !this.isRetired && !socket.destroyed && socket.writable && socket.readable && isQuiet;
  }

  /** Whether bytes of the answer have come. */
  get hasAnswer(): boolean {
    return this.parser.hasBegun;
  }

  /** Whether the service has it. */
  get isConnected(): boolean {
    return !this.socket.connecting;
  }

  /**
   * Sends a request. `head` is all of it but the body. The body follows by `write` and `end` if there is one: in chunks, or as many bytes as
   * the head says, which is `body`.
   */
  send(head: string, method: string, sink: RequestSink, body: 'none' | 'chunked' | number, upgrades: boolean): void {
    this.sink = sink;
    this.isChunked = body === 'chunked';
    this.isSent = body === 'none';
    this.leftBytes = typeof body === 'number' ? body : undefined;
    this.keepsAlive = true;
    // Some servers do not read the body of such a request, and would take it for the next one.
    this.isDoubtful = upgrades || (!this.isSent && WITHOUT_BODY.has(method));
    this.parser.expect(method, upgrades);
    this.socket.write(head, 'latin1');
    if (this.isConnected) sink.onConnected();
  }

  /** Returns whether more may be written at once. */
  write(chunk: Buffer): boolean {
    const { socket } = this;
    if (!this.isChunked) {
      this.leftBytes = (this.leftBytes ?? 0) - chunk.length;
      // The rest would be the next request.
      if (this.leftBytes < 0) this.fail(starlaneError('ERR_STARLANE_MESSAGE', 'the body is longer than announced'));
      return this.leftBytes < 0 || socket.write(chunk);
    }
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    socket.write(chunk);
    return socket.write('\r\n', 'latin1');
  }

  end(trailers: HeaderList): void {
    if ((this.leftBytes ?? 0) > 0) {
      this.fail(starlaneError('ERR_STARLANE_MESSAGE', 'the body is shorter than announced'));
      return;
    }
    if (this.isChunked) this.socket.write(`0\r\n${fieldLines(trailers)}\r\n`, 'latin1');
    this.isSent = true;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends the request without its answer. */
  abort(): void {
    this.sink = undefined;
    this.socket.destroy();
  }

  /** Returns the socket of a circuit whose answer was 101, and what has come after the answer. */
  detach(): { socket: Socket; rest: Buffer } {
    const { socket } = this;
    this.sink = undefined;
    this.isRetired = true;
    for (const event of ['connect', 'data', 'end', 'drain']) socket.removeAllListeners(event);
    return { socket, rest: this.parser.takeRest() };
  }

  /** Closes it now, or after its request. */
  retire(): void {
    this.isRetired = true;
    if (this.sink === undefined) this.socket.destroy();
  }

  // --- the answer ---

  onInformational(status: number, headers: HeaderList): void {
    this.sink?.onInformational(status, headers);
  }

  onHead(head: AnswerHead): void {
    this.keepsAlive = head.keepsAlive;
    this.keepAliveS = head.keepAliveS ?? this.keepAliveS;
    this.sink?.onHead(head);
  }

  onData(chunk: Buffer): void {
    this.sink?.onData(chunk);
  }

  onEnd(trailers: HeaderList): void {
    const { sink } = this;
    this.sink = undefined;
    this.served++;
    // An answer that comes before the whole request leaves the rest of the request without a reader.
    const isFree = this.isSent && this.keepsAlive && !this.isDoubtful && this.isUsable;
    // Its reader may have been slow. The next one has to get what comes.
    this.socket.resume();
    if (isFree) this.owner.onFree(this);
    else this.socket.destroySoon();
    sink?.onEnd(trailers);
  }

  // --- the socket ---

  private onConnect(): void {
    const { peer, remotePort } = this.socket;
    this.nodeId = peer?.id ?? '';
    this.port = remotePort ?? 0;
    this.sink?.onConnected();
  }

  private onBytes(chunk: Buffer): void {
    try {
      this.parser.push(chunk);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private onSocketEnd(): void {
    if (!this.parser.finish())
      this.fail(netError('ECONNRESET', 'read', undefined, new Error('the answer is not whole')));
    else this.socket.destroy();
  }

  private onClose(): void {
    this.owner.onGone(this);
    this.fail(netError('ECONNRESET', 'read'));
  }

  private fail(error: Error): void {
    const { sink } = this;
    this.sink = undefined;
    this.socket.destroy();
    sink?.onFailure(error);
  }
}
