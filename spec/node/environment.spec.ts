// The options that a deployment sets in the environment.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { limitVariable, readEnvironment, withEnvironment } from '../../lib/node/environment.js';
import { LIMITS } from '../../lib/options/limits.js';
import { memberTls } from '../support/certificates.js';
import { thrownCode } from '../support/thrown.js';
import { turnsUntil } from '../support/turns.js';

let folder: string;
const nodes: Node[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-environment-'));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('STARLANE_')) delete process.env[name];
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, ...options });
  nodes.push(node);
  return node;
}

/** The path of a file with that text. */
function file(name: string, text: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** The options of a node in that environment. */
function optionsIn(variables: Record<string, string>, options: NodeOptions = {}): NodeOptions {
  return withEnvironment(options, readEnvironment(variables));
}

describe('the environment', () => {
  it('has every option that a deployment sets', () => {
    const variables = {
      STARLANE_ENV: 'blue,green',
      STARLANE_ROLE: 'router',
      STARLANE_RELAY: 'false',
      STARLANE_INSECURE: '1',
      STARLANE_ADVERTISE: 'tcp://a.example:1, tls://b.example:2',
      STARLANE_IDENTITY: '/keys/node.key',
      STARLANE_SECRET_FILE: file('secret', 'of a file\n'),
      STARLANE_TLS_CERT: file('cert', 'CERT'),
      STARLANE_TLS_KEY: file('key', 'KEY'),
      STARLANE_TLS_CA: file('ca', 'CA'),
      STARLANE_DIAL_TIMEOUT_MS: '7',
      STARLANE_MAX_LINKS: '8',
    };
    expect(optionsIn(variables)).toEqual({
      env: ['blue', 'green'],
      role: 'router',
      relay: false,
      insecure: true,
      advertise: ['tcp://a.example:1', 'tls://b.example:2'],
      identity: '/keys/node.key',
      secret: 'of a file',
      tls: { cert: 'CERT', key: 'KEY', ca: 'CA' },
      dialTimeoutMs: 7,
      maxLinks: 8,
    });
  });

  it('gives way to the options of the program', () => {
    const variables = { STARLANE_ROLE: 'router', STARLANE_RELAY: 'true', STARLANE_MAX_LINKS: '8', STARLANE_ENV: 'a' };
    const said = { role: 'client', maxLinks: 9, env: [], secret: undefined } as const;
    expect(optionsIn(variables, said)).toMatchObject({ role: 'client', relay: undefined, maxLinks: 9, env: [] });
  });

  it('ignores an empty variable, except for a secret, which must not be missing by mistake', () => {
    const variables = { STARLANE_ROLE: '', STARLANE_MAX_LINKS: '', STARLANE_RELAY: '', STARLANE_SECRET_FILE: '' };
    expect(Object.values(optionsIn(variables)).filter((value) => value !== undefined)).toEqual([]);
    expect(thrownCode(() => readEnvironment({ STARLANE_SECRET: '' }))).toBe('ERR_STARLANE_OPTION');
  });

  it.each<[string, () => Record<string, string>]>([
    ['STARLANE_RELAY', () => ({ STARLANE_RELAY: 'yes' })],
    ['STARLANE_MAX_LINKS', () => ({ STARLANE_MAX_LINKS: '0' })],
    ['STARLANE_MAX_LINKS', () => ({ STARLANE_MAX_LINKS: '5e3' })],
    ['STARLANE_OLD_SECRET', () => ({ STARLANE_OLD_SECRET: 'alone' })],
    ['STARLANE_OLD_SECRET_FILE', () => ({ STARLANE_SECRET: 'x', STARLANE_OLD_SECRET_FILE: join(folder, 'missing') })],
    ['STARLANE_SECRET_FILE', () => ({ STARLANE_SECRET_FILE: join(folder, 'missing') })],
    ['STARLANE_SECRET_FILE', () => ({ STARLANE_SECRET_FILE: file('empty', '\n') })],
    ['STARLANE_SECRET_FILE', () => ({ STARLANE_SECRET_FILE: file('some', 'x'), STARLANE_SECRET: 'y' })],
    ['STARLANE_TLS_KEY', () => ({ STARLANE_TLS_CERT: file('cert', 'CERT') })],
    ['STARLANE_TLS_CERT', () => ({ STARLANE_TLS_CA: file('ca', 'CA') })],
  ])('is refused by the name of the variable: %s', (name, variables) => {
    const refused = expect.objectContaining({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringContaining(`${name}: `),
    });
    expect(() => readEnvironment(variables())).toThrow(refused as unknown as Error);
  });

  it('that is wrong about an option is refused as the option', () => {
    process.env['STARLANE_ROLE'] = 'boss';
    expect(thrownCode(() => createNode())).toBe('ERR_STARLANE_OPTION');
  });

  it('has a variable for every limit, which docs/operate.md names', () => {
    const docs = readFileSync(new URL('../../docs/operate.md', import.meta.url), 'utf8');
    const source = readFileSync(new URL('../../lib/node/environment.ts', import.meta.url), 'utf8');
    const named = [...source.matchAll(/'(STARLANE_[A-Z_]+)'/g)].map(([, name]) => name as string);
    expect(limitVariable('maxCircuitsPerNeighbour')).toBe('STARLANE_MAX_CIRCUITS_PER_NEIGHBOUR');
    expect(new Set(named).size).toBeGreaterThan(12);
    for (const name of named) expect(docs).toContain(`\`${name}\``);
    for (const name of LIMITS.keys()) {
      const limits = readEnvironment({ [limitVariable(name)]: `${LIMITS.get(name)?.[1]}` }).limits;
      expect(limits).toEqual({ [name]: LIMITS.get(name)?.[1] });
    }
  });
});

describe('a node with an identity of the environment', () => {
  it('has it for as long as it lives, and no other node of the process meanwhile', async () => {
    const path = join(folder, 'node.key');
    process.env['STARLANE_IDENTITY'] = path;
    const first = makeNode();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const second = makeNode();
    expect(second.id).not.toBe(first.id);
    await first.close();
    expect(makeNode().id).toBe(first.id);
  });

  it('passes it on to the node that is derived from it before it is used', () => {
    process.env['STARLANE_IDENTITY'] = join(folder, 'derived.key');
    const first = makeNode();
    const client = first.client();
    nodes.push(client);
    expect(client.id).toBe(first.id);
  });

  it('leaves it to another one when its options are wrong', () => {
    process.env['STARLANE_IDENTITY'] = join(folder, 'wrong.key');
    expect(thrownCode(() => createNode({ maxLinks: 0 }))).toBe('ERR_STARLANE_OPTION');
    const { id } = makeNode();
    expect(readFileSync(join(folder, 'wrong.key'), 'utf8')).toContain('PRIVATE KEY');
    expect(id).not.toBe('');
  });

  it('has the one of its option, where it has one', () => {
    process.env['STARLANE_IDENTITY'] = join(folder, 'unused.key');
    const own = makeNode({ identity: join(folder, 'own.key') });
    expect(makeNode().id).not.toBe(own.id);
  });
});

describe('certificates of the environment', () => {
  it('are those of the links', async () => {
    const { cert, key, ca } = await memberTls();
    process.env['STARLANE_TLS_CERT'] = file('cert.pem', cert as Buffer);
    process.env['STARLANE_TLS_KEY'] = file('key.pem', key as Buffer);
    process.env['STARLANE_TLS_CA'] = file('ca.pem', ca as Buffer);
    const { address } = await makeNode().listenAndServe('127.0.0.1:0');
    expect(address).toMatch(/^tls:/);
    expect((await makeNode().join(address)).peerName).toEqual(expect.any(String));
  });
});

describe('advertised addresses', () => {
  it('are what others know of a node instead of those at which it listens', async () => {
    const hub = makeNode();
    const node = makeNode({ advertise: ['edge.example:4000', 'unix:/run/starlane'] });
    await hub.listenAndServe('tcp://127.0.0.1:0');
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    await hub.join(address);
    expect(hub.links()).toMatchObject([{ peerId: node.id }]);
    expect(addressesOf(hub, node.id)).toEqual(['tcp://edge.example:4000', 'unix:/run/starlane']);
  });

  it('are none of a node that does not listen', async () => {
    const hub = makeNode();
    const { address } = await hub.listenAndServe('tcp://127.0.0.1:0');
    const node = makeNode({ advertise: 'edge.example:4000' });
    await node.join(address);
    await turnsUntil('the hub has its record', () => addressesOf(hub, node.id) !== undefined);
    expect(addressesOf(hub, node.id)).toEqual([]);
  });
});

/** What the record of a node says, in what another one has gathered. */
function addressesOf(at: Node, id: string): readonly string[] | undefined {
  const { mesh } = at as unknown as {
    mesh: { gossip: { store: { node(id: string): { addresses: readonly string[] } | undefined } } };
  };
  return mesh.gossip.store.node(id)?.addresses;
}
