// Unmodified node:http2: its servers bound by name, its clients with the option `createConnection`.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import tls from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { readToEnd } from '../support/testnet.js';
import { emitted } from './emitted.js';
import { digestOf, randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';

const MIB = 1024 * 1024;

type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** Since Node 20.12 and 21.7. */
type HandshakeOfServer = (socket: Duplex) => ServerHttp2Session;
const { performServerHandshake } = http2 as unknown as { performServerHandshake: HandshakeOfServer };

/** Echoes the body of each stream. */
function echo(stream: ServerHttp2Stream): void {
  stream.on('error', () => {});
  stream.respond({ ':status': 200 });
  stream.pipe(stream);
}

describe('node:http2', () => {
  const nodes = linkedNodes();

  function bind(server: Http2Server | Http2SecureServer, onStream: StreamHandler = echo): void {
    server.on('stream', onStream);
    server.on('sessionError', () => {});
    nodes.listener.bind('api', server);
  }

  function open(socket: Duplex, authority = 'http://api'): ClientHttp2Session {
    const session = http2.connect(authority, { createConnection: () => socket });
    nodes.finally(() => session.destroy());
    session.on('error', () => {}); // Specs look at 'close' and at the streams.
    return session;
  }

  async function connected(socket: Duplex = nodes.joiner.dial('api'), authority?: string): Promise<ClientHttp2Session> {
    const session = open(socket, authority);
    await within('the session', once(session, 'connect'));
    return session;
  }

  function post(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const stream = session.request({ ':method': 'POST', ...headers });
    stream.on('error', () => {});
    return stream;
  }

  async function echoed(session: ClientHttp2Session, body: Buffer): Promise<Buffer> {
    const stream = post(session);
    stream.end(body);
    return within('an echo', readToEnd(stream));
  }

  it('answers a request with headers and trailers', async () => {
    bind(http2.createServer(), (stream, headers) => {
      stream.respond({ ':status': 201, 'x-path': headers[':path'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }));
      stream.end('body');
    });
    const session = await connected();
    const stream = session.request({ ':path': '/here' });
    const trailers = emitted<IncomingHttpHeaders>(stream, 'trailers');
    expect(await within('the head', emitted(stream, 'response'))).toMatchObject({ ':status': 201, 'x-path': '/here' });
    expect(String(await within('the body', readToEnd(stream)))).toBe('body');
    expect(await within('the trailers', trailers)).toMatchObject({ 'x-sum': '42' });
  });

  it('carries 2,000 streams at once over one socket', async () => {
    bind(http2.createServer({ settings: { maxConcurrentStreams: 4000 } }));
    const session = await connected();
    const bodies = Array.from({ length: 2000 }, () => randomBytes(1000));
    const echoes = await Promise.all(bodies.map((body) => echoed(session, body)));
    expect(echoes.every((back, number) => back.equals(bodies[number]))).toBe(true);
  });

  it('carries 16 MiB each way on one stream, beside small ones', async () => {
    bind(http2.createServer());
    const session = await connected();
    const { source, digest } = randomSource(16 * MIB);
    const stream = post(session);
    const large = Promise.all([digestOf(stream), pipeline(source, stream)]);
    for (let count = 0; count < 50; count++) {
      const body = randomBytes(100);
      expect((await echoed(session, body)).equals(body)).toBe(true);
    }
    const [received] = await within('the large body', large);
    expect(received).toBe(digest());
  });

  it('keeps answering when the client has ended its half', async () => {
    bind(http2.createServer(), (stream) => {
      stream.respond();
      stream.resume().once('end', () => stream.end(Buffer.alloc(4 * MIB, 'a')));
    });
    const stream = post(await connected());
    stream.end('a short body');
    expect(await within('the answer', readToEnd(stream))).toHaveLength(4 * MIB);
  });

  it('resets one stream and goes on with the others', async () => {
    bind(http2.createServer(), (stream, headers) => {
      stream.on('error', () => {});
      if (headers['x-reset'] === undefined) echo(stream);
      else stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
    const session = await connected();
    const stream = post(session, { 'x-reset': 'yes' });
    await within('the close', emitted(stream.resume(), 'close'));
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(String(await echoed(session, Buffer.from('still here')))).toBe('still here');
  });

  it('notifies the server of a stream that the client cancels', async () => {
    const aborted = new Promise<number>((resolve) => {
      bind(http2.createServer(), (stream) => {
        stream.on('error', () => {});
        stream.once('close', () => resolve(stream.rstCode ?? -1));
        stream.respond();
        stream.write('the beginning');
      });
    });
    const stream = post(await connected());
    await within('the beginning', once(stream, 'data'));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    expect(await within('the close', aborted)).toBe(http2.constants.NGHTTP2_CANCEL);
  });

  it('pings, and takes new settings and a larger window', async () => {
    bind(http2.createServer());
    const session = await connected();
    const pong = new Promise<Buffer>((resolve, reject) => {
      session.ping(Buffer.from('8 bytes!'), (error, _durationMs, payload) => {
        if (error === null) resolve(payload);
        else reject(error);
      });
    });
    expect(String(await within('pong', pong))).toBe('8 bytes!');
    session.setLocalWindowSize(8 * MIB);
    const settled = emitted(session, 'localSettings');
    session.settings({ initialWindowSize: 4 * MIB });
    await within('the settings', settled);
    const body = randomBytes(4 * MIB);
    expect((await echoed(session, body)).equals(body)).toBe(true);
  });

  it('closes a session gracefully: the open stream finishes, and the socket closes', async () => {
    bind(http2.createServer());
    const socket = nodes.joiner.dial('api');
    const session = await connected(socket);
    const stream = post(session);
    stream.write('first words, ');
    await within('the first echo', once(stream, 'readable'));
    const closed = Promise.all([emitted(session, 'close'), emitted(socket, 'close')]);
    session.close();
    stream.end('last words');
    expect(String(await within('the echo', readToEnd(stream)))).toBe('first words, last words');
    await within('the close', closed);
  });

  it('gets GOAWAY from the server', async () => {
    const server = http2.createServer();
    const serverSession = emitted<ServerHttp2Session>(server, 'session');
    bind(server);
    const session = await connected();
    const goaway = emitted(session, 'goaway');
    const closed = emitted(session, 'close');
    (await within('the session of the server', serverSession)).close();
    await within('goaway', goaway);
    await within('the close', closed);
  });

  it('closes both ends when the link is lost', async () => {
    const server = http2.createServer();
    const serverSession = emitted<ServerHttp2Session>(server, 'session');
    bind(server);
    const session = await connected();
    const stream = post(session);
    stream.write('the beginning');
    await within('the beginning', once(stream, 'data'));
    const far = await within('the session of the server', serverSession);
    const closed = Promise.all([session, stream, far].map((end) => emitted(end, 'close')));
    const failed = emitted<Error>(session, 'error');
    nodes.cut();
    expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET' });
    await within('the closes', closed);
  });

  it('serves requests in the style of node:http', async () => {
    const server = http2.createServer((request, response) => {
      response.end(`${request.method} ${request.url}`);
    });
    nodes.listener.bind('api', server);
    const session = await connected();
    const stream = session.request({ ':path': '/here' });
    expect(String(await within('the answer', readToEnd(stream)))).toBe('GET /here');
  });

  it('has the addresses of both ends', async () => {
    const server = http2.createServer();
    const serverSession = emitted<ServerHttp2Session>(server, 'session');
    bind(server);
    const session = await connected();
    await within('the settings of the server', once(session, 'remoteSettings'));
    const near = session.socket;
    const far = (await within('the session of the server', serverSession)).socket;
    expect([near.remoteAddress, far.remoteAddress]).toEqual([`@${nodes.listener.id}`, `@${nodes.joiner.id}`]);
    expect([near.localAddress, far.localAddress]).toEqual([far.remoteAddress, near.remoteAddress]);
    expect([near.localPort, far.localPort]).toEqual([far.remotePort, near.remotePort]);
  });

  it.each(['a session of a client', 'a session of a server'])(
    'holds the process open unless unrefed: %s',
    async (which) => {
      const server = http2.createServer();
      const serverSession = emitted<ServerHttp2Session>(server, 'session');
      bind(server);
      const near = await connected();
      const far = await within('the session of the server', serverSession);
      const [session, node] = which.endsWith('client') ? [near, nodes.joiner] : [far, nodes.listener];
      const held = node.stats().holds;
      session.unref();
      expect(node.stats().holds).toBe(held - 1);
      session.ref();
      expect(node.stats().holds).toBe(held);
    },
  );

  it('speaks TLS inside the socket', async () => {
    const { cert: ca, key } = await certificateFor('api');
    bind(http2.createSecureServer({ cert: ca, key }));
    const socket = nodes.joiner.dial('api');
    const secure = tls.connect({ socket, servername: 'api', ca, ALPNProtocols: ['h2'] });
    const session = await connected(secure, 'https://api');
    const body = randomBytes(4 * MIB);
    expect((await echoed(session, body)).equals(body)).toBe(true);
    expect([session.encrypted, session.alpnProtocol]).toEqual([true, 'h2']);
  });

  it('makes a session of one accepted socket', async () => {
    nodes.listener.bind('api', (socket) => {
      const session = performServerHandshake(socket);
      session.on('error', () => {});
      session.on('stream', echo);
    });
    const session = await connected();
    const body = randomBytes(MIB);
    expect((await echoed(session, body)).equals(body)).toBe(true);
  });
});
