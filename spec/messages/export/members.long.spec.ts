// An export between two networks of members: what the other one sees, and whose rules count.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node, Server, Socket } from '../../../lib/index.js';
import { type ExportServiceOptions, exportService, type ServiceExport } from '../../../lib/messages/index.js';
import { MemberNet } from '../../support/member-net.js';
import { knows, readToEnd } from '../../support/testnet.js';

let a: MemberNet;
let b: MemberNet;
let exported: ServiceExport[];

/** The service is at the one end of network a, the caller at the other end of network b, and the bridge has a node of each. */
let origin: Node;
let caller: Node;
let bridge: { readonly from: Node; readonly to: Node };

beforeEach(async () => {
  exported = [];
  const noRights = { relay: true, offer: ['*'], issue: false };
  [a, b] = await Promise.all([
    MemberNet.line(1, { members: { 2: { name: 'bridge-in-a', tags: ['bridge'], rights: noRights } } }),
    MemberNet.line(1, {
      members: { 0: { name: 'bridge-in-b', rights: noRights }, 2: { name: 'caller', tags: ['ops'] } },
    }),
  ]);
  [origin] = a.net.nodes;
  caller = b.last;
  bridge = { from: a.last, to: b.first };
});

afterEach(async () => {
  await Promise.all(exported.map((one) => one.close({ timeoutMs: 0 })));
  await Promise.all([a.close(), b.close()]);
});

function start(options: Partial<ExportServiceOptions> = {}): ServiceExport {
  const made = exportService({ ...bridge, service: 'orders', ...options });
  exported.push(made);
  return made;
}

function echo(node: Node, name: string, options = {}): Server {
  return node.bind(name, { allowHalfOpen: true, ...options }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

async function ask(node: Node, service: string, text = 'hello'): Promise<string> {
  const socket = node.dial(service, { allowHalfOpen: true });
  socket.end(text);
  return (await readToEnd(socket)).toString();
}

async function failure(socket: Socket): Promise<unknown> {
  const [error] = await once(socket, 'error');
  return error;
}

describe('between networks of members, an exported service', () => {
  it('is all that the other network sees of the first one', async () => {
    echo(origin, 'orders');
    echo(origin, 'secrets');
    echo(bridge.from, 'own');
    start();
    await knows(caller, 'orders');
    await knows(bridge.from, 'secrets');
    const known = b.net.nodes.map(({ id }) => id);
    const hidden = a.net.nodes.map(({ id }) => id);
    for (const node of b.net.nodes) {
      expect(node.services().map(({ service }) => service)).toEqual(['orders']);
      for (const nodeId of node.routesMap().keys()) expect(known).toContain(nodeId);
      const answers = await Promise.all(
        (['/v1/nodes', '/v1/services', '/v1/topology', '/v1/routes', '/v1/links'] as const).map((path) =>
          node.query(`@${node.id}`, path),
        ),
      );
      const seen = JSON.stringify(answers);
      for (const id of hidden) expect(seen).not.toContain(id);
    }
    for (const service of ['secrets', 'own']) {
      expect(await failure(caller.dial(service, { timeoutMs: 50 }))).toMatchObject({ code: 'ENOTFOUND' });
    }
    for (const id of hidden) {
      expect(await failure(caller.dial(`@${id}:2`, { timeoutMs: 50 }))).toMatchObject({
        code: expect.stringMatching(/^(EHOSTUNREACH|ETIMEDOUT)$/),
      });
    }
    // And nothing in the other direction.
    for (const node of a.net.nodes) for (const id of node.routesMap().keys()) expect(hidden).toContain(id);
  });

  it('sees the bridge as its caller, with the name of its certificate, and not the one that dials', async () => {
    const peers: unknown[] = [];
    origin.bind('orders', (socket) => {
      peers.push(socket.peer);
      socket.end();
    });
    start();
    await knows(caller, 'orders');
    await ask(caller, 'orders');
    expect(peers).toMatchObject([{ id: bridge.from.id, name: 'bridge-in-a', tags: ['bridge'] }]);
  });

  it('is for its own rules, that of the export, and those of the node that offers it', async () => {
    echo(origin, 'orders', { allow: [{ tag: 'bridge' }] });
    echo(origin, 'closed', { allow: [{ tag: 'nobody' }] });
    start({ allow: [{ tag: 'ops' }] });
    start({ service: 'closed' });
    await knows(caller, 'orders');
    await knows(caller, 'closed');
    expect(await ask(caller, 'orders')).toBe('hello');
    // The rule of the export: another member of b has no such tag.
    const other = b.net.nodes[1] as Node;
    expect(await failure(other.dial('orders'))).toMatchObject({ code: 'EACCES' });
    // The rule of the service: the bridge itself is refused, and so is everyone behind it.
    expect(await failure(caller.dial('closed'))).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it.each(['of the service', 'of the caller'])(
    'ends with the membership of the bridge in the network %s',
    async (side) => {
      echo(origin, 'orders');
      start();
      await knows(caller, 'orders');
      const socket = caller.dial('orders');
      await once(socket, 'connect');
      const lost = failure(socket);
      const [net, index] = side === 'of the service' ? [a, 2] : [b, 0];
      for (const book of net.books()) book.add(net.revocationOf(index));
      expect(await lost).toMatchObject({ code: 'ECONNRESET' });
      if (side === 'of the service')
        expect(await failure(caller.dial('orders'))).toMatchObject({ code: 'ECONNREFUSED' });
    },
  );
});
