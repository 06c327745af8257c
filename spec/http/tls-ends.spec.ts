// The ends of TLS connections: what is on its way when one side ends arrives, whatever `allowHalfOpen` is.

import { once } from 'node:events';
import { createServer as createHttps, get } from 'node:https';
import { createServer as createNet, type Socket } from 'node:net';
import { connect, createSecureContext, createServer as createTls, TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { CARRIERS, type Carrier, type Place } from './carriers.js';

const MIB = 1024 * 1024;
const SERVICE = 'secured';

describe.each(CARRIERS)('TLS over $name', ({ open }) => {
  let carrier: Carrier;
  beforeEach(async () => {
    watchHandles();
    carrier = await open();
  });
  afterEach(async () => {
    await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  async function secured(place: Place, ca: string): Promise<TLSSocket> {
    const socket = connect({ socket: place.connect() as Socket, ca, servername: SERVICE });
    await within('the handshake', once(socket, 'secureConnect'));
    return socket;
  }

  async function countEcho(socket: TLSSocket, bytes: number): Promise<number> {
    let received = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    const closed = once(socket, 'close');
    socket.end(Buffer.alloc(bytes, 'x'));
    await within('the end', closed, 20_000);
    return received;
  }

  it('brings back all that a client has sent before its end', async () => {
    const certificate = await certificateFor(SERVICE);
    const server = createTls(certificate, (socket) => socket.pipe(socket));
    const place = await carrier.serve(server);
    expect(await countEcho(await secured(place, certificate.cert), 7 * MIB)).toBe(7 * MIB);
  });

  it('brings back all of it where TLS begins on a socket that was accepted, as after STARTTLS', async () => {
    const certificate = await certificateFor(SERVICE);
    const server = createNet((socket) => {
      socket.on('error', () => {});
      const secure = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(certificate) });
      secure.pipe(secure);
    });
    const place = await carrier.serve(server);
    expect(await countEcho(await secured(place, certificate.cert), 7 * MIB)).toBe(7 * MIB);
  });

  it('ends both halves of a socket whose server leaves none half-open', async () => {
    const certificate = await certificateFor(SERVICE);
    const server = createTls(certificate);
    const place = await carrier.serve(server);
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const near = await secured(place, certificate.cert);
    const [far] = await accepted;
    const closed = Promise.all([once(far, 'close'), once(near, 'close')]);
    far.resume();
    near.resume().end();
    await within('both ends', closed);
    expect(far.allowHalfOpen).toBe(false);
  });

  it('brings a whole body to a client that reads slowly', async () => {
    const certificate = await certificateFor(SERVICE);
    const server = createHttps(certificate, (_message, response) => {
      response.setHeader('connection', 'close');
      response.end(Buffer.alloc(60_000, 'x'));
    });
    const place = await carrier.serve(server);
    const agent = carrier.secureAgent({ ca: certificate.cert, servername: SERVICE });
    const request = get({ ...place, agent });
    const [response] = await within('the answer', once(request, 'response'));
    let received = 0;
    // Everything has been sent, ended and closed long before it is read.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    for await (const chunk of response) {
      received += chunk.length;
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(received).toBe(60_000);
  });
});
