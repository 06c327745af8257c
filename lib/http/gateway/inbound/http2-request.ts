// A request of HTTP/2, a stream of a server of node:http2. nghttp2 has checked the pseudo headers, refused connection headers, and holds
// the body to its Content-Length; what is checked here is what matters when the request goes on as HTTP/1.1.

import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  FieldKind,
  fieldOf,
  type HeaderList,
  headerObject,
  indexOfField,
  isToken,
  isValue,
  kindOf,
} from '../headers.js';
import { sendTrailers } from '../trailers.js';
import type { RequestLimits } from './http1-request.js';
import { BadRequest, type BodySink, type Caller, type Inbound } from './inbound.js';
import { checkAuthority, checkPath } from './target.js';

export class Http2Request implements Inbound {
  readonly version = '2';
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList = [];
  readonly hasBody: boolean;
  readonly length: number | undefined;
  readonly upgrade: string | undefined;
  readonly isExtendedConnect: boolean;
  readonly expectsContinue: boolean;
  bytesOut = 0;
  /** Whether the gateway has broken it off, and not the client. */
  isAborted = false;
  private sink: BodySink | undefined;
  private trailersIn: HeaderList = [];
  private trailersOut: HeaderList = [];

  /** @throws BadRequest */
  constructor(
    readonly caller: Caller,
    readonly stream: ServerHttp2Stream,
    pseudo: IncomingHttpHeaders,
    rawHeaders: HeaderList,
    limits: RequestLimits,
  ) {
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index];
      if (name.startsWith(':')) continue;
      this.add(name, rawHeaders[index + 1]);
    }
    const host = fieldOf(this.headers, 'host');
    const authority = pseudo[':authority'] ?? host ?? '';
    if (authority !== '') checkAuthority(authority);
    if (host !== undefined && host.toLowerCase() !== authority.toLowerCase())
      throw new BadRequest(400, 'Host is not :authority');
    this.authority = authority;
    const protocol = pseudo[':protocol'] as string | undefined;
    const method = pseudo[':method'] ?? '';
    this.isExtendedConnect = method === 'CONNECT' && protocol !== undefined;
    if (!isToken(method) || (method === 'CONNECT' && !this.isExtendedConnect)) throw new BadRequest(405, 'the method');
    // Others do not mean what the header Upgrade means in HTTP/1.1.
    if (protocol !== undefined && protocol !== 'websocket') throw new BadRequest(501, ':protocol');
    this.method = this.isExtendedConnect ? 'GET' : method;
    this.upgrade = protocol;
    this.path = checkPath(pseudo[':path'] ?? '', method, limits.maxUrlBytes);
    this.hasBody = !stream.endAfterHeaders && !this.isExtendedConnect;
    const length = fieldOf(this.headers, 'content-length');
    if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new BadRequest(400, 'Content-Length');
    this.length = this.hasBody ? (length === undefined ? undefined : Number(length)) : 0;
    this.expectsContinue = fieldOf(this.headers, 'expect')?.toLowerCase() === '100-continue';
  }

  get hasResponded(): boolean {
    return this.stream.headersSent;
  }

  setSink(sink: BodySink): void {
    const { stream } = this;
    this.sink = sink;
    stream.on('error', () => {});
    // A client may reset it with any code, also with that of no error. What has its answer already does not mind.
    stream.on('aborted', () => sink.onGone());
    stream.on('close', () => sink.onGone());
    stream.on('drain', () => sink.onAnswerDrain());
    stream.on('wantTrailers', () => sendTrailers(stream, this.trailersOut));
  }

  read(): void {
    const { stream, sink } = this;
    stream.on('trailers', ((_headers: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
      this.trailersIn = raw ?? [];
    }) as (headers: IncomingHttpHeaders, flags: number) => void);
    stream.on('data', (chunk: Buffer) => sink?.onBody(chunk));
    stream.on('end', () => {
      // A stream that is reset ends as well.
      if (!stream.aborted) sink?.onBodyEnd(this.trailersIn);
    });
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  discard(): void {
    this.stream.removeAllListeners('data');
    this.stream.resume();
  }

  informational(status: number, headers: HeaderList): void {
    const { stream } = this;
    if (!stream.headersSent && !stream.destroyed && !stream.closed)
      stream.additionalHeaders({ ...headerObject(headers), ':status': status });
  }

  respond(status: number, _reason: string, headers: HeaderList, body: 'none' | 'plain' | 'trailers'): void {
    const { stream } = this;
    if (stream.destroyed) return;
    stream.respond(
      { ...headerObject(headers), ':status': status },
      { endStream: body === 'none', waitForTrailers: body === 'trailers' },
    );
  }

  flush(): void {
    // Frames leave by themselves.
  }

  write(chunk: Buffer): boolean {
    const { stream } = this;
    if (stream.destroyed || stream.writableEnded) return true;
    this.bytesOut += chunk.length;
    return stream.write(chunk);
  }

  end(trailers: HeaderList, last?: Buffer): void {
    this.trailersOut = trailers;
    this.bytesOut += last?.length ?? 0;
    if (!this.stream.destroyed && !this.stream.writableEnded) this.stream.end(last);
  }

  switchProtocols(headers: HeaderList): Duplex {
    this.stream.respond({ ...headerObject(headers), ':status': 200 });
    return this.stream;
  }

  abort(): void {
    this.isAborted = true;
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  setLast(): void {
    // The session says GOAWAY.
  }

  onConnectionClose(): void {
    // Its stream says so.
  }

  /** @throws BadRequest */
  private add(name: string, value: string): void {
    switch (kindOf(name)) {
      case FieldKind.INVALID:
      case FieldKind.CONNECTION:
      case FieldKind.TRANSFER_ENCODING:
      case FieldKind.UPGRADE:
      case FieldKind.KEEP_ALIVE:
        throw new BadRequest(400, 'a header that HTTP/2 does not have');
      case FieldKind.COOKIE: {
        // Cookies may come in several fields (RFC 9113, section 8.2.3), and go on in one.
        const at = indexOfField(this.headers, 'cookie');
        if (at >= 0 && isValue(value)) {
          this.headers[at + 1] += `; ${value}`;
          return;
        }
        break;
      }
      case FieldKind.HOST:
      case FieldKind.CONTENT_LENGTH:
        if (fieldOf(this.headers, name) !== undefined) throw new BadRequest(400, `more than one ${name}`);
        break;
    }
    if (!isValue(value)) throw new BadRequest(400, 'the value of a header');
    this.headers.push(name, value);
  }
}
