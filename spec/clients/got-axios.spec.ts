// got and axios with the agent of starlane/http.

import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import axios, { type AxiosInstance } from 'axios';
import got, { type Got } from 'got';
import { agent } from '../../lib/http/index.js';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { digestOf, randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';

const MIB = 1024 * 1024;

const nodes = linkedNodes();
let sockets: number;
let down: ReturnType<typeof randomSource>;
/** Called when the server has got a request that it never answers. */
let onSilent: () => void;
/** Has a short timeout. */
let missing: ReturnType<typeof agent>;
let clients: { got: Got; axios: AxiosInstance };

/** Describes the request; the other routes do what their names say. */
function site(down: Readable): RequestListener {
  let failures = 0;
  return async (incoming, response) => {
    incoming.on('error', () => {});
    if (incoming.url === '/json') {
      const body = await collect(incoming);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ method: incoming.method, host: incoming.headers.host, body }));
    } else if (incoming.url === '/digest') response.end(await digestOf(incoming));
    else if (incoming.url === '/source') down.pipe(response);
    else if (incoming.url === '/redirect') response.writeHead(302, { location: 'http://web/json' }).end();
    else if (incoming.url === '/at-second-try') response.writeHead(failures++ === 0 ? 503 : 200).end('here');
    else if (incoming.url === '/hang') response.write('the beginning');
    else if (incoming.url === '/silent') onSilent();
    else response.writeHead(404).end('missing');
  };
}

async function collect(body: Readable): Promise<string> {
  let text = '';
  for await (const chunk of body.setEncoding('utf8')) text += chunk as string;
  return text;
}

beforeEach(async () => {
  sockets = 0;
  onSilent = () => {};
  down = randomSource(16 * MIB);
  const server = createServer(site(down.source)).on('connection', () => sockets++);
  nodes.listener.bind('web', server);
  const { cert: ca, key } = await certificateFor('secure');
  nodes.listener.bind('secure', createSecureServer({ cert: ca, key }, site(down.source)));
  const pool = agent(nodes.joiner, { ca });
  nodes.finally(() => pool.destroy());
  missing = agent(nodes.joiner, { dial: { timeoutMs: 20 } });
  clients = {
    got: got.extend({ agent: { http: pool, https: pool }, retry: { limit: 0 } }),
    axios: axios.create({ httpAgent: pool, httpsAgent: pool, proxy: false }),
  };
});

describe('got', () => {
  it('sends and receives JSON over kept sockets', async () => {
    for (let count = 0; count < 20; count++) {
      const answer = await within('the answer', clients.got.post('http://web/json', { json: { count } }).json());
      expect(answer).toEqual({ method: 'POST', host: 'web', body: `{"count":${count}}` });
    }
    expect(sockets).toBe(1);
  });

  it('sends requests over TLS', async () => {
    const answer = await within('the answer', clients.got('https://secure/json').json());
    expect(answer).toEqual({ method: 'GET', host: 'secure', body: '' });
  });

  it('streams bodies both ways', async () => {
    const up = randomSource(16 * MIB);
    const upload = clients.got.stream.put('http://web/digest');
    const [, digest] = await within('the upload', Promise.all([pipeline(up.source, upload), collect(upload)]));
    expect(digest).toBe(up.digest());
    expect(await within('the download', digestOf(clients.got.stream('http://web/source')))).toBe(down.digest());
  });

  it('follows redirects and retries', async () => {
    expect(await within('the answer', clients.got('http://web/redirect').json())).toMatchObject({ host: 'web' });
    const retry = {
      limit: 1,
      calculateDelay: ({ computedValue }: { computedValue: number }) => (computedValue > 0 ? 1 : 0),
    };
    expect(await within('the second try', clients.got('http://web/at-second-try', { retry }).text())).toBe('here');
  });

  it('fails with the cause', async () => {
    const failing = (url: string, options = {}): Promise<string> => within(url, clients.got(url, options).text());
    await expect(failing('http://web/missing')).rejects.toMatchObject({ response: { statusCode: 404 } });
    await expect(failing('http://nowhere/', { agent: { http: missing } })).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(failing('http://web/silent', { timeout: { request: 50 } })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    const controller = new AbortController();
    onSilent = () => controller.abort();
    await expect(failing('http://web/silent', { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  it('fails when the link is lost', async () => {
    const stream = clients.got.stream('http://web/hang');
    await within('the beginning', emitted(stream, 'data'));
    const failed = emitted<Error>(stream, 'error');
    nodes.cut();
    expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('axios', () => {
  it('sends and receives JSON over kept sockets', async () => {
    for (let count = 0; count < 20; count++) {
      const { data } = await within('the answer', clients.axios.post('http://web/json', { count }));
      expect(data).toEqual({ method: 'POST', host: 'web', body: `{"count":${count}}` });
    }
    expect(sockets).toBe(1);
  });

  it('sends requests over TLS', async () => {
    const { data } = await within('the answer', clients.axios.get('https://secure/json'));
    expect(data).toEqual({ method: 'GET', host: 'secure', body: '' });
  });

  it('sends 200 requests at once', async () => {
    const requests = Array.from({ length: 200 }, (_, count) => clients.axios.post('http://web/json', { count }));
    const answers = await within('the answers', Promise.all(requests));
    expect(answers.map(({ data }) => data.body)).toEqual(requests.map((_, count) => `{"count":${count}}`));
  });

  it('streams bodies both ways', async () => {
    const up = randomSource(16 * MIB);
    const { data: digest } = await within('the upload', clients.axios.put('http://web/digest', up.source));
    expect(digest).toBe(up.digest());
    const { data } = await within('the head', clients.axios.get('http://web/source', { responseType: 'stream' }));
    expect(await within('the download', digestOf(data))).toBe(down.digest());
  });

  it('follows redirects', async () => {
    const { data } = await within('the answer', clients.axios.get('http://web/redirect'));
    expect(data).toMatchObject({ host: 'web' });
  });

  it('fails with the cause', async () => {
    const failing = (url: string, options = {}): Promise<unknown> => within(url, clients.axios.get(url, options));
    await expect(failing('http://web/missing')).rejects.toMatchObject({ response: { status: 404 } });
    await expect(failing('http://nowhere/', { httpAgent: missing })).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(failing('http://web/silent', { timeout: 50 })).rejects.toMatchObject({ code: 'ECONNABORTED' });
    const controller = new AbortController();
    onSilent = () => controller.abort();
    await expect(failing('http://web/silent', { signal: controller.signal })).rejects.toMatchObject({
      code: 'ERR_CANCELED',
    });
  });

  it('fails when the link is lost', async () => {
    const { data } = await within('the head', clients.axios.get('http://web/hang', { responseType: 'stream' }));
    await within('the beginning', emitted(data, 'data'));
    const failed = emitted<Error>(data, 'error');
    nodes.cut();
    expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET' });
  });
});
