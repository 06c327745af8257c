// Clients that are no members ask what there is, with a token of their own.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { NodeSource } from '../../../lib/http/monitor/node-source.js';
import { startMonitor } from '../../../lib/http/monitor/server.js';
import { createNode, type Node } from '../../../lib/index.js';
import { knows } from '../../support/testnet.js';
import { ask } from './requests.js';

const TOKEN = 'a-token-of-those-who-read';
const GUEST = 'a-token-of-those-who-ask';
const made: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  await Promise.all(made.splice(0).map((one) => one.close()));
});

async function start(): Promise<{ url: string; node: Node }> {
  const node = createNode({ secret: '0123456789abcdef', closeTimeoutMs: 100 });
  const other = createNode({ secret: '0123456789abcdef', closeTimeoutMs: 100 });
  made.push(node, other);
  const [near, far] = duplexPair();
  await Promise.all([node.attach(near), other.attach(far)]);
  other.bind('web', { meta: { region: 'eu' } });
  node.bind('own');
  const closed = node.bind('closed', { allow: [{ id: [other.id] }] });
  await once(closed, 'listening');
  await knows(node, 'web');
  const monitor = await startMonitor(new NodeSource(node), { port: 0, token: TOKEN, guestToken: GUEST }, {});
  made.unshift(monitor);
  return { url: monitor.url, node };
}

const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe('a client with the token of guests', () => {
  it('sees services that all may dial, and nodes that offer them, with filters', async () => {
    const { url, node } = await start();
    const { status, body } = await ask(url, '/api/v1/services', as(GUEST));
    expect(status).toBe(200);
    const names = (text: string) => (JSON.parse(text).services as Array<{ service: string }>).map((one) => one.service);
    expect(names(body)).toEqual(['own', 'web']);
    expect(names((await ask(url, '/api/v1/services?meta.region=eu', as(GUEST))).body)).toEqual(['web']);
    const nodes = JSON.parse((await ask(url, '/api/v1/nodes', as(GUEST))).body);
    expect(nodes).toMatchObject({ total: 2, nodes: [{ id: node.id, addresses: [], links: [] }, { links: [] }] });
    const all = await ask(url, '/api/v1/services', as(TOKEN));
    expect(names(all.body)).toEqual(['closed', 'own', 'web']);
  });

  it('sees nothing else', async () => {
    const { url } = await start();
    for (const path of [
      '/',
      '/api/snapshot',
      '/api/live',
      '/api/services',
      '/api/v1/links',
      '/api/v1/events',
      '/api/v1/source',
    ]) {
      expect(await ask(url, path, as(GUEST))).toMatchObject({ status: 403 });
    }
    expect(await ask(url, '/api/v1/health', as(GUEST))).toMatchObject({ status: 200 });
    expect(await ask(url, '/api/v1/services', as(`${GUEST}x`))).toMatchObject({ status: 401 });
    expect(await ask(url, '/api/v1/services')).toMatchObject({ status: 401 });
  });

  it('needs a token that is none of readers', async () => {
    const node = createNode();
    made.push(node);
    const start = (guestToken: string) => startMonitor(new NodeSource(node), { port: 0, token: TOKEN, guestToken }, {});
    await expect(start(TOKEN)).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    await expect(start('short')).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });
});
