// A request of HTTP/1.x, from a server of node:http.

import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { FieldKind, fieldLines, fieldOf, type HeaderList, kindOf } from '../headers.js';
import type { BodySink, Caller, Inbound } from './inbound.js';
import { lengthOf, targetOf } from './target.js';

export interface RequestLimits {
  readonly maxUrlBytes: number;
}

export class Http1Request implements Inbound {
  readonly version: '1.0' | '1.1';
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList;
  readonly hasBody: boolean;
  readonly length: number | undefined;
  readonly isExtendedConnect = false;
  bytesOut = 0;
  private sink: BodySink | undefined;

  /** @throws BadRequest */
  constructor(
    readonly caller: Caller,
    private readonly message: IncomingMessage,
    private readonly response: ServerResponse,
    limits: RequestLimits,
    readonly expectsContinue: boolean,
    readonly upgrade: string | undefined,
    private readonly upgradeHead: Buffer | undefined,
  ) {
    const { method = '', url = '', rawHeaders } = message;
    this.version = message.httpVersionMinor === 0 ? '1.0' : '1.1';
    this.method = method;
    this.headers = rawHeaders;
    const target = targetOf(method, url, rawHeaders, limits.maxUrlBytes);
    this.path = target.path;
    this.authority = target.authority;
    const { length, isChunked } = lengthOf(rawHeaders, this.version === '1.1');
    this.length = isChunked ? undefined : (length ?? 0);
    this.hasBody = isChunked || (length ?? 0) > 0;
  }

  get hasResponded(): boolean {
    return this.response.headersSent;
  }

  /** The connection has closed. Node says so only of the request whose answer is due. */
  onConnectionClose(): void {
    if (!this.response.writableFinished) this.sink?.onGone();
  }

  setSink(sink: BodySink): void {
    const { response } = this;
    this.sink = sink;
    response.on('close', () => {
      if (!response.writableFinished) sink.onGone();
    });
    response.on('drain', () => sink.onAnswerDrain());
  }

  read(): void {
    const { message, sink } = this;
    message.on('data', (chunk: Buffer) => sink?.onBody(chunk));
    message.on('end', () => sink?.onBodyEnd(message.rawTrailers));
    // The close of the response says the same.
    message.on('error', () => {});
  }

  pause(): void {
    this.message.pause();
  }

  resume(): void {
    this.message.resume();
  }

  discard(): void {
    this.message.removeAllListeners('data');
    this.message.on('error', () => {});
    this.message.resume();
  }

  informational(status: number, headers: HeaderList): void {
    const { response } = this;
    if (response.headersSent || this.version === '1.0') return;
    if (status === 100) response.writeContinue();
    else response.socket?.write(`HTTP/1.1 ${status} Information\r\n${fieldLines(headers)}\r\n`, 'latin1');
  }

  respond(status: number, reason: string, headers: HeaderList, body: 'none' | 'plain' | 'trailers'): void {
    const { response } = this;
    // Node refuses it where no trailers can follow.
    const mayFollow = body === 'trailers' && this.version === '1.1' && fieldOf(headers, 'content-length') === undefined;
    const fields = mayFollow ? headers : withoutTrailer(headers);
    if (reason === '') response.writeHead(status, fields as never);
    else response.writeHead(status, reason, fields as never);
  }

  flush(): void {
    this.response.flushHeaders();
  }

  write(chunk: Buffer): boolean {
    this.bytesOut += chunk.length;
    return this.response.write(chunk);
  }

  end(trailers: HeaderList, last?: Buffer): void {
    const { response } = this;
    this.bytesOut += last?.length ?? 0;
    // Otherwise there is nowhere to put them.
    if (trailers.length > 0 && response.chunkedEncoding) response.addTrailers(pairs(trailers) as never);
    response.end(last);
  }

  switchProtocols(headers: HeaderList): Duplex {
    const { response, message } = this;
    const socket = message.socket as Duplex;
    response.detachSocket(message.socket);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fieldLines(headers)}\r\n`, 'latin1');
    if (this.upgradeHead !== undefined && this.upgradeHead.length > 0) socket.unshift(this.upgradeHead);
    return socket;
  }

  abort(): void {
    this.message.socket.destroy();
  }

  setLast(): void {
    if (!this.response.headersSent) this.response.shouldKeepAlive = false;
  }
}

/** Returns a response that is not of a server, for the request of an upgrade, which Node leaves to its listener. */
export function responseFor(message: IncomingMessage): ServerResponse {
  const { socket } = message;
  const response = new ServerResponse(message);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on('finish', () => {
    response.detachSocket(socket);
    socket.destroySoon();
  });
  return response;
}

/** Protocols in which a service would then read requests that the gateway has not seen. */
const HIDDEN = /^(?:h2c?|http|tls)(?:$|\/)/i;

/** Returns the protocol of the header Upgrade; undefined where it may not reach a service. */
export function upgradeOf(headers: HeaderList): string | undefined {
  const names: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (kindOf(headers[index]) === FieldKind.UPGRADE) names.push(...headers[index + 1].split(','));
  }
  const protocols = names.map((name) => name.trim()).filter((name) => name !== '');
  return protocols.length === 0 || protocols.some((name) => HIDDEN.test(name)) ? undefined : protocols.join(', ');
}

function withoutTrailer(headers: HeaderList): HeaderList {
  if (fieldOf(headers, 'trailer') === undefined) return headers;
  const kept: HeaderList = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index].toLowerCase() !== 'trailer') kept.push(headers[index], headers[index + 1]);
  }
  return kept;
}

function pairs(list: HeaderList): Array<[string, string]> {
  const result: Array<[string, string]> = [];
  for (let index = 0; index < list.length; index += 2) result.push([list[index], list[index + 1]]);
  return result;
}
