// Links between members of a network with an authority, and whom such nodes refuse.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Link, type Node, type NodeOptions } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { memberFolder } from '../../support/member-folders.js';
import { newAuthority, newMember } from '../../support/members.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { readToEnd, socketPath } from '../../support/testnet.js';

const SECRET = 'a secret of more than 16 bytes';
const DAY_MS = 86_400_000;

const nodes: Node[] = [];
const authority = newAuthority();
const foreign = newAuthority();

function makeNode(options: NodeOptions): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

const WAYS = ['tls', 'tcp', 'unix', 'memory'] as const;
type Way = (typeof WAYS)[number];

/** Lets `dialler` make a link to `server`. Resolves with both ends of it, or the errors with which they refuse it. */
async function link(dialler: Node, server: Node, way: Way): Promise<Array<Link | Error>> {
  if (way === 'memory') {
    const [near, far] = duplexPair();
    const ends = [dialler.attach(near, { initiator: true }), server.attach(far, { initiator: false })];
    return Promise.all(ends.map((end) => end.catch((error) => error)));
  }
  const { address } = await server.listenAndServe(way === 'unix' ? `unix:${socketPath()}` : `${way}://127.0.0.1:0`);
  // Of those that are not permanent, each attempt is a warning. That a node cannot renew its own certificate is another one.
  const failed = new Promise<Error>((resolve) => {
    dialler.on('warning', (error) => {
      if (!error.message.includes('it needs a new token')) resolve(error);
    });
  });
  const near = Promise.race([dialler.join(address).catch((error) => error as Error), failed]);
  const far = Promise.race([once(server, 'link'), once(server, 'warning')]).then(([end]) => end as Link | Error);
  return within('both ends', Promise.all([near, far]));
}

beforeAll(async () => {
  // What is loaded once for all specs is not what they leave behind.
  const node = createNode({ secret: SECRET });
  await node.listenAndServe('127.0.0.1:0');
  await node.close();
});
beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('two members', () => {
  it.each(WAYS)('are linked over %s, know the name and the tags of each other, and need no secret', async (way) => {
    const [one, other] = [
      memberFolder(authority, { request: { name: 'laptop', tags: ['dev', 'prod, all'] } }),
      memberFolder(authority, { request: { name: 'server' } }),
    ];
    const [client, server] = [makeNode({ credentials: one.folder }), makeNode({ credentials: other.folder })];
    const [near, far] = await link(client, server, way);
    expect(near).toMatchObject({ peerId: other.identity.nodeId, peerName: 'server', peerTags: [] });
    expect(far).toMatchObject({ peerId: one.identity.nodeId, peerName: 'laptop', peerTags: ['dev', 'prod, all'] });
    expect(server.links()).toMatchObject([{ peerName: 'laptop', peerTags: ['dev', 'prod, all'] }]);
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });
});

/** A node as a case describes it. */
type Kind = 'member' | 'member+secret' | 'secret' | 'other secret' | 'member+other secret' | 'nothing';

function optionsOf(kind: Kind): NodeOptions {
  const secret = kind.includes('other secret') ? `${SECRET}.` : SECRET;
  return {
    ...(kind.startsWith('member') ? { credentials: memberFolder(authority).folder } : {}),
    ...(kind.includes('secret') ? { secret } : {}),
  };
}

describe('as long as a network changes over from a secret to certificates', () => {
  const linked: Array<[Kind, Kind]> = [
    ['member', 'member+secret'],
    ['member+secret', 'member+secret'],
    ['member+secret', 'secret'],
    ['member+secret', 'member+other secret'],
    ['secret', 'secret'],
  ];
  const cases = linked.flatMap(([one, other]) =>
    (['tls', 'memory'] as const).flatMap(
      (way): Array<[Kind, Kind, Way]> => [
        [one, other, way],
        [other, one, way],
      ],
    ),
  );

  it.each(cases)('a node with %s links to one with %s over %s', async (one, other, way) => {
    const [client, server] = [makeNode(optionsOf(one)), makeNode(optionsOf(other))];
    expect(await link(client, server, way)).toMatchObject([{ peerId: server.id }, { peerId: client.id }]);
  });

  const refused: Array<[Kind, Kind, Way, string, RegExp, RegExp]> = (['tls', 'memory'] as const).flatMap(
    (way): Array<[Kind, Kind, Way, string, RegExp, RegExp]> => [
      [
        'member',
        'secret',
        way,
        way === 'tls' ? 'ERR_STARLANE_CERTIFICATE' : 'ERR_STARLANE_SECRET',
        way === 'tls' ? /the peer has none: enrol it, or give this node the secret as well/ : /enrol the peer, or/,
        way === 'tls' ? /this node has none.*enrol this node, or give the peer the secret/ : /enrol this node, or/,
      ],
      [
        'secret',
        'member',
        way,
        'ERR_STARLANE_CERTIFICATE',
        /this node has none, and the peer takes nothing else: enrol this node, or/,
        /the peer has none: enrol it, or give this node the secret as well/,
      ],
      ['member+secret', 'other secret', way, 'ERR_STARLANE_SECRET', /different/, /different/],
      ['other secret', 'member+secret', way, 'ERR_STARLANE_SECRET', /different/, /different/],
    ],
  );

  it.each(refused)('a node with %s and one with %s refuse each other over %s', async (...row) => {
    const [one, other, way, code, near, far] = row;
    const [client, server] = [makeNode(optionsOf(one)), makeNode(optionsOf(other))];
    const errors = await link(client, server, way);
    expect(errors).toMatchObject([{ code }, { code }]);
    expect((errors[0] as Error).message).toMatch(near);
    expect((errors[1] as Error).message).toMatch(far);
    const kind = code === 'ERR_STARLANE_SECRET' ? 'secret' : 'certificate';
    expect([client.stats().links.refused[kind], server.stats().links.refused[kind]]).toEqual([1, 1]);
  });

  it('a node that has proved nothing gets to know what it may show', async () => {
    const [client, server] = [makeNode({}), makeNode(optionsOf('member+secret'))];
    const errors = await link(client, server, 'memory');
    expect(errors).toMatchObject([{ code: 'ERR_STARLANE_CERTIFICATE' }, { code: 'ERR_STARLANE_CERTIFICATE' }]);
    expect((errors[0] as Error).message).toMatch(/neither a certificate nor the secret of the peer: enrol this node/);
  });
});

describe('a member', () => {
  const own = () => memberFolder(authority, { request: { name: 'server' } });

  it.each(WAYS)('refuses a member of another network over %s, as that one does', async (way) => {
    const client = makeNode({ credentials: memberFolder(foreign).folder });
    const server = makeNode({ credentials: own().folder });
    const errors = await link(client, server, way);
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'ERR_STARLANE_CERTIFICATE',
        message: expect.stringContaining('no authority of this network has signed it'),
      });
    }
  });

  it.each(WAYS)('refuses a certificate that has expired over %s', async (way) => {
    const nowMs = Date.now() - 3 * DAY_MS;
    const client = makeNode({
      credentials: memberFolder(authority, { request: { lifetimeMs: DAY_MS }, nowMs }).folder,
    });
    const server = makeNode({ credentials: own().folder });
    const errors = await link(client, server, way);
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'ERR_STARLANE_CERTIFICATE_EXPIRED',
        message: expect.stringMatching(new RegExp(`that of ${client.id} \\(member\\) ended at 20`)),
      });
    }
    expect(server.stats().links.refused.expired).toBeGreaterThan(0);
    expect(client.stats().links.refused.expired).toBeGreaterThan(0);
  });

  it.each(WAYS)('refuses a certificate that is not valid yet over %s: a clock is wrong', async (way) => {
    const client = makeNode({ credentials: memberFolder(authority, { nowMs: Date.now() + DAY_MS }).folder });
    const server = makeNode({ credentials: own().folder });
    const errors = await link(client, server, way);
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'ERR_STARLANE_CLOCK',
        message: expect.stringMatching(/begins at 20.*in the future/),
      });
    }
  });

  it.each(WAYS)('refuses a key that was revoked over %s, also by a certificate that is newer', async (way) => {
    const member = memberFolder(authority);
    const revocation = authority.revoke(member.identity.publicKey, Date.now() + 60 * DAY_MS);
    const server = makeNode({ credentials: memberFolder(authority, { statements: [revocation] }).folder });
    const client = makeNode({ credentials: member.folder });
    const errors = await link(client, server, way);
    expect(errors).toMatchObject([{ code: 'ERR_STARLANE_REVOKED' }, { code: 'ERR_STARLANE_REVOKED' }]);
    expect((errors[0] as Error).message).toMatch(/the peer refused the link: that of this node$/);
    expect((errors[1] as Error).message).toMatch(/that of the peer$/);
    expect([client.stats().links.refused.revoked, server.stats().links.refused.revoked]).toEqual([1, 1]);
  });

  it.each(['tls', 'memory'] as const)('refuses a revoked key that proves the secret over %s', async (way) => {
    const identity = newMember(authority).identity;
    const revocation = authority.revoke(identity.publicKey, Date.now() + 60 * DAY_MS);
    const { folder } = memberFolder(authority, { statements: [revocation] });
    const server = makeNode({ credentials: folder, secret: SECRET });
    const client = makeNode({ identity: identity.privateKey, secret: SECRET });
    expect(await link(client, server, way)).toMatchObject([
      { code: 'ERR_STARLANE_REVOKED' },
      { code: 'ERR_STARLANE_REVOKED' },
    ]);
  });

  it.each(['tls', 'memory'] as const)('takes an expired certificate with the secret over %s', async (way) => {
    const nowMs = Date.now() - 3 * DAY_MS;
    const { folder } = memberFolder(authority, { request: { lifetimeMs: DAY_MS }, nowMs });
    const client = makeNode({ credentials: folder, secret: SECRET });
    const server = makeNode({ credentials: own().folder, secret: SECRET });
    expect(await link(client, server, way)).toMatchObject([{ peerId: server.id }, { peerName: undefined }]);
  });

  it('retries to join where the certificate may be renewed or a clock be set, and gives up otherwise', async () => {
    const revoked = memberFolder(authority);
    const revocation = authority.revoke(revoked.identity.publicKey, Date.now() + 60 * DAY_MS);
    const server = makeNode({ credentials: memberFolder(authority, { statements: [revocation] }).folder });
    const { address } = await server.listenAndServe('127.0.0.1:0');
    const nowMs = Date.now() - 3 * DAY_MS;
    const expired = memberFolder(authority, { request: { lifetimeMs: DAY_MS }, nowMs });
    const late = makeNode({ credentials: expired.folder });
    const joined = late.join(address, { timeoutMs: 10_000 }).catch((error) => error);
    for (let attempts = 0; attempts < 3; attempts++) {
      expect(await once(late, 'warning')).toMatchObject([{ code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' }]);
    }
    await late.close();
    expect(await joined).toMatchObject({
      code: 'ERR_STARLANE_CLOSED',
      cause: { code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' },
    });
    await expect(makeNode({ credentials: revoked.folder }).join(address)).rejects.toMatchObject({
      code: 'ERR_STARLANE_REVOKED',
    });
    await expect(makeNode({ secret: SECRET }).join(address)).rejects.toMatchObject({
      code: 'ERR_STARLANE_CERTIFICATE',
    });
  });
});
