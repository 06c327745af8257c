// Peers that speak the handshake well, and are not who they say, or no members.

import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { parseLinkAddress } from '../../../lib/address.js';
import { createIdentity, type OwnIdentity } from '../../../lib/identity/identity.js';
import { networkKeyOf } from '../../../lib/identity/network-key.js';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import { LinkSet } from '../../../lib/link/link-set.js';
import { connect, type Transport } from '../../../lib/link/transport/connect.js';
import { listen, type TransportListener } from '../../../lib/link/transport/listen.js';
import { PendingConnections } from '../../../lib/link/transport/pending-connections.js';
import { LinkTls } from '../../../lib/link/transport/tls.js';
import { resolveNodeOptions } from '../../../lib/options/options.js';
import { sharedTimers } from '../../../lib/util/timers.js';
import { encodeAuth, GoodbyeCode, type Hello, MessageType } from '../../../lib/wire/messages.js';
import { memberTls } from '../../support/certificates.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { turnsUntil } from '../../support/turns.js';

const SECRET = 'a secret of more than 16 bytes';
const KEY = networkKeyOf(Buffer.from(SECRET));
const TIMEOUT_MS = 10_000;

const nodes: Node[] = [];
const listeners: TransportListener[] = [];
const duplexes: Duplex[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, handshakeTimeoutMs: 60_000, secret: SECRET, ...options });
  nodes.push(node);
  return node;
}

/** Listens without a node. */
async function serve(tls: LinkTls, onTransport: (transport: Transport) => void): Promise<string> {
  const listener = await listen(parseLinkAddress('tls://127.0.0.1:0'), {
    tls,
    timeoutMs: TIMEOUT_MS,
    pendingConnections: new PendingConnections(8, sharedTimers),
    onConnection: (_connection, duplex, _remote, facts) => {
      duplexes.push(duplex.on('error', () => {}));
      onTransport({ duplex, tls: facts });
    },
    onRefused: () => {},
    onError: () => {},
  });
  listeners.push(listener);
  return listener.address;
}

async function dial(address: string, tls: LinkTls): Promise<Transport> {
  const transport = await connect(parseLinkAddress(address), { tls, timeoutMs: TIMEOUT_MS });
  duplexes.push(transport.duplex.on('error', () => {}));
  return transport;
}

interface Claims {
  /** Whose key its certificate has. */
  readonly certified?: OwnIdentity;
  /** Whose key its HELLO has. */
  readonly claimed?: OwnIdentity;
  readonly networkKey?: Buffer | undefined;
  readonly provesItself?: boolean;
  readonly changes?: Partial<Hello>;
}

function impostor(client: boolean, transport: Transport, claims: Claims): RawPeer {
  const peer = new RawPeer(client, claims.claimed ?? claims.certified, transport);
  peer.networkKey = claims.networkKey;
  peer.provesItself = claims.provesItself ?? true;
  return peer;
}

/** An impostor that joins a node, and what both ends make of it. */
async function join(claims: Claims): Promise<{ node: Node; peer: RawPeer; warning: Promise<unknown[]> }> {
  const node = makeNode();
  const { address } = await node.listenAndServe('127.0.0.1:0');
  const warning = once(node, 'warning');
  const peer = impostor(
    true,
    await dial(address, new LinkTls(undefined, claims.certified ?? createIdentity())),
    claims,
  );
  peer.say(peer.hello());
  return { node, peer, warning };
}

/** An impostor that a node joins. */
async function welcome(claims: Claims): Promise<{ node: Node; outcome: Promise<unknown>; peer: RawPeer }> {
  const node = makeNode();
  let onPeer: (peer: RawPeer) => void = () => {};
  const arrival = new Promise<RawPeer>((resolve) => {
    onPeer = resolve;
  });
  const address = await serve(new LinkTls(undefined, claims.certified ?? createIdentity()), (transport) =>
    onPeer(impostor(false, transport, claims)),
  );
  const outcome = node.join(address).catch((error: unknown) => error);
  const peer = await arrival;
  await peer.until(() => peer.hasReceived(MessageType.HELLO));
  peer.say(peer.hello(claims.changes));
  return { node, outcome, peer };
}

beforeAll(async () => {
  // What is loaded once for all specs is not what they leave behind.
  await new LinkTls(undefined, createIdentity()).secureContext();
});
beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  for (const duplex of duplexes.splice(0)) duplex.destroy();
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
  await nothingLeft();
});

const other = createIdentity();

const IMPOSTORS: Array<[what: string, claims: () => Claims, code: string, goodbye: GoodbyeCode]> = [
  [
    'a member with the certificate of another key',
    () => ({ certified: createIdentity(), claimed: createIdentity(), networkKey: KEY }),
    'ERR_STARLANE_IDENTITY',
    GoodbyeCode.IDENTITY,
  ],
  [
    'a member with the id and public key of another, whose private key it has not',
    () => {
      const certified = createIdentity();
      const claimed = { ...certified, publicKey: other.publicKey, nodeId: other.nodeId };
      return { certified, claimed, networkKey: KEY };
    },
    'ERR_STARLANE_IDENTITY',
    GoodbyeCode.IDENTITY,
  ],
  [
    'a stranger with another secret',
    () => ({ certified: createIdentity(), networkKey: Buffer.alloc(32, 1) }),
    'ERR_STARLANE_SECRET',
    GoodbyeCode.NOT_MEMBER,
  ],
  [
    'a stranger without a secret',
    () => ({ certified: createIdentity() }),
    'ERR_STARLANE_SECRET',
    GoodbyeCode.NOT_MEMBER,
  ],
];

describe.each(IMPOSTORS)('%s', (_what, claims, code, goodbye) => {
  it('gets no link and no HELLO when it joins', async () => {
    const { node, peer, warning } = await join(claims());
    expect(await warning).toMatchObject([{ code }]);
    await peer.over();
    expect(peer.messages).toMatchObject([{ type: MessageType.GOODBYE, code: goodbye }]);
    expect(node.links()).toEqual([]);
  });

  it('gets no link when it is joined, which is final', async () => {
    const { node, outcome, peer } = await welcome(claims());
    expect(await outcome).toMatchObject({ code });
    await peer.over();
    expect(peer.goodbye).toBe(goodbye);
    expect(node.stats().links).toMatchObject({ up: 0, joins: 0 });
  });
});

describe('a member by hand', () => {
  it('gets a link either way, so that it is nothing else that keeps the others out', async () => {
    const claims = { certified: createIdentity(), networkKey: KEY };
    const node = makeNode();
    const { address } = await node.listenAndServe('127.0.0.1:0');
    const peer = impostor(true, await dial(address, new LinkTls(undefined, claims.certified)), claims);
    await Promise.all([once(node, 'link'), peer.handshake()]);
    expect(node.links()).toMatchObject([{ peerId: peer.identity.nodeId, direction: 'inbound' }]);

    const joined = makeNode();
    const at = await serve(new LinkTls(undefined, claims.certified), (transport) => {
      void impostor(false, transport, claims).handshake();
    });
    expect(await joined.join(at)).toMatchObject({ peerId: peer.identity.nodeId, direction: 'outbound' });
  });

  it('gets nothing before it has proved its identity, and is dropped in time', async () => {
    const node = makeNode({ handshakeTimeoutMs: 100 });
    const { address } = await node.listenAndServe('127.0.0.1:0');
    const warning = once(node, 'warning');
    const certified = createIdentity();
    const claims = { certified, networkKey: KEY, provesItself: false };
    const peer = impostor(true, await dial(address, new LinkTls(undefined, certified)), claims);
    peer.say(peer.hello());
    expect(await warning).toMatchObject([{ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' }]);
    await peer.over();
    expect(peer.messages).toEqual([]);
  });
});

describe('a member of another version', () => {
  const certified = createIdentity();
  const claims = { certified, networkKey: KEY };
  const changes = { version: 9, minVersion: 9 };

  it('gets the reason when it joins, but no HELLO', async () => {
    const node = makeNode();
    const { address } = await node.listenAndServe('127.0.0.1:0');
    const warning = once(node, 'warning');
    const peer = impostor(true, await dial(address, new LinkTls(undefined, certified)), claims);
    peer.say(peer.hello(changes));
    expect(await warning).toMatchObject([{ code: 'ERR_STARLANE_VERSION' }]);
    await peer.over();
    expect(peer.messages).toMatchObject([{ type: MessageType.GOODBYE, code: GoodbyeCode.WRONG_VERSION }]);
    expect(node.stats().links.refused.version).toBe(1);
  });

  it('gets the reason when it is joined, and so does the joining node', async () => {
    const { outcome, peer } = await welcome({ ...claims, changes });
    expect(await outcome).toMatchObject({ code: 'ERR_STARLANE_VERSION' });
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.WRONG_VERSION);
  });
});

describe('a member where another one is expected', () => {
  it('does not even learn who dials', async () => {
    const self = { ...createIdentity(), role: 'peer' as const, envDigests: [] };
    const tls = new LinkTls(undefined, self);
    const told = () => {};
    const owner = { onLink: told, onPromoted: told, onMessage: told, onUnblocked: told, onUnlink: told };
    const links = new LinkSet(
      self,
      resolveNodeOptions({ closeTimeoutMs: 200 }),
      sharedTimers,
      { ...owner, rejectReason: () => undefined, onWarning: told, onError: told, onUnlisten: told },
      { networkKeys: [KEY], tls },
    );
    const certified = createIdentity();
    const arrived: RawPeer[] = [];
    const address = await serve(new LinkTls(undefined, certified), (transport) => {
      arrived.push(impostor(false, transport, { certified, networkKey: KEY }));
    });
    const dialled = links.dial(links.parse(address), { purpose: 'mesh', expect: other.nodeId });
    await expect(dialled).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDSHAKE',
      message: expect.stringContaining(other.nodeId),
    });
    await turnsUntil('the peer knows', () => arrived[0]?.goodbye !== undefined);
    expect(arrived[0].messages).toMatchObject([{ code: GoodbyeCode.HANDSHAKE_REFUSED }]);
    await links.close();
  });
});

describe('a man in the middle', () => {
  /** Ends the tls of both, and passes every byte on. */
  async function between(address: string, tls: LinkTls): Promise<string> {
    return serve(tls, async (near) => {
      const far = await dial(address, tls);
      near.duplex.pipe(far.duplex);
      far.duplex.pipe(near.duplex);
    });
  }

  it.each<[string, () => Promise<[NodeOptions, LinkTls]>]>([
    ['with a key of its own', async () => [{}, new LinkTls(undefined, createIdentity())]],
    [
      'with a certificate that both trust',
      async () => [{ tls: await memberTls() }, new LinkTls(await memberTls(), createIdentity())],
    ],
  ])('%s gets nothing between two members, and both know', async (_what, made) => {
    const [options, tls] = await made();
    const [joiner, listener] = [makeNode(options), makeNode(options)];
    const { address } = await listener.listenAndServe('127.0.0.1:0');
    const warning = once(listener, 'warning');
    const join = joiner.join(await between(address, tls));
    await expect(join).rejects.toMatchObject({ code: 'ERR_STARLANE_IDENTITY' });
    expect(await warning).toMatchObject([{ code: 'ERR_STARLANE_IDENTITY' }]);
    expect([joiner.links(), listener.links()]).toEqual([[], []]);
  });
});

describe('a proof from another handshake', () => {
  it('proves nothing when it is replayed, even by a peer with a certificate', async () => {
    const tls = await memberTls();
    const node = makeNode({ tls });
    const { address } = await node.listenAndServe('127.0.0.1:0');
    const identity = createIdentity();
    const first = impostor(true, await dial(address, new LinkTls(tls, identity)), {
      claimed: identity,
      networkKey: KEY,
    });
    await Promise.all([once(node, 'link'), first.handshake()]);
    const [hello, auth] = [first.hello(), encodeAuth(first.auth())];
    first.session.destroy();
    await once(node, 'unlink');

    const again = impostor(true, await dial(address, new LinkTls(tls, createIdentity())), { provesItself: false });
    const warning = once(node, 'warning');
    again.say(hello, auth);
    expect(await warning).toMatchObject([{ code: 'ERR_STARLANE_IDENTITY' }]);
    await again.over();
    expect(again.messages).toMatchObject([{ type: MessageType.GOODBYE, code: GoodbyeCode.IDENTITY }]);
    expect(node.links()).toEqual([]);
  });
});
