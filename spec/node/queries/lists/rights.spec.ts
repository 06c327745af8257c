// What callers without the right to everything find: services that they may dial, and the nodes that offer those, in their envs.

import { once } from 'node:events';
import { get } from 'node:http';
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { agent } from '../../../../lib/http/index.js';
import {
  createNode,
  findNodes,
  findServices,
  type Node,
  type NodeOptions,
  type ServiceQuery,
} from '../../../../lib/index.js';
import { MemberNet } from '../../../support/member-net.js';
import { knows, readToEnd } from '../../../support/testnet.js';

const made: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  await Promise.all(made.splice(0).map((one) => one.close()));
});

function make(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, ...options });
  made.push(node);
  return node;
}

async function link(one: Node, other: Node): Promise<void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
}

async function members(request: NonNullable<Parameters<typeof MemberNet.line>[1]>['members'] = {}): Promise<MemberNet> {
  const net = await MemberNet.line(1, { members: request });
  made.push(net);
  return net;
}

const FEW = { relay: true, offer: ['*'], issue: false };

async function namesOf(node: Node, target: Node, query: ServiceQuery = {}): Promise<string[]> {
  const names: string[] = [];
  for await (const { service } of findServices(node, `@${target.id}`, query)) names.push(service);
  return names;
}

async function nodesOf(node: Node, target: Node, query: Parameters<typeof findNodes>[2] = {}): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of findNodes(node, `@${target.id}`, query)) ids.push(id);
  return ids;
}

describe('a member with few rights', () => {
  it('finds the services that it may dial, and no others of the node that it asks', async () => {
    const net = await members({ 0: { name: 'till-1', tags: ['till'], rights: FEW } });
    const [caller, relay, asked] = net.net.nodes as [Node, Node, Node];
    asked.bind('open');
    asked.bind('tills', { allow: [{ tag: 'till' }] });
    asked.bind('named', { allow: [{ name: 'till-*' }] });
    asked.bind('closed', { allow: [{ tag: 'ops' }] });
    asked.bind('decided', { allow: () => true });
    relay.bind('elsewhere');
    await knows(asked, 'elsewhere');
    expect(await namesOf(caller, asked)).toEqual(['elsewhere', 'named', 'open', 'tills']);
    // One that may see everything does.
    expect(await namesOf(asked, asked)).toEqual(['closed', 'decided', 'elsewhere', 'named', 'open', 'tills']);
  });

  it('finds the nodes that offer those, without addresses and links', async () => {
    const net = await members({ 0: { rights: FEW } });
    const [caller, relay, asked] = net.net.nodes as [Node, Node, Node];
    await asked.listenAndServe('tls://127.0.0.1:0');
    expect(await nodesOf(caller, asked)).toEqual([asked.id]);
    relay.bind('web');
    await knows(asked, 'web');
    expect(await nodesOf(caller, asked)).toEqual([asked.id, relay.id]);
    for await (const node of findNodes(caller, `@${asked.id}`)) {
      expect(node).toMatchObject({ addresses: [], links: [], name: expect.stringMatching(/^n\d$/) });
    }
    expect(await nodesOf(asked, asked)).toHaveLength(3);
    for await (const node of findNodes(asked, `@${asked.id}`, { self: true })) expect(node.addresses).toHaveLength(1);
  });
});

describe('a node with the role client', () => {
  it('finds services and nodes without a secret, with filters', async () => {
    const client = make({ role: 'client' });
    const asked = make();
    await link(client, asked);
    asked.bind('web.eu', { meta: { region: 'eu' } });
    asked.bind('web.us', { meta: { region: 'us' } });
    asked.bind('db', { meta: { region: 'eu' }, allow: [] });
    expect(await namesOf(client, asked)).toEqual(['web.eu', 'web.us']);
    expect(await namesOf(client, asked, { service: 'web.*', meta: { region: 'eu' } })).toEqual(['web.eu']);
    expect(await namesOf(client, asked, { name: 'db' })).toEqual([]);
    expect(await nodesOf(client, asked, { service: 'web*', meta: { region: ['eu', 'asia'] } })).toEqual([asked.id]);
    expect(await nodesOf(client, asked, { service: 'db' })).toEqual([]);
  });

  it('finds nothing of envs in which it is not', async () => {
    const client = make({ role: 'client', env: 'red' });
    const asked = make({ env: ['red', 'blue'] });
    const blue = make({ env: 'blue' });
    await Promise.all([link(client, asked), link(blue, asked)]);
    blue.bind('bluebird');
    asked.bind('robin');
    await knows(asked, 'bluebird');
    expect(await namesOf(client, asked)).toEqual(['robin']);
    expect(await nodesOf(client, asked)).toEqual([asked.id]);
    const green = make({ role: 'client', env: 'green' });
    await link(green, asked);
    await expect(namesOf(green, asked)).rejects.toMatchObject({ code: 'EACCES' });
  });

  it('asks with any HTTP client over the mesh', async () => {
    const client = make({ role: 'client' });
    const asked = make();
    await link(client, asked);
    asked.bind('web');
    const kept = agent(client);
    const request = get({ agent: kept, host: `@${asked.id}`, port: 2, path: '/v1/services?service=w*' });
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(200);
    const answer = JSON.parse((await readToEnd(response)).toString());
    expect(answer).toMatchObject({ total: 1, services: [{ service: 'web', local: true }] });
    kept.destroy();
  });
});

describe('long lists', () => {
  it('come page by page, each entry once', async () => {
    const [near, far] = [make({ secret: '0123456789abcdef' }), make({ secret: '0123456789abcdef' })];
    await link(near, far);
    const wanted: string[] = [];
    for (let index = 0; index < 1_234; index++) {
      const name = `service-${String(index).padStart(4, '0')}`;
      far.bind(name);
      wanted.push(name);
    }
    expect(await namesOf(near, far)).toEqual(wanted);
    const { total, truncated, services } = (await near.query(
      `@${far.id}`,
      '/v1/services?service=service-1*&limit=2',
    )) as {
      total: number;
      truncated: boolean;
      services: unknown[];
    };
    expect({ total, truncated, shown: services.length }).toEqual({ total: 234, truncated: true, shown: 2 });
    await expect(near.query(`@${far.id}`, '/v1/services?after=%00')).rejects.toMatchObject({
      code: 'ERR_STARLANE_ARGUMENT',
    });
    await expect(near.query(`@${far.id}`, '/v1/nodes?tagg=x')).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
  });
});
