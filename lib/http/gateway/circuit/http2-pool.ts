// Circuits that speak HTTP/2 without TLS, as gRPC servers do. Each is a session for many requests at once, to one instance.

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { netError, starlaneError } from '../../../errors.js';
import type { Node } from '../../../node/node.js';
import type { Socket } from '../../../socket/socket.js';
import { type HeaderList, headerObject } from '../headers.js';
import { sendTrailers } from '../trailers.js';
import type { OutboundRequest, RequestSink, ServiceDial } from './outbound.js';
import { bad, MAX_INFORMATIONAL } from './response-parser.js';

const IDLE_MS = 60_000;
/** Of one session, if the server allows as many. */
const MAX_STREAMS = 100;
const MAX_HEADER_PAIRS = 500;
/** To one instance: a server that allows no streams must not make a circuit of each request. */
const MAX_CIRCUITS = 256;

interface Circuit {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
  streams: number;
  isGoing: boolean;
}

export class Http2Pool {
  private readonly circuits = new Map<string, Circuit[]>();
  private isClosed = false;

  constructor(private readonly node: Node) {}

  get size(): number {
    let size = 0;
    for (const list of this.circuits.values()) size += list.length;
    return size;
  }

  /** Sends a request. @throws what `node.dial` throws */
  send(dial: ServiceDial, fields: Http2Head, hasBody: boolean, sink: RequestSink): OutboundRequest {
    const circuit = this.circuitTo(dial);
    return new Http2Request(circuit, fields, hasBody, sink);
  }

  close(): void {
    this.isClosed = true;
    for (const list of this.circuits.values()) for (const { session } of list) session.close();
  }

  private circuitTo(dial: ServiceDial): Circuit {
    const { address, instance } = dial;
    const key = instance === undefined ? address : `${address} ${instance.nodeId}:${instance.port}`;
    const list = this.circuits.get(key) ?? [];
    const found = list.find(({ session, streams, isGoing }) => {
      const most = Math.min(session.remoteSettings?.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS);
      return !isGoing && !session.closed && !session.destroyed && streams < most;
    });
    if (found !== undefined) return found;
    if (list.length >= MAX_CIRCUITS) throw starlaneError('ERR_STARLANE_GO_AWAY', 'too many circuits to the service');
    const circuit = this.open(dial, () => this.remove(key, circuit));
    list.push(circuit);
    this.circuits.set(key, list);
    return circuit;
  }

  private open({ address, timeoutMs, selector, secure }: ServiceDial, onClose: () => void): Circuit {
    const socket = this.node.dial(address, { timeoutMs, selector, secure });
    const session = connect('http://service', {
      createConnection: () => socket as unknown as Duplex,
      settings: { enablePush: false },
      maxHeaderListPairs: MAX_HEADER_PAIRS,
    });
    const circuit: Circuit = { session, socket, streams: 0, isGoing: false };
    // Its streams get the error as well.
    session.on('error', () => {});
    session.on('goaway', () => {
      circuit.isGoing = true;
    });
    session.on('close', onClose);
    session.setTimeout(IDLE_MS, () => {
      if (circuit.streams === 0) session.close();
    });
    return circuit;
  }

  private remove(key: string, circuit: Circuit): void {
    const list = this.circuits.get(key)?.filter((other) => other !== circuit) ?? [];
    if (list.length === 0) this.circuits.delete(key);
    else this.circuits.set(key, list);
    if (this.isClosed) circuit.socket.destroy();
  }
}

/** What a request of HTTP/2 begins with. */
export interface Http2Head {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList;
}

class Http2Request implements OutboundRequest {
  hasAnswer = false;
  private readonly stream: ClientHttp2Stream;
  private trailersIn: HeaderList = [];
  private trailersOut: HeaderList = [];
  private isDone = false;
  private informational = 0;

  constructor(
    private readonly circuit: Circuit,
    head: Http2Head,
    hasBody: boolean,
    private readonly sink: RequestSink,
  ) {
    const { session, socket } = circuit;
    const { method, path, authority, headers } = head;
    const object = {
      ...headerObject(headers),
      ':method': method,
      ':path': path,
      ':authority': authority,
      ':scheme': 'http',
    };
    const stream = session.request(object, { endStream: !hasBody, waitForTrailers: hasBody });
    this.stream = stream;
    if (circuit.streams++ === 0) session.ref();
    stream.on('wantTrailers', () => sendTrailers(stream, this.trailersOut));
    // Their last argument, a flat list, is missing in the types.
    stream.on('headers', (headers: IncomingHttpHeaders, _flags: number, raw?: string[]) =>
      this.onInformational(Number(headers[':status']), withoutPseudo(raw)),
    );
    stream.on('response', ((headers: IncomingHttpHeaders, flags: number, raw?: string[]) =>
      this.onResponse(headers, flags, withoutPseudo(raw))) as (headers: IncomingHttpHeaders, flags: number) => void);
    stream.on('trailers', ((_headers: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
      this.trailersIn = withoutPseudo(raw);
    }) as (headers: IncomingHttpHeaders, flags: number) => void);
    stream.on('drain', () => sink.onDrain());
    stream.on('error', (error) => this.fail(error));
    stream.on('close', () => this.onClose());
    if (this.isConnected) sink.onConnected();
    else socket.once('connect', () => sink.onConnected());
  }

  get nodeId(): string {
    return this.circuit.socket.peer?.id ?? '';
  }

  get isConnected(): boolean {
    return !this.circuit.socket.connecting;
  }

  write(chunk: Buffer): boolean {
    return this.stream.destroyed || this.stream.writableEnded ? true : this.stream.write(chunk);
  }

  end(trailers: HeaderList): void {
    this.trailersOut = trailers;
    if (!this.stream.destroyed) this.stream.end();
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  abort(): void {
    this.isDone = true;
    this.stream.close(constants.NGHTTP2_CANCEL);
  }

  private onInformational(status: number, raw: HeaderList): void {
    if (this.isDone) return;
    this.hasAnswer = true;
    if (++this.informational > MAX_INFORMATIONAL) this.fail(bad('too many informational answers'));
    else if (!(status >= 100 && status < 200) || status === 101) this.fail(bad('the status'));
    else {
      try {
        this.sink.onInformational(status, raw);
      } catch (error) {
        this.fail(error as Error);
      }
    }
  }

  private onResponse(headers: IncomingHttpHeaders, flags: number, raw: HeaderList): void {
    if (this.isDone) return;
    this.hasAnswer = true;
    const { stream } = this;
    const status = Number(headers[':status']);
    if (!(status >= 200 && status <= 999)) {
      this.fail(bad('the status'));
      return;
    }
    const isEmpty = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const length = headers['content-length'];
    this.sink.onHead({
      status,
      reason: '',
      headers: raw,
      length: length === undefined ? undefined : Number(length),
      isChunked: !isEmpty,
      isEmpty,
      keepsAlive: true,
      keepAliveS: undefined,
    });
    stream.on('data', (chunk: Buffer) => {
      if (!this.isDone) this.sink.onData(chunk);
    });
    stream.on('end', () => this.onEnd());
  }

  private onEnd(): void {
    if (this.isDone || this.stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    this.isDone = true;
    this.sink.onEnd(this.trailersIn);
  }

  private onClose(): void {
    const { circuit, stream } = this;
    if (--circuit.streams === 0 && !circuit.session.destroyed) circuit.session.unref();
    const { rstCode } = stream;
    this.fail(
      rstCode === constants.NGHTTP2_REFUSED_STREAM
        ? starlaneError('ERR_STARLANE_GO_AWAY')
        : netError('ECONNRESET', 'read', undefined, new Error(`HTTP/2 error ${rstCode}`)),
    );
  }

  private fail(error: Error): void {
    if (this.isDone) return;
    this.isDone = true;
    if (!this.stream.closed) this.stream.close(constants.NGHTTP2_CANCEL);
    this.sink.onFailure(error);
  }
}

function withoutPseudo(raw: HeaderList | undefined): HeaderList {
  const headers: HeaderList = [];
  for (let index = 0; raw !== undefined && index < raw.length; index += 2) {
    if (!raw[index].startsWith(':')) headers.push(raw[index], raw[index + 1]);
  }
  return headers;
}
