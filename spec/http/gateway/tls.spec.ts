// TLS at a gateway: ALPN, names, changed files, certificates of clients.

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import { certificateFor } from '../../support/certificates.js';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { gatewayFixture, portOf } from './fixture.js';

const net = gatewayFixture();

/** Asks by HTTPS; rejects with the first error. */
function secureGet(options: RequestOptions): Promise<{ status: number; body: string }> {
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    const asked = httpsRequest({
      agent: false,
      servername: 'web.example.test',
      headers: { host: 'web.example.test' },
      ...options,
    });
    asked.on('error', reject);
    asked.on('response', (response) => {
      readAll(response).then((bytes) => resolve({ status: response.statusCode ?? 0, body: `${bytes}` }), reject);
    });
    asked.end();
  });
  return within('an answer', answer);
}

describe('TLS', () => {
  async function certificates(
    ...names: string[]
  ): Promise<{ folder: string; files: Array<{ cert: string; key: string }>; ca: string }> {
    const folder = mkdtempSync(join(tmpdir(), 'starlane-gateway-'));
    net.finally(() => rmSync(folder, { recursive: true }));
    const made = await Promise.all(names.map((name) => certificateFor(name)));
    const files = made.map(({ cert, key }, index) => {
      const paths = { cert: join(folder, `${index}.crt`), key: join(folder, `${index}.key`) };
      writeFileSync(paths.cert, cert);
      writeFileSync(paths.key, key);
      return paths;
    });
    return { folder, files, ca: made.map(({ cert }) => cert).join('\n') };
  }

  const LISTEN = { port: 0, tls: true };

  it('serves HTTP/1.1 and HTTP/2, as the client chooses', async () => {
    await net.serve('web', (message, response) =>
      response.end(`${message.headers['x-forwarded-proto']} ${message.headers.host}`),
    );
    const { files, ca } = await certificates('web.example.test');
    const opened = await net.open({ listen: LISTEN, tls: { certificates: files } });
    const port = portOf(opened);
    const one = await secureGet({ port, ca });
    expect(one.body).toBe('https web.example.test');
    const dispatcher = new Agent({ allowH2: true, connect: { ca, servername: 'web.example.test' } });
    net.finally(() => void dispatcher.destroy());
    const entry = once(opened, 'access');
    const two = await request(`https://127.0.0.1:${port}/`, { dispatcher, headers: { host: 'web.example.test' } });
    expect(await two.body.text()).toBe('https web.example.test');
    expect((await entry)[0].version).toBe('2');
  });

  it('shows the certificate for the name that is asked for', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const { files, ca } = await certificates('one.example.test', 'two.example.test');
    const opened = await net.open({ listen: LISTEN, tls: { certificates: files }, suffix: [], default: 'web' });
    for (const servername of ['one.example.test', 'two.example.test']) {
      const headers = { host: servername };
      expect((await secureGet({ port: portOf(opened), headers, servername, ca })).body).toBe('ok');
    }
  });

  it('uses new certificates when the files change, and keeps connections', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const { files } = await certificates('web.example.test');
    const opened = await net.open({ listen: LISTEN, tls: { certificates: files } });
    const port = portOf(opened);
    const old = await certificateFor('web.example.test');
    const fresh = await certificateFor('web.example.test 2', [{ type: 2, value: 'web.example.test' }]);
    const before = new Agent({ connect: { ca: old.cert, servername: 'web.example.test' } });
    net.finally(() => void before.destroy());
    const url = `https://127.0.0.1:${port}/`;
    const headers = { host: 'web.example.test' };
    await (await request(url, { dispatcher: before, headers })).body.text();
    writeFileSync(files[0].cert, fresh.cert);
    writeFileSync(files[0].key, fresh.key);
    await opened.reload({ listen: LISTEN, suffix: '.example.test', tls: { certificates: files } });
    expect(portOf(opened)).toBe(port);
    const after = new Agent({ connect: { ca: fresh.cert, servername: 'web.example.test' } });
    net.finally(() => void after.destroy());
    expect((await request(url, { dispatcher: after, headers })).statusCode).toBe(200);
    // On the connection from before.
    expect((await request(url, { dispatcher: before, headers })).statusCode).toBe(200);
    expect(opened.stats().connections.total).toBe(2);
  });

  it('notices changed files by itself', async () => {
    await net.serve('web', (_message, response) => response.end('ok'));
    const { files } = await certificates('web.example.test');
    const opened = await net.open({ listen: LISTEN, tls: { certificates: files } });
    const fresh = await certificateFor('web.example.test 3', [{ type: 2, value: 'web.example.test' }]);
    writeFileSync(files[0].cert, fresh.cert);
    writeFileSync(files[0].key, fresh.key);
    const attempt = (): Promise<number> =>
      secureGet({ port: portOf(opened), ca: fresh.cert }).then(
        ({ status }) => status,
        () => 0,
      );
    let status = 0;
    while (status !== 200) status = await attempt();
    expect(status).toBe(200);
  });

  it('names a client with a certificate, and refuses others where one is required', async () => {
    await net.serve('web', (message, response) => {
      const {
        'starlane-peer-name': name,
        'starlane-peer-verified': verified,
        'starlane-peer-id': id,
      } = message.headers;
      response.end(JSON.stringify({ name, verified, id }));
    });
    const { files, ca, folder } = await certificates('web.example.test');
    const { cert, key } = await certificateFor('alice');
    const clientCa = join(folder, 'clients.pem');
    writeFileSync(clientCa, cert);
    const asked = portOf(await net.open({ listen: LISTEN, tls: { certificates: files, clientCa } }));
    expect((await secureGet({ port: asked, ca, cert, key })).body).toBe('{"name":"alice","verified":"true"}');
    expect((await secureGet({ port: asked, ca })).body).toBe('{}');
    const stranger = await certificateFor('mallory');
    expect((await secureGet({ port: asked, ca, ...stranger })).body).toBe('{}');
    const tls = { certificates: files, clientCa, requireClientCertificate: true };
    const required = portOf(await net.open({ listen: LISTEN, tls }));
    await expect(secureGet({ port: required, ca })).rejects.toThrow();
    await expect(secureGet({ port: required, ca, ...stranger })).rejects.toThrow();
    expect((await secureGet({ port: required, ca, cert, key })).status).toBe(200);
  });

  it('refuses files that are no certificates', async () => {
    const { files, folder } = await certificates('web.example.test');
    const bad = join(folder, 'bad.pem');
    writeFileSync(bad, 'no certificate');
    const open = (cert: string): Promise<unknown> =>
      net.open({ listen: LISTEN, tls: { certificates: [{ cert, key: files[0].key }] } });
    await expect(open(bad)).rejects.toMatchObject({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringContaining(bad),
    });
    await expect(open(join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });
});
