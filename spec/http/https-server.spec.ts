// An unchanged https.Server given to bind.

import { once } from 'node:events';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { type ConnectionOptions, connect, createSecureContext, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { CARRIERS, type Carrier, type Place } from './carriers.js';
import { exchange, readUntil } from './exchange.js';

describe.each(CARRIERS)('an https.Server over $name', ({ open }) => {
  let carrier: Carrier;
  beforeEach(async () => {
    watchHandles();
    carrier = await open();
  });
  afterEach(async () => {
    await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  async function serve(options: ServerOptions): Promise<{ server: Server; place: Place }> {
    const server = createServer(options, (message, response) => {
      response.end(`${(message.socket as TLSSocket).servername} ${message.url}`);
    });
    return { server, place: await carrier.serve(server) };
  }

  async function secured(place: Place, options: ConnectionOptions): Promise<TLSSocket> {
    const socket = connect({ ...options, socket: place.connect() });
    // The end of the carrier is no error of the spec.
    socket.on('error', () => {});
    await within('the handshake', once(socket, 'secureConnect'));
    return socket;
  }

  it('shows the certificate of the host that is asked for', async () => {
    const certificates = { shop: await certificateFor('shop'), web: await certificateFor('web') };
    const asked: string[] = [];
    const { place } = await serve({
      SNICallback(host, callback) {
        asked.push(host);
        const found = certificates[host as keyof typeof certificates];
        if (found === undefined) callback(new Error(`no ${host} here`));
        else callback(null, createSecureContext(found));
      },
    });
    for (const host of ['shop', 'web'] as const) {
      const agent = carrier.secureAgent({ ca: certificates[host].cert, servername: host });
      const { body, socket } = await exchange({ ...place, protocol: 'https:', path: '/page', agent });
      expect(body).toBe(`${host} /page`);
      expect((socket as TLSSocket).getPeerCertificate().subject.CN).toBe(host);
    }
    expect(asked).toEqual(['shop', 'web']);
  });

  it('drops a client that asks for a host it has no certificate for, and serves on', async () => {
    const web = await certificateFor('web');
    const { server, place } = await serve({
      SNICallback(host, callback) {
        if (host === 'web') callback(null, createSecureContext(web));
        else callback(new Error(`no ${host} here`));
      },
    });
    const refused = once(server, 'tlsClientError') as Promise<[Error]>;
    const socket = connect({ socket: place.connect(), servername: 'shop' });
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
    expect((await within('the error', failed)).code).toMatch(/^(ECONNRESET|ERR_SSL_)/);
    expect((await within('the error of the server', refused))[0].message).toBe('no shop here');
    const agent = carrier.secureAgent({ ca: web.cert, servername: 'web' });
    expect((await exchange({ ...place, protocol: 'https:', agent })).body).toBe('web /');
  });

  it('reports a client that speaks no TLS, and closes it', async () => {
    const { server, place } = await serve(await certificateFor('web'));
    const refused = once(server, 'tlsClientError') as Promise<[NodeJS.ErrnoException]>;
    const socket = place.connect();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    expect((await within('the error', refused))[0].code).toBe('ERR_SSL_HTTP_REQUEST');
    await within('the close', closed);
  });

  it('closes a client that does not finish the handshake', async () => {
    const { server, place } = await serve({ ...(await certificateFor('web')), handshakeTimeout: 20 });
    const refused = once(server, 'tlsClientError') as Promise<[NodeJS.ErrnoException]>;
    const socket = place.connect();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    expect((await within('the error', refused))[0].code).toBe('ERR_TLS_HANDSHAKE_TIMEOUT');
    await within('the close', closed);
  });

  it('agrees on a protocol, keeps the socket, and says when it ends', async () => {
    const web = await certificateFor('web');
    const { place } = await serve({ ...web, ALPNProtocols: ['http/1.1'] });
    const socket = await secured(place, { ca: web.cert, servername: 'web', ALPNProtocols: ['h2', 'http/1.1'] });
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.write('GET /one HTTP/1.1\r\nHost: web\r\n\r\n');
    await readUntil(socket, 'web /one');
    const ended = once(socket, 'end');
    socket.write('GET /two HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n');
    await readUntil(socket, 'web /two');
    await within('the end', ended);
  });

  it('sees a client go away in the middle', async () => {
    const web = await certificateFor('web');
    const { server, place } = await serve(web);
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const socket = await secured(place, { ca: web.cert, servername: 'web' });
    const [far] = await accepted;
    const closed = new Promise((resolve) => far.once('close', resolve));
    socket.destroy();
    await within('the close', closed);
  });
});
