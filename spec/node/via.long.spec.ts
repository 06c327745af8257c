// Nodes that reach the network through a proxy. Names lead nowhere but to the proxies of these specs.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { enrol } from '../../lib/members/index.js';
import { runProgram } from '../support/built-lib.js';
import { certificateFor, memberTls } from '../support/certificates.js';
import { EnrolmentNet } from '../support/enrolment.js';
import { httpProxy, type SpecProxy, SpecServer, socksProxy } from '../support/proxy-servers.js';

const SECRET = 'of the specs about proxies';
const FAR = 'tls://far.example.test';

const opened: Array<{ close(): Promise<void> }> = [];

function keep<Opened extends { close(): Promise<void> }>(one: Opened): Opened {
  opened.push(one);
  return one;
}

afterEach(async () => {
  for (const name of Object.keys(process.env)) if (/^STARLANE_|proxy$/i.test(name)) delete process.env[name];
  for (const one of opened.splice(0).reverse()) await one.close();
});

function makeNode(options: NodeOptions): Node {
  return keep(createNode({ closeTimeoutMs: 100, ...options }));
}

/** A node that echoes, and its port. */
async function farNode(options: NodeOptions = { secret: SECRET }): Promise<{ node: Node; port: number }> {
  const node = makeNode(options);
  const { address } = await node.listenAndServe('tls://127.0.0.1:0');
  node.bind('echo', (socket) => socket.pipe(socket));
  return { node, port: Number(address.slice(address.lastIndexOf(':') + 1)) };
}

async function echoes(node: Node): Promise<void> {
  await node.waitFor('echo');
  const socket = node.dial('echo');
  socket.end('hello');
  let text = '';
  for await (const chunk of socket) text += chunk;
  expect(text).toBe('hello');
}

/** A proxy that looks into the tls of what passes: it shows a certificate of its own, and has a session of its own with the target. */
async function lookingProxy(port: number): Promise<{ proxy: SpecProxy; seen: () => string }> {
  const { cert, key } = await certificateFor('far.example.test');
  let seen = '';
  const between = createTlsServer({
    cert,
    key,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['starlane/1', 'starlane-enrol/1'],
  });
  const middle = keep(await SpecServer.start(between));
  between.on('secureConnection', (client) => {
    middle.keep(client);
    const server = connectTls({
      host: '127.0.0.1',
      port,
      cert,
      key,
      rejectUnauthorized: false,
      ALPNProtocols: [client.alpnProtocol || ''],
    });
    middle.keep(server);
    client.on('data', (chunk) => {
      seen += chunk.toString('latin1');
    });
    client.pipe(server).pipe(client);
  });
  const proxy = keep(await httpProxy({ lead: () => ({ host: '127.0.0.1', port: middle.port }) }));
  return { proxy, seen: () => seen };
}

describe.each([
  ['an HTTP proxy', httpProxy],
  ['a SOCKS proxy', socksProxy],
])('behind %s', (_title, start) => {
  it('a node joins, and dials services', async () => {
    const [{ port }, proxy] = [await farNode(), keep(await start({ user: 'me', password: 'pass-word' }))];
    const node = makeNode({ secret: SECRET, via: proxy.url });
    const link = await node.join(`${FAR}:${port}`);
    expect(link.address).toBe(`${FAR}:${port}`);
    await echoes(node);
    // A node dials its seeds more than once.
    expect(new Set(proxy.asked)).toEqual(new Set([`far.example.test:${port}`]));
    expect(inspect([node, link, node.stats(), node.links()], { depth: 20, showHidden: true })).not.toContain(
      'pass-word',
    );
  });

  it('a node joins its seeds, as the environment says, and again when the proxy is back', async () => {
    // Otherwise the node would find out that the other one is on this machine, and reach it without the proxy.
    const { port } = await farNode({ secret: SECRET, advertise: `${FAR}:7400` });
    const lead = (): { host: string; port: number } => ({ host: '127.0.0.1', port });
    const proxy = keep(await start({ lead }));
    process.env['STARLANE_VIA'] = proxy.url;
    process.env['STARLANE_JOIN'] = `${FAR}:7400`;
    const node = makeNode({ secret: SECRET, rejoinMinMs: 10, rejoinMaxMs: 20 });
    await echoes(node);
    const lost = once(node, 'unlink');
    await proxy.close();
    await lost;
    const [warning] = await once(node, 'warning');
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_PROXY' });
    const again = once(node, 'link');
    keep(await start({ port: proxy.port, lead }));
    await again;
  });

  it('a join with wrong credentials fails at once, and one to a host that is not allowed goes on', async () => {
    const proxy = keep(await start({ user: 'me', password: 'pass-word', lead: () => undefined }));
    const wrong = makeNode({ secret: SECRET, via: proxy.url.replace('pass-word', 'guess') });
    const failure = await wrong.join(`${FAR}:7400`).catch((error) => error);
    expect(failure).toMatchObject({ code: 'ERR_STARLANE_PROXY_AUTH' });
    const node = makeNode({ secret: SECRET, via: proxy.url, rejoinMinMs: 10 });
    const warned = once(node, 'warning');
    const aborter = new AbortController();
    const join = node.join(`${FAR}:7400`, { signal: aborter.signal }).catch((error) => error);
    const [warning] = await warned;
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_PROXY' });
    aborter.abort();
    expect(inspect([failure, warning, await join], { depth: 20, showHidden: true })).not.toMatch(/pass-word|guess/);
  });

  it('a machine becomes a member, and its node joins', async () => {
    const proxy = keep(await start({ lead: () => ({ host: '127.0.0.1', port }) }));
    const net = keep(new EnrolmentNet());
    const first = await net.start('first', { advertise: `${FAR}:7400` });
    const port = Number(net.addressOf(first).replace(/.*:/, ''));
    first.bind('echo', (socket) => socket.pipe(socket));
    const token = await first.invite({ name: 'second' });
    await expect(enrol(token, { credentials: net.folder('second'), timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'ERR_STARLANE_ENROLMENT',
    });
    await enrol(token, { credentials: net.folder('second'), via: proxy.url });
    await echoes(makeNode({ credentials: net.folder('second'), via: proxy.url }));
    expect(new Set(proxy.asked)).toEqual(new Set(['far.example.test:7400']));
  });

  it('a machine that cannot become a member learns why', async () => {
    const proxy = keep(await start({ user: 'me', password: 'pass-word' }));
    const net = keep(new EnrolmentNet());
    const first = await net.start('first', { advertise: `${FAR}:7400` });
    const token = await first.invite({ name: 'second' });
    const outcome = (via: string): Promise<Error> =>
      enrol(token, { credentials: net.folder('second'), via }).catch((error) => error);
    const refused = await outcome(proxy.url.replace('pass-word', 'guess'));
    expect(refused).toMatchObject({ code: 'ERR_STARLANE_PROXY_AUTH' });
    await proxy.close();
    const unreached = await outcome(proxy.url);
    expect(unreached).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining('cannot be reached'),
    });
    expect(inspect([refused, unreached], { depth: 20, showHidden: true })).not.toMatch(/pass-word|guess/);
  });
});

describe('a proxy that looks into tls', () => {
  it('is refused in a network with a secret, and learns nothing', async () => {
    const { port } = await farNode();
    const { proxy, seen } = await lookingProxy(port);
    const node = makeNode({ secret: SECRET, via: proxy.url });
    await expect(node.join(`${FAR}:${port}`)).rejects.toMatchObject({
      code: expect.stringMatching(/_(TLS|SECRET|IDENTITY)$/),
    });
    expect(seen()).not.toContain(SECRET);
  });

  it('is refused in a network of members', async () => {
    const net = keep(new EnrolmentNet());
    const first = await net.start('first', { advertise: `${FAR}:7400` });
    const port = Number(net.addressOf(first).replace(/.*:/, ''));
    const direct = keep(await httpProxy({ lead: () => ({ host: '127.0.0.1', port }) }));
    const { proxy } = await lookingProxy(port);
    const token = await first.invite({ name: 'second' });
    const folder = net.folder('second');
    await expect(enrol(token, { credentials: folder, via: proxy.url, timeoutMs: 5_000 })).rejects.toMatchObject({
      code: expect.stringMatching(/_(WRONG_NETWORK|ENROLMENT)$/),
    });
    await enrol(token, { credentials: folder, via: direct.url });
    const node = makeNode({ credentials: folder, via: proxy.url });
    await expect(node.join(`${FAR}:7400`)).rejects.toMatchObject({
      code: expect.stringMatching(/_(TLS|CERTIFICATE|IDENTITY)$/),
    });
    expect(node.links()).toEqual([]);
  });

  it('is refused where certificates come from your own PKI', async () => {
    const tls = await memberTls();
    const { port } = await farNode({ tls });
    const { proxy } = await lookingProxy(port);
    const node = makeNode({ tls, via: proxy.url });
    await expect(node.join(`${FAR}:${port}`)).rejects.toMatchObject({ code: 'ERR_STARLANE_TLS' });
  });
});

describe('the proxy of the machine', () => {
  it('is not used unless it is asked for, with its exceptions', async () => {
    const [{ port }, proxy] = [await farNode(), keep(await httpProxy())];
    process.env['HTTPS_PROXY'] = `127.0.0.1:${proxy.port}`;
    process.env['NO_PROXY'] = 'other.example.test, *.corp.test';
    const node = makeNode({ secret: SECRET });
    await expect(node.join(`${FAR}:${port}`, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(new Set(proxy.asked)).toEqual(new Set());
    const asking = makeNode({ secret: SECRET, via: 'environment' });
    await asking.join(`${FAR}:${port}`);
    await expect(asking.join(`tls://far.corp.test:${port}`, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    expect(new Set(proxy.asked)).toEqual(new Set([`far.example.test:${port}`]));
  });
});

it('A proxy over https is trusted by an authority that the machine trusts.', async () => {
  const [{ port }, certificate] = [await farNode(), await certificateFor('localhost')];
  const proxy = keep(await httpProxy({ certificate, user: 'me', password: 'pass-word' }));
  const net = keep(new EnrolmentNet());
  const file = net.folder('ca.pem');
  writeFileSync(file, certificate.cert);
  const child = runProgram(
    `const node = starlane.createNode({ secret: '${SECRET}', via: '${proxy.url.replace('127.0.0.1', 'localhost')}' });
     const link = await node.join('${FAR}:${port}');
     say({ address: link.address });
     await node.close();`,
    ['env', `NODE_EXTRA_CA_CERTS=${file}`],
  );
  expect(await child.waitFor('the link', () => true)).toEqual({ address: `${FAR}:${port}` });
  expect(await child.exited).toBe(0);
});
