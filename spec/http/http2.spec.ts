// node:http2 over the sockets of a node, and unchanged servers of it given to bind.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Server } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { readAll } from '../support/socket-pair.js';
import { CARRIERS, type Carrier, type Place } from './carriers.js';
import { exchange } from './exchange.js';

const LARGE_BYTES = 8 * 1024 * 1024;
const PART_BYTES = 64 * 1024;

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

interface Variant {
  readonly name: string;
  serve(carrier: Carrier, onStream: OnStream): Promise<{ server: Http2Server | Http2SecureServer; place: Place }>;
  connect(place: Place, options?: ClientSessionOptions): Promise<ClientHttp2Session>;
}

const VARIANTS: readonly Variant[] = [
  {
    name: 'without TLS',
    async serve(carrier, onStream) {
      const server = createServer();
      server.on('stream', onStream);
      return { server, place: await carrier.serve(server as unknown as Server) };
    },
    async connect(place, options) {
      return connect('http://web', { ...options, createConnection: () => place.connect() as Duplex });
    },
  },
  {
    name: 'with TLS',
    async serve(carrier, onStream) {
      const server = createSecureServer({ ...(await certificateFor('web')), allowHTTP1: true });
      server.on('stream', onStream);
      return { server, place: await carrier.serve(server as unknown as Server) };
    },
    async connect(place, options) {
      const { cert } = await certificateFor('web');
      const createConnection = (): Duplex =>
        connectTls({ socket: place.connect(), ca: cert, servername: 'web', ALPNProtocols: ['h2'] });
      return connect('https://web', { ...options, createConnection });
    },
  },
];

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function* partsOf(bytes: Buffer): Iterable<Buffer> {
  for (let start = 0; start < bytes.length; start += PART_BYTES) yield bytes.subarray(start, start + PART_BYTES);
}

const combinations = CARRIERS.flatMap((carrier) =>
  VARIANTS.map((variant) => ({ what: `${variant.name}, over ${carrier.name}`, open: carrier.open, variant })),
);

describe.each(combinations)('http2 $what', ({ open, variant }) => {
  let carrier: Carrier;
  let sessions: ClientHttp2Session[];
  beforeEach(async () => {
    watchHandles();
    carrier = await open();
    sessions = [];
  });
  afterEach(async () => {
    for (const session of sessions) session.destroy();
    await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  async function join(place: Place, options?: ClientSessionOptions): Promise<ClientHttp2Session> {
    const session = await variant.connect(place, options);
    sessions.push(session);
    session.on('error', () => {});
    return session;
  }

  async function post(session: ClientHttp2Session, path: string, body?: Buffer): Promise<Buffer> {
    const stream = session.request({ ':method': 'POST', ':path': path });
    // In parts: what is written at once counts for maxSessionMemory.
    Readable.from(partsOf(body ?? Buffer.alloc(0))).pipe(stream);
    return within(`the answer to ${path}`, readAll(stream));
  }

  const echo: OnStream = (stream, headers) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'x-path': headers[':path'] });
    stream.pipe(stream);
  };

  it('carries many streams at once', async () => {
    const { place } = await variant.serve(carrier, echo);
    const session = await join(place);
    await within('the connection', once(session, 'connect'));
    const bodies = Array.from({ length: 200 }, (_, index) => Buffer.from(`body ${index} `.repeat(index)));
    const answers = await Promise.all(bodies.map((body, index) => post(session, `/${index}`, body)));
    expect(answers.map(String)).toEqual(bodies.map(String));
  });

  it('carries large bodies both ways at once', async () => {
    const { place } = await variant.serve(carrier, echo);
    const session = await join(place);
    const bodies = [randomBytes(LARGE_BYTES), randomBytes(LARGE_BYTES)];
    const answers = await Promise.all(bodies.map((body, index) => post(session, `/${index}`, body)));
    expect(answers.map(digest)).toEqual(bodies.map(digest));
  });

  it('carries headers, trailers and a status', async () => {
    const { place } = await variant.serve(carrier, (stream, headers) => {
      stream.respond({ ':status': 418, 'x-authority': headers[':authority'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'bye' }));
      stream.end('short');
    });
    const session = await join(place);
    const stream = session.request({ ':path': '/' });
    const trailers = once(stream, 'trailers');
    const [headers] = await within('the headers', once(stream, 'response'));
    expect(headers).toMatchObject({ ':status': 418, 'x-authority': expect.stringMatching(/^web(:|$)/) });
    expect(`${await readAll(stream)}`).toBe('short');
    expect((await within('the trailers', trailers))[0]).toMatchObject({ 'x-end': 'bye' });
  });

  it('makes a sender wait whose stream is not read, and not the others', async () => {
    const stuck: ServerHttp2Stream[] = [];
    const { place } = await variant.serve(carrier, (stream, headers) => {
      if (headers[':path'] !== '/stuck') {
        echo(stream, headers);
        return;
      }
      stuck.push(stream);
      stream.on('error', () => {});
      stream.respond();
    });
    const session = await join(place);
    const sender = session.request({ ':method': 'POST', ':path': '/stuck' });
    sender.on('error', () => {});
    const waits = new Promise<void>((resolve) => {
      const chunk = Buffer.alloc(64 * 1024);
      const send = (): void => {
        if (sender.write(chunk)) setImmediate(send);
        else resolve();
      };
      send();
    });
    await within('a full stream', waits);
    expect(`${await post(session, '/other', Buffer.from('goes through'))}`).toBe('goes through');
    sender.destroy();
  });

  it('cancels a stream, and serves on', async () => {
    const codes: number[] = [];
    const { place } = await variant.serve(carrier, (stream, headers) => {
      if (headers[':path'] === '/cancel') stream.on('close', () => codes.push(stream.rstCode)).on('error', () => {});
      else echo(stream, headers);
    });
    const session = await join(place);
    const stream = session.request({ ':path': '/cancel' });
    const closed = once(stream, 'close');
    await within('the connection', once(session, 'remoteSettings'));
    stream.close(constants.NGHTTP2_CANCEL);
    await within('the close', closed);
    expect(`${await post(session, '/next', Buffer.from('next'))}`).toBe('next');
    expect(codes).toEqual([constants.NGHTTP2_CANCEL]);
  });

  it('answers pings', async () => {
    const { place } = await variant.serve(carrier, echo);
    const session = await join(place);
    await within('the connection', once(session, 'connect'));
    const payload = Buffer.from('12345678');
    const answer = new Promise((resolve, reject) => {
      session.ping(payload, (error, _duration, echoed) => (error ? reject(error) : resolve(`${echoed}`)));
    });
    expect(await within('the answer', answer)).toBe('12345678');
  });

  it('ends when the server says so, after the streams that are open', async () => {
    let far: ServerHttp2Session | undefined;
    let held: ServerHttp2Stream | undefined;
    const { server, place } = await variant.serve(carrier, (stream, headers) => {
      if (headers[':path'] === '/held') {
        held = stream;
        stream.respond();
        stream.write('begin ');
      } else echo(stream, headers);
    });
    server.on('session', (session: ServerHttp2Session) => {
      far = session;
    });
    const session = await join(place);
    const stream = session.request({ ':path': '/held' });
    await within('the headers', once(stream, 'response'));
    const body = readAll(stream);
    const goaway = once(session, 'goaway');
    const closed = once(session, 'close');
    far?.close();
    await within('the go away', goaway);
    held?.end('end');
    expect(`${await within('the body', body)}`).toBe('begin end');
    await within('the close', closed);
    expect(session.destroyed).toBe(true);
  });

  it('breaks off its streams when the server destroys the session', async () => {
    let far: ServerHttp2Session | undefined;
    const { server, place } = await variant.serve(carrier, (stream) => {
      stream.on('error', () => {});
      stream.respond();
    });
    server.on('session', (session: ServerHttp2Session) => {
      far = session;
      session.on('error', () => {});
    });
    const session = await join(place);
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => {});
    const broken = once(stream, 'close');
    const closed = once(session, 'close');
    await within('the headers', once(stream, 'response'));
    far?.destroy(undefined, constants.NGHTTP2_INTERNAL_ERROR);
    await within('the close of the stream', broken);
    await within('the close', closed);
    expect(session.destroyed).toBe(true);
  });

  it('ends when the client closes its session', async () => {
    const { server, place } = await variant.serve(carrier, echo);
    const accepted = once(server, 'session') as Promise<[ServerHttp2Session]>;
    const session = await join(place);
    expect(`${await post(session, '/', Buffer.from('one'))}`).toBe('one');
    const [far] = await accepted;
    const closed = once(far, 'close');
    session.close();
    await within('the close at the server', closed);
  });

  it('sees it when the socket breaks', async () => {
    let socket: Duplex | undefined;
    const { server, place } = await variant.serve(carrier, (stream) => {
      stream.on('error', () => {});
      stream.respond();
    });
    server.on(variant.name === 'with TLS' ? 'secureConnection' : 'connection', (accepted: Duplex) => {
      socket = accepted;
    });
    const session = await join(place);
    const stream = session.request({ ':path': '/' });
    // Not events.once: an error on the way is welcome.
    stream.on('error', () => {});
    const closed = new Promise((resolve) => stream.once('close', resolve));
    await within('the headers', once(stream, 'response'));
    socket?.destroy();
    await within('the close of the stream', closed);
    expect(stream.rstCode).not.toBe(constants.NGHTTP2_NO_ERROR);
  });

  it('times out a session on which nothing happens', async () => {
    const { place } = await variant.serve(carrier, echo);
    const session = await join(place);
    await within('the connection', once(session, 'connect'));
    const timedOut = once(session, 'timeout');
    session.setTimeout(20);
    await within('the timeout', timedOut);
  });
});

describe.each(CARRIERS)('an http2 server that allows HTTP/1 over $name', ({ open }) => {
  it('answers clients of both', async () => {
    const carrier = await open();
    const web = await certificateFor('web');
    const server = createSecureServer({ ...web, allowHTTP1: true }, (message, response) => {
      response.end(`HTTP/${message.httpVersion}`);
    });
    const place = await carrier.serve(server as unknown as Server);
    const agent = carrier.secureAgent({ ca: web.cert, servername: 'web' });
    expect((await exchange({ ...place, protocol: 'https:', agent })).body).toBe('HTTP/1.1');
    const session = await VARIANTS[1].connect(place);
    expect(`${await readAll(session.request({ ':path': '/' }))}`).toBe('HTTP/2.0');
    session.destroy();
    await carrier[Symbol.asyncDispose]();
  });
});
