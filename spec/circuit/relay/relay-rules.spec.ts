// Relay rules as users of nodes see them.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../../lib/identity/identity.js';
import type { DialOptions, NodeOptions, Socket } from '../../../lib/index.js';
import type { RelayRule } from '../../../lib/options/allow.js';
import { within } from '../../support/deadline.js';
import { corrupt } from '../../support/evil-relay.js';
import type { Edge } from '../../support/graph-routes.js';
import { createTestIdentity } from '../../support/identities.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RelayNet } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';

const SECRET = { secret: 'the secret of a network' };
const STRANGER = createTestIdentity().nodeId;
const DENIED = 'no relay rule of the node allows it';

let net: RelayNet;

/** Two ways from 0 to 3. */
const DIAMOND: readonly Edge[] = [
  [0, 1],
  [0, 2],
  [1, 3],
  [2, 3],
];

const LINE_OF_3: readonly Edge[] = [
  [0, 1],
  [1, 2],
  [2, 3],
  [3, 4],
];

async function shape(
  edges: readonly Edge[],
  nodes: Record<number, NodeOptions>,
  node: NodeOptions = {},
): Promise<void> {
  net = await RelayNet.of(edges, { node: { ...SECRET, ...node }, nodes });
  net.last.bind('echo:7', { allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

/** Rules that know the ids of the nodes, which follow from keys that a spec makes. */
function identified(size: number): { ids: string[]; keys: NodeOptions[] } {
  const made = Array.from({ length: size }, () => createIdentity());
  return { ids: made.map(({ nodeId }) => nodeId), keys: made.map(({ privateKey }) => ({ identity: privateKey })) };
}

function dial(options: DialOptions = {}, address = `@${net.last.id}:7`): Socket {
  return net.first.dial(address, options);
}

async function echo(socket: Socket): Promise<string> {
  socket.end('hello');
  return (await within('an echo', readToEnd(socket))).toString();
}

async function failure(socket: Socket): Promise<NodeJS.ErrnoException & { cause?: Error }> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as NodeJS.ErrnoException & { cause?: Error };
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes)
    expect(node.stats()).toMatchObject({ dials: { pending: 0 }, relay: { circuits: 0, pending: 0 } });
  await nothingLeft();
});

describe('A relay with rules', () => {
  it.each<[string, DialOptions]>([
    ['a plain circuit', { secure: false }],
    ['a secure circuit', { secure: true }],
  ])('lets %s of its neighbour pass, whose link verifies it', async (_what, options) => {
    const { ids, keys } = identified(3);
    await shape(
      [
        [0, 1],
        [1, 2],
      ],
      { 0: keys[0], 1: { ...keys[1], relay: [{ id: ids[0] }] }, 2: keys[2] },
    );
    expect(await echo(dial(options))).toBe('hello');
  });

  it('denies what no rule matches; the dialler fails at once, and its error says where and why', async () => {
    await shape(
      [
        [0, 1],
        [1, 2],
      ],
      { 1: { relay: [{ id: STRANGER }] } },
    );
    const error = await failure(dial());
    expect(error).toMatchObject({ code: 'EACCES', syscall: 'connect', address: `@${net.last.id}`, port: 7 });
    expect(error.cause?.message).toBe(`${net.nodes[1].id} says: ${DENIED}`);
    expect(net.relay(1).counters).toMatchObject({ opened: 0, refused: 1 });
    expect(net.last.stats().accepts).toMatchObject({ accepted: 0, denied: 0 });
  });

  it('is one whose circuits to it and from it pass all the same', async () => {
    await shape([[0, 1]], { 1: { relay: [{ id: STRANGER }] } });
    expect(await echo(dial())).toBe('hello');
  });

  it('may be the last of three: it knows the source by its signature', async () => {
    const { ids, keys } = identified(5);
    const relay: readonly RelayRule[] = [{ id: ids[0] }];
    const nodes = Object.fromEntries(keys.map((key, index) => [index, { ...key, relay }]));
    await shape(LINE_OF_3, nodes);
    expect(await echo(dial())).toBe('hello');
    corrupt(net.relay(1), { open: (open) => ({ ...open, proof: undefined }) });
    const plain = await failure(dial({ secure: false }));
    expect(plain.code).toBe('EACCES');
    // The first one knows the source by its link, the second has no proof.
    expect(plain.cause?.message).toBe(`${ids[2]} says: ${DENIED}`);
  });

  it.each([1, 2, 3])('denies at place %d of three what those before it allow', async (place) => {
    await shape(LINE_OF_3, { [place]: { relay: [{ service: 'web' }] } });
    const error = await failure(dial());
    expect(error.code).toBe('EACCES');
    expect(error.cause?.message).toBe(`${net.nodes[place].id} says: ${DENIED}`);
  });

  it('is not deceived by a relay that claims to bring a circuit of somebody else', async () => {
    const { ids, keys } = identified(4);
    const [, , allowed] = ids;
    await shape(
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
      { 0: keys[0], 1: keys[1], 2: { ...keys[2], relay: [{ id: allowed }, { id: ids[3] }] }, 3: keys[3] },
    );
    // What node 0 has signed, in the name of node 3.
    corrupt(net.relay(1), { open: (open) => ({ ...open, src: ids[3] }) });
    const error = await failure(dial());
    expect(error.code).toBe('EACCES');
    expect(error.cause?.message).toContain(`${ids[2]} says: ${DENIED}: `);
  });

  it('distinguishes services, as they were dialled', async () => {
    await shape(
      [
        [0, 1],
        [1, 2],
      ],
      { 1: { relay: [{ service: 'ec*' }] } },
    );
    await net.first.waitFor('echo');
    expect(await echo(dial({}, 'echo'))).toBe('hello');
    expect(await echo(dial({}, 'echo:7'))).toBe('hello');
    expect((await failure(dial())).code).toBe('EACCES');
  });

  it('leaves other paths to try, and is tried last from then on', async () => {
    await shape(DIAMOND, { 1: { relay: [{ service: 'web' }] } });
    expect(await echo(dial())).toBe('hello');
    expect(net.routes[0].told).toEqual([
      `penalise ${net.nodes[1].id} ${net.last.id}`,
      `reward ${net.nodes[2].id} ${net.last.id}`,
    ]);
    const again = dial();
    await once(again, 'connect');
    expect(again.peer?.via).toEqual([net.nodes[2].id]);
    again.destroy();
    expect(net.relay(1).counters.refused).toBe(1);
  });

  it('is why the dial fails only if every path was denied', async () => {
    await shape(DIAMOND, { 1: { relay: [{ service: 'web' }] }, 2: { relay: [{ tag: 'ops' }] } });
    const error = await failure(dial());
    expect(error.code).toBe('EACCES');
    expect([net.nodes[1].id, net.nodes[2].id].map((id) => `${id} says: ${DENIED}`)).toContain(error.cause?.message);
    expect([net.relay(1).counters.refused, net.relay(2).counters.refused]).toEqual([1, 1]);
  });

  it('denies a circuit with data behind it, and keeps nothing of it', async () => {
    await shape(
      [
        [0, 1],
        [1, 2],
      ],
      { 1: { relay: [{ env: 'prod' }] } },
    );
    const socket = dial({ secure: false });
    socket.write('early');
    expect((await failure(socket)).code).toBe('EACCES');
    expect(net.relay(1).heldBytes).toBe(0);
  });

  it('checks many signatures over many turns, and all circuits pass', async () => {
    const { ids, keys } = identified(4);
    await shape(
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
      { 0: keys[0], 2: { relay: [{ id: ids[0] }] } },
    );
    const sockets = Array.from({ length: 30 }, () => dial());
    expect(await Promise.all(sockets.map(echo))).toEqual(Array(30).fill('hello'));
  });

  it('whose neighbour gives up while its signatures wait forgets them', async () => {
    const { ids, keys } = identified(4);
    await shape(
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
      { 0: keys[0], 2: { relay: [{ id: ids[0] }] } },
    );
    const sockets = Array.from({ length: 30 }, () => dial());
    const over = sockets.map((socket) => once(socket, 'close'));
    await once(sockets[0], 'connect');
    for (const socket of sockets) socket.destroy();
    await Promise.all(over);
  });
});
