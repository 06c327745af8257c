// Certificates by ACME, from a small authority of this spec that checks the challenge over HTTP (RFC 8555).

import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { exchange } from '../exchange.js';
import { gatewayFixture, portOf } from './fixture.js';

const net = gatewayFixture();
const NAME = 'web.example.test';
const TOKEN = 'the-token-of-the-challenge';

interface Authority {
  readonly url: string;
  readonly rootPem: string;
  /** What the gateway has answered to the challenge. */
  proof: string | undefined;
  orders: number;
  /** The port of the gateway that is asked instead of port 80. */
  port: number;
}

async function startAuthority(): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as never);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Authority of a spec',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
  });
  let status = 'pending';
  let pem = '';
  const authority: Authority = { url: '', rootPem: root.toString('pem'), proof: undefined, orders: 0, port: 0 };
  const server = createServer((message, response) => void answer(message, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  net.finally(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const order = (): object => ({
    status: pem !== '' ? 'valid' : status === 'valid' ? 'ready' : 'pending',
    identifiers: [{ type: 'dns', value: NAME }],
    authorizations: [`${url}/authorization`],
    finalize: `${url}/finalize`,
    certificate: pem === '' ? undefined : `${url}/certificate`,
  });
  const challenge = (): object => ({ type: 'http-01', url: `${url}/challenge`, token: TOKEN, status });
  async function answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = `${await readAll(message)}`;
    const payload = text === '' ? '' : Buffer.from(JSON.parse(text).payload ?? '', 'base64url').toString();
    response.setHeader('Replay-Nonce', 'nonce');
    const send = (value: object, code = 200): void => {
      response
        .writeHead(code, { 'content-type': 'application/json', location: `${url}/order` })
        .end(JSON.stringify(value));
    };
    switch (message.url) {
      case '/directory':
        return send({ newNonce: `${url}/nonce`, newAccount: `${url}/account`, newOrder: `${url}/new-order` });
      case '/nonce':
        response.end();
        return;
      case '/account':
        return send({ status: 'valid' }, 201);
      case '/new-order':
        authority.orders++;
        return send(order(), 201);
      case '/order':
        return send(order());
      case '/authorization':
        return send({ status, identifier: { type: 'dns', value: NAME }, challenges: [challenge()] });
      case '/challenge': {
        const path = `/.well-known/acme-challenge/${TOKEN}`;
        const proof = await exchange({
          host: '127.0.0.1',
          port: authority.port,
          path,
          headers: { host: NAME },
          agent: false,
        });
        authority.proof = proof.body;
        if (proof.response.statusCode === 200 && proof.body.startsWith(`${TOKEN}.`)) status = 'valid';
        return send(challenge());
      }
      case '/finalize': {
        const csr = new x509.Pkcs10CertificateRequest(Buffer.from(JSON.parse(payload).csr, 'base64url'));
        const certificate = await x509.X509CertificateGenerator.create({
          serialNumber: createHash('sha256').update(text).digest('hex').slice(0, 16),
          subject: csr.subject,
          issuer: root.subject,
          notBefore: new Date(Date.now() - 60_000),
          notAfter: new Date(Date.now() + 3_600_000),
          publicKey: csr.publicKey as never,
          signingKey: keys.privateKey,
          signingAlgorithm: algorithm,
          extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: NAME }])],
        });
        pem = `${certificate.toString('pem')}\n${root.toString('pem')}\n`;
        return send(order());
      }
      case '/certificate':
        response.writeHead(200, { 'content-type': 'application/pem-certificate-chain' }).end(pem);
        return;
      default:
        response.writeHead(404).end();
    }
  }
  return Object.assign(authority, { url });
}

function secureGet(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest({ port, ca, servername: NAME, headers: { host: NAME }, agent: false });
    request.on('error', reject);
    request.on('response', (response) => readAll(response).then((bytes) => resolve(`${bytes}`), reject));
    request.end();
  });
}

it('a gateway gets a certificate, uses it, and has it after a restart', async () => {
  const authority = await startAuthority();
  await net.serve('web', (_message, response) => response.end('secure'));
  const folder = mkdtempSync(join(tmpdir(), 'starlane-acme-'));
  net.finally(() => rmSync(folder, { recursive: true }));
  const options = {
    listen: [{ port: 0, tls: true }, { port: 0 }],
    acme: {
      names: [NAME],
      folder,
      directory: `${authority.url}/directory`,
      email: 'a@example.test',
      acceptTerms: true,
    },
  };
  const opened = await net.open(options);
  authority.port = opened.addresses[1].port as number;
  const attempt = (): Promise<string> => secureGet(portOf(opened), authority.rootPem).catch(() => '');
  const served = async (): Promise<string> => {
    let body = '';
    while (body === '') body = await attempt();
    return body;
  };
  expect(await within('the certificate', served())).toBe('secure');
  expect(authority.proof).toMatch(new RegExp(`^${TOKEN}\\.[\\w-]{43}$`));
  expect(statSync(join(folder, 'key.pem')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(folder, 'certificate.pem'), 'utf8')).toContain('BEGIN CERTIFICATE');
  await opened.close({ timeoutMs: 0 });
  const again = await net.open(options);
  expect(await secureGet(portOf(again), authority.rootPem)).toBe('secure');
  expect(authority.orders).toBe(1);
});

it('a gateway without a certificate yet closes connections with TLS, and warns when none comes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'starlane-acme-'));
  net.finally(() => rmSync(folder, { recursive: true }));
  const refusing = createServer((_message, response) => response.writeHead(400).end('{}'));
  await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
  net.finally(() => {
    refusing.close();
    refusing.closeAllConnections();
  });
  const { port } = refusing.address() as { port: number };
  const opened = await net.open({
    listen: { port: 0, tls: true },
    acme: { names: [NAME], folder, directory: `http://127.0.0.1:${port}/directory`, acceptTerms: true },
  });
  const warning = new Promise<Error>((resolve) => opened.once('warning', resolve));
  await expect(secureGet(portOf(opened), '')).rejects.toMatchObject({ code: 'ECONNRESET' });
  expect(await within('a warning', warning)).toMatchObject({ code: 'ERR_STARLANE_CERTIFICATE' });
});
