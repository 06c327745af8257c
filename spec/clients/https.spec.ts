// TLS inside of dialled sockets: node:https and node:tls as they are, the servers bound by name.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:https';
import tls, { type PeerCertificate, type TLSSocket } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { readToEnd } from '../support/testnet.js';
import { emitted } from './emitted.js';
import { answerTo, digestOf, headOf, randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';

const MIB = 1024 * 1024;

describe('TLS inside of a socket', () => {
  const nodes = linkedNodes();

  /** A server that greets with the requested name, and has a certificate for each name. */
  async function bindNamed(): Promise<void> {
    const server = createServer(await certificateFor('web'), (incoming, response) => {
      response.end((incoming.socket as TLSSocket & { servername: string }).servername);
    });
    for (const name of ['red', 'blue']) server.addContext(name, await certificateFor(name));
    nodes.listener.bind('web', server);
  }

  async function connected(options: tls.ConnectionOptions): Promise<TLSSocket> {
    const socket = tls.connect({ socket: nodes.joiner.dial('web'), ...options });
    nodes.finally(() => socket.destroy());
    await within('the handshake', once(socket, 'secureConnect'));
    return socket;
  }

  describe('with node:https', () => {
    it.each(['red', 'blue', 'web'])('gets the certificate of %s by SNI', async (servername) => {
      await bindNamed();
      const { cert: ca } = await certificateFor(servername);
      const createConnection = (): TLSSocket =>
        tls.connect({ socket: nodes.joiner.dial('web'), servername, ca, ALPNProtocols: ['http/1.1'] });
      const outgoing = request({ host: servername, createConnection });
      outgoing.end();
      expect(String((await answerTo(outgoing)).body)).toBe(servername);
    });

    it('refuses the certificate of another name', async () => {
      await bindNamed();
      const { cert: ca } = await certificateFor('web');
      const socket = nodes.joiner.dial('web');
      const outgoing = request({
        host: 'green',
        createConnection: () => tls.connect({ socket, servername: 'green', ca }),
      });
      const refused = expect(answerTo(outgoing)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
      outgoing.end();
      await within('the refusal', refused);
    });

    it('keeps sockets in an agent, and resumes sessions on new ones', async () => {
      const { cert: ca, key } = await certificateFor('web');
      const server = createServer({ cert: ca, key }, (incoming, response) => {
        if (incoming.url === '/last') response.setHeader('connection', 'close');
        response.end(String((incoming.socket as TLSSocket).isSessionReused()));
      });
      nodes.listener.bind('web', server);
      let dialled = 0;
      class DialAgent extends Agent {
        override createConnection(options: tls.ConnectionOptions): TLSSocket {
          dialled++;
          return super.createConnection({ ...options, socket: nodes.joiner.dial('web') } as object) as TLSSocket;
        }
      }
      const agent = new DialAgent({ keepAlive: true, maxSockets: 1 });
      nodes.finally(() => agent.destroy());
      const answers: string[] = [];
      for (const path of ['/', '/', '/last', '/']) {
        const outgoing = request({ host: 'web', path, agent, ca });
        outgoing.end();
        answers.push(String((await answerTo(outgoing)).body));
      }
      expect(answers).toEqual(['false', 'false', 'false', 'true']);
      expect(dialled).toBe(2);
    });

    it('carries bodies of 32 MiB both ways', async () => {
      const { cert: ca, key } = await certificateFor('web');
      const down = randomSource(32 * MIB);
      const server = createServer({ cert: ca, key }, async (incoming, response) => {
        response.setHeader('x-digest', await digestOf(incoming));
        down.source.pipe(response);
      });
      nodes.listener.bind('web', server);
      const socket = nodes.joiner.dial('web');
      const createConnection = (): TLSSocket => tls.connect({ socket, servername: 'web', ca });
      const up = randomSource(32 * MIB);
      const outgoing = request({ host: 'web', method: 'PUT', createConnection });
      up.source.pipe(outgoing);
      const incoming = await headOf(outgoing);
      expect(incoming.headers['x-digest']).toBe(up.digest());
      expect(await within('the body', digestOf(incoming))).toBe(down.digest());
    });

    it('knows the client by its certificate', async () => {
      const { cert: ca, key } = await certificateFor('web');
      const member = await certificateFor('member');
      const options = { cert: ca, key, requestCert: true, rejectUnauthorized: false, ca: member.cert };
      const server = createServer(options, (incoming, response) => {
        const socket = incoming.socket as TLSSocket;
        response.end(`${socket.authorized} ${(socket.getPeerCertificate() as PeerCertificate).subject?.CN}`);
      });
      nodes.listener.bind('web', server);
      for (const [own, answer] of [
        [member, 'true member'],
        [await certificateFor('stranger'), 'false stranger'],
        [{}, 'false undefined'],
      ] as const) {
        const socket = nodes.joiner.dial('web');
        const createConnection = (): TLSSocket => tls.connect({ ...own, socket, servername: 'web', ca });
        const outgoing = request({ host: 'web', createConnection });
        outgoing.end();
        expect(String((await answerTo(outgoing)).body)).toBe(answer);
      }
    });
  });

  describe('with node:tls', () => {
    /** Both ends of one connection. */
    async function pair(version: tls.SecureVersion = 'TLSv1.3'): Promise<[near: TLSSocket, far: TLSSocket]> {
      const { cert: ca, key } = await certificateFor('web');
      const server = tls.createServer({ cert: ca, key, maxVersion: version, ALPNProtocols: ['chat', 'news'] });
      nodes.listener.bind('web', server);
      const accepted = emitted<TLSSocket>(server, 'secureConnection');
      const near = await connected({ servername: 'web', ca, ALPNProtocols: ['news'] });
      const far = await within('the connection', accepted);
      nodes.finally(() => far.destroy());
      for (const end of [near, far]) end.on('error', () => {});
      return [near, far];
    }

    it.each<tls.SecureVersion>(['TLSv1.3', 'TLSv1.2'])('agrees on %s and a protocol', async (version) => {
      const [near, far] = await pair(version);
      for (const end of [near, far]) {
        expect([end.authorized || end === far, end.getProtocol(), end.alpnProtocol]).toEqual([true, version, 'news']);
      }
    });

    it('has the addresses of both ends', async () => {
      const [near, far] = await pair();
      expect([near.remoteAddress, far.remoteAddress]).toEqual([`@${nodes.listener.id}`, `@${nodes.joiner.id}`]);
      expect([near.localAddress, far.localAddress]).toEqual([far.remoteAddress, near.remoteAddress]);
      expect([near.localPort, far.localPort]).toEqual([far.remotePort, near.remotePort]);
      expect([near.remoteFamily, far.localFamily]).toEqual(['Starlane', 'Starlane']);
      expect(near.address()).toEqual({ address: near.localAddress, port: near.localPort, family: 'Starlane' });
    });

    it('has its address even when it was read before the connection', async () => {
      await bindNamed();
      const near = tls.connect({ socket: nodes.joiner.dial('web'), rejectUnauthorized: false });
      nodes.finally(() => near.destroy());
      expect([near.remoteAddress, near.localAddress]).toEqual([undefined, undefined]);
      await within('the handshake', once(near, 'secureConnect'));
      expect([near.remoteAddress, near.localAddress]).toEqual([`@${nodes.listener.id}`, `@${nodes.joiner.id}`]);
    });

    it('holds the process open, unless unrefed', async () => {
      const [near] = await pair();
      const held = nodes.joiner.stats().holds;
      near.unref();
      expect(nodes.joiner.stats().holds).toBe(held - 1);
      near.ref();
      expect(nodes.joiner.stats().holds).toBe(held);
    });

    it('carries 16 MiB each way at once and ends', async () => {
      const [near, far] = await pair();
      const sent = [randomBytes(16 * MIB), randomBytes(16 * MIB)];
      const received = Promise.all([readToEnd(near), readToEnd(far)]);
      near.write(sent[0]);
      far.write(sent[1]);
      near.end();
      far.end();
      const [toNear, toFar] = await within('the ends', received);
      expect([toFar.equals(sent[0]), toNear.equals(sent[1])]).toEqual([true, true]);
    });

    it('closes the other end of a destroyed socket', async () => {
      const [near, far] = await pair();
      const closed = emitted(far.resume(), 'close');
      near.destroy();
      await within('the close', closed);
    });

    it('closes with its socket, and closes its socket', async () => {
      const { cert: ca } = await certificateFor('web');
      await bindNamed();
      for (const first of ['tls', 'socket']) {
        const socket = nodes.joiner.dial('web');
        const secure = tls.connect({ socket, servername: 'web', ca });
        await within('the handshake', once(secure, 'secureConnect'));
        const closed = Promise.all([emitted(secure, 'close'), emitted(socket, 'close')]);
        (first === 'tls' ? secure : socket).destroy();
        await within(`both ends after ${first}`, closed);
      }
    });

    it('closes both ends when the link is lost', async () => {
      const [near, far] = await pair();
      const failed = emitted<Error>(near, 'error');
      const closed = Promise.all([emitted(near, 'close'), emitted(far, 'close')]);
      nodes.cut();
      expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET' });
      await within('the closes', closed);
    });
  });
});
