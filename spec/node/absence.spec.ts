// What the ENOTFOUND of a dial or of waitFor says about why: its cause has all that this node knows of it.

import { once } from 'node:events';
import type { NetConnectOpts } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { similarNames } from '../../lib/mesh/directory/absence.js';
import { ORIGINAL_HOST } from '../../lib/socket/net/arguments.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { socketPath } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, dialTimeoutMs: 20, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  node.on('warning', () => {});
  nodes.push(node);
  return node;
}

/** The first one has joined the second one. */
async function twoNodes(near: NodeOptions = {}, far: NodeOptions = {}): Promise<[Node, Node]> {
  const [client, server] = [makeNode(near), makeNode(far)];
  await client.join((await server.listenAndServe(`unix:${socketPath()}`)).address);
  return [client, server];
}

/** The cause of the failure, which is the same for both ways to ask. */
async function causeOf(node: Node, address: string): Promise<Error> {
  const [dialled] = (await once(node.dial(address), 'error')) as [NodeJS.ErrnoException];
  const waited = await node.waitFor(address).catch((error: NodeJS.ErrnoException) => error);
  const causes = [dialled, waited].map((error) => {
    expect(error).toMatchObject({ code: 'ENOTFOUND', cause: { code: 'ERR_STARLANE_NOT_FOUND' } });
    return (error as Error).cause as Error;
  });
  expect(causes[0].message).toBe(causes[1].message);
  return causes[0];
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('The cause of ENOTFOUND', () => {
  it('reports that no link is up', async () => {
    expect((await causeOf(makeNode(), 'echo')).message).toBe(
      'no instance of the service can be dialled from here: no link is up',
    );
  });

  it('reports why no link is up', async () => {
    const path = socketPath();
    const node = makeNode({ seeds: [`unix:${path}`] });
    const [warning] = await once(node, 'warning');
    expect(warning.message).toContain('ENOENT');
    const cause = await causeOf(node, 'echo');
    expect(cause.message).toContain('no link is up, and the last one failed: ');
    expect(cause.message).toContain(path);
    expect(cause.cause).toMatchObject({ message: expect.stringContaining(path) });
  });

  it('reports why a link that was up is lost', async () => {
    const [client, server] = await twoNodes({ rejoinMinMs: 60_000, rejoinMaxMs: 60_000 });
    const lost = once(client, 'unlink');
    await server.close();
    await lost;
    expect((await causeOf(client, 'echo')).message).toContain('no link is up, and the last one failed: ');
  });

  it('counts what is known, and names what is similar', async () => {
    const [client, server] = await twoNodes();
    for (const name of ['echo-1', 'ECHO', 'ehco', 'web']) server.bind(name);
    await turnsUntil('all are there', () => client.services().length === 4);
    const { message } = await causeOf(client, 'echo');
    expect(message).toContain('1 other node and 4 services are known');
    expect(message).toMatch(/similar: ECHO, (ehco, echo-1|echo-1)/);
    expect(message).not.toContain('web');
  });

  it('names the ports at which it is bound', async () => {
    const [client, server] = await twoNodes();
    for (const port of [81, 82]) server.bind(`web:${port}`);
    await turnsUntil('both are there', () => client.services().length === 2);
    const { message } = await causeOf(client, 'web:80');
    expect(message).toMatch(/it is bound at port (81, 82|82, 81), not at 80/);
  });

  it('names the nodes that offer it in another env', async () => {
    const [client, server] = await twoNodes({ env: 'one' }, { env: 'two' });
    server.bind('echo');
    const store = Reflect.get(client, 'mesh').gossip.store;
    await turnsUntil('its record is there', () => store.shardsOf(server.id).length > 0);
    expect((await causeOf(client, 'echo')).message).toContain(`${server.id} offers it in another env`);
  });

  it('names the nodes whose offer a rule of this node hides', async () => {
    const [client, server] = await twoNodes({ allow: [{ service: 'web' }] });
    server.bind('echo');
    await turnsUntil('it is hidden', () => client.stats().services.hidden === 1);
    expect((await causeOf(client, 'echo')).message).toContain(
      `the option allow of this node hides that of ${server.id}`,
    );
  });

  it('names the clients that are linked, whose services cannot be found', async () => {
    const [client, server] = await twoNodes({ role: 'client' });
    client.bind('echo');
    expect((await causeOf(server, 'echo')).message).toContain(
      `${client.id} is a client, and nobody finds what it binds`,
    );
  });

  it('reports that a selector takes none', async () => {
    const [client, server] = await twoNodes();
    server.bind('echo');
    await turnsUntil('it is there', () => client.services().length === 1);
    const [error] = await once(client.dial('echo', { selector: () => undefined }), 'error');
    expect(error.cause.message).toContain('the selector takes none of 1 known instance');
  });

  it('comes with the lookup errors of node.net as well', async () => {
    const { net } = makeNode();
    const [error] = await once(net.connect({ host: 'echo', port: 7 }), 'error');
    expect(error).toMatchObject({
      code: 'ENOTFOUND',
      message: 'getaddrinfo ENOTFOUND echo',
      cause: { code: 'ERR_STARLANE_NOT_FOUND' },
    });
    // As the preload does, which translates the names of hosts.
    const [named] = await once(
      net.connect({ host: 'echo', port: 7, [ORIGINAL_HOST]: 'echo.starlane' } as object as NetConnectOpts),
      'error',
    );
    expect(named).toMatchObject({ message: 'getaddrinfo ENOTFOUND echo.starlane', hostname: 'echo.starlane' });
  });
});

describe('Similar names', () => {
  it.each([
    ['echo', ['echoes', 'ECHO', 'eco', 'ehho', 'exit', 'echo'], ['ECHO', 'eco', 'ehho', 'echoes']],
    ['postgres', ['postgresql', 'psotgres', 'redis', 'pg'], ['postgresql', 'psotgres']],
    ['db', ['dbs', 'database', 'bd'], ['dbs']],
  ])('of %s', (wanted, names, similar) => {
    expect(similarNames(wanted, names)).toEqual(similar);
  });

  it('are looked for among so many only', () => {
    function* names(): Iterable<string> {
      for (let count = 0; ; count++) yield `name${count}`;
    }
    expect(similarNames('name', names()).length).toBeLessThanOrEqual(2_000);
  });
});
