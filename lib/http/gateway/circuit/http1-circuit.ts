// One circuit to a service on which requests of HTTP/1.1 follow each other. Requests are written as text and answers read by
// ResponseParser: node:http would make a request, a response and two sets of listeners for each.

import { netError } from '../../../errors.js';
import type { Socket } from '../../../socket/socket.js';
import { dateNow } from '../../../util/runtime/real-timers.js';
import { fieldLines, type HeaderList } from '../headers.js';
import type { OutboundRequest, RequestSink } from './outbound.js';
import { type AnswerHead, type AnswerSink, ResponseParser } from './response-parser.js';

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
    return !this.isRetired && !socket.destroyed && socket.writable && socket.readable && this.parser.isInStep;
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
   * the head says.
   */
  send(head: string, method: string, sink: RequestSink, body: 'none' | 'chunked' | 'length', upgrades: boolean): void {
    this.sink = sink;
    this.isChunked = body === 'chunked';
    this.isSent = body === 'none';
    this.keepsAlive = true;
    this.parser.expect(method, upgrades);
    this.socket.write(head, 'latin1');
    if (this.isConnected) sink.onConnected();
  }

  /** Returns whether more may be written at once. */
  write(chunk: Buffer): boolean {
    const { socket } = this;
    if (!this.isChunked) return socket.write(chunk);
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    socket.write(chunk);
    return socket.write('\r\n', 'latin1');
  }

  end(trailers: HeaderList): void {
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
    const isFree = this.isSent && this.keepsAlive && this.isUsable;
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
