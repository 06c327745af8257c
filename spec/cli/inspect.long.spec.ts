// The commands that look around, as processes: at a running node, at another one, and without one.

import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Command, type CommandResult, Machine } from '../support/command.js';

const server = new Machine();
const laptop = new Machine();
let echo: Server;
let node: Command;

beforeAll(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const { port } = echo.address() as AddressInfo;
  const published = await server.publish(['echo', '--port', String(port), '--name', 'server']);
  expect(await laptop.run(['join', published.token, '--name', 'laptop'])).toMatchObject({ code: 0 });
  node = laptop.start(['up']);
  await node.waitFor(/^node \S+ runs/m, 'stdout');
  // The record of the new member reaches the other end soon.
  await server.start(['watch', '--until', 'service', '--json']).stop('SIGTERM');
});

afterAll(async () => {
  await Promise.all([server.dispose(), laptop.dispose()]);
  echo.close();
});

function json<T>({ code, stdout, stderr }: CommandResult): T {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as T;
}

describe('services', () => {
  it('are listed with their nodes', async () => {
    const list = json<Array<Record<string, unknown>>>(await laptop.run(['services', '--json']));
    expect(list).toEqual([expect.objectContaining({ service: 'echo', nodeName: 'server', hops: 1, local: false })]);
    expect((await laptop.run(['services', 'echo'])).stdout).toMatch(/^SERVICE +NODE .*\necho +server /);
  });

  it.each([
    [['services', 'e*o'], 1],
    [['services', '--at', 'serv*', '--no-local'], 1],
    [['services', '--meta', 'region=eu'], 0],
    [['services', '--local'], 0],
    [['nodes', 'server'], 1],
    [['nodes', '--offers', 'e*', '--reachable'], 1],
    [['nodes', '--tag', 'nobody'], 0],
    [['nodes', '--kind', 'router'], 0],
  ])('and nodes are chosen by %j', async (args, count) => {
    const { code, stdout } = await laptop.run([...args, '--json']);
    expect(code).toBe(count === 0 ? 5 : 0);
    expect(JSON.parse(stdout)).toHaveLength(count);
  });

  it('are not chosen by what is no KEY=VALUE', async () => {
    expect(await laptop.run(['nodes', '--meta', 'region'])).toMatchObject({ code: 2 });
  });

  it('that nobody offers are exit code 5', async () => {
    expect(await laptop.run(['services', 'nothing'])).toMatchObject({
      code: 5,
      stderr: 'No instance of nothing is known.\n',
    });
  });
});

describe('nodes, routes, links and members', () => {
  it('are listed as the node of this machine sees them', async () => {
    const nodes = json<Array<{ name?: string }>>(await server.run(['nodes', '--json']));
    expect(nodes.map(({ name }) => name).sort()).toEqual(['laptop', 'server']);
    expect(json<unknown[]>(await server.run(['routes', '--json']))).toEqual([
      expect.objectContaining({ name: 'laptop', hops: 1 }),
    ]);
    expect(json<unknown[]>(await server.run(['links', '--json']))).toEqual([
      expect.objectContaining({ peerName: 'laptop', direction: 'inbound' }),
    ]);
  });

  it('are listed as another node sees them, for those who may ask', async () => {
    const routes = json<unknown[]>(await server.run(['routes', '--node', 'laptop', '--json']));
    expect(routes).toEqual([expect.objectContaining({ name: 'server' })]);
    const refused = await laptop.run(['links', '--node', 'server']);
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toMatch(/^starlane: .*queries.*\n$/);
  });

  it('have tables for people', async () => {
    for (const name of ['nodes', 'routes', 'links', 'members']) {
      expect(await server.run([name])).toMatchObject({ code: 0, stdout: expect.stringMatching(/laptop/) });
    }
  });
});

describe('ping and trace', () => {
  it('measure the round trip to a service, a member and an id', async () => {
    const answer = json<{ nodeId: string; name: string; minMs: number }>(
      await laptop.run(['ping', 'echo', '-n', '1', '--json']),
    );
    expect(answer).toMatchObject({ name: 'server', minMs: expect.any(Number) });
    for (const target of ['server', `@${answer.nodeId}`]) {
      expect(await laptop.run(['ping', target, '-n', '2', '--interval', '1ms'])).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/server .* ms, direct\n(.*\n)2 answered, 0 not; min /),
      });
    }
  });

  it('name a target that is not there', async () => {
    for (const name of ['ping', 'trace']) {
      const { code, stderr } = await laptop.run([name, 'nothing', '--timeout', '1s']);
      expect({ name, code }).toEqual({ name, code: 5 });
      expect(stderr).toMatch(/^starlane: .*ENOTFOUND.*nothing.*\n$/);
    }
  });

  it('show each hop', async () => {
    const found = json<{ hops: Array<{ name?: string; share: number | null }> }>(
      await laptop.run(['trace', 'echo', '--json']),
    );
    expect(found.hops.map(({ name }) => name)).toEqual(['laptop', 'server']);
    expect(found.hops[0].share).toBeGreaterThan(0);
    expect((await laptop.run(['trace', 'server'])).stdout).toMatch(/whole round trip: [\d.]+ ms/);
  });
});

describe('streams and top', () => {
  it('show a stream that waits for its reader', async () => {
    const connect = laptop.start(['connect', 'echo']);
    connect.stdin.write('hello');
    await connect.waitFor(/hello/, 'stdout');
    const list = json<unknown[]>(await server.run(['streams', '--json']));
    expect(list).toEqual(
      expect.arrayContaining([expect.objectContaining({ service: 'echo', peerName: 'laptop', direction: 'in' })]),
    );
    expect(await server.run(['streams', '--stalled', '--stalled-for', '1ms'])).toMatchObject({ code: 0 });
    expect(await server.run(['top', '-n', '2', '--interval', '100ms'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/laptop/),
    });
    await connect.stop('SIGTERM');
  });
});

describe('watch', () => {
  it('prints services as they come, and ends with the one that it waits for', async () => {
    const watch = laptop.start(['watch', '--until', 'service', '--json']);
    await watch.waitFor(/"event":"hello"/, 'stdout');
    const other = server.start(['publish', 'second', '--port', '9']);
    const { code, stdout } = await watch.finish();
    expect(code).toBe(0);
    expect(stdout).toMatch(/"event":"service",.*"service":"second"/);
    await other.stop();
  });
});

describe('bench', () => {
  it('measures dials, round trips and bulk through a service that echoes', async () => {
    const args = ['bench', 'echo', '--echo', '--duration', '200ms', '--json'];
    const result = json<Record<string, unknown>>(await laptop.run(args));
    expect(result).toMatchObject({
      target: 'echo',
      via: [],
      dials: { perSecond: expect.any(Number) },
      bulk: { from: 'echo', streams: 1 },
    });
  });

  it('takes bulk from the node, where that lets this one ask', async () => {
    expect(await server.run(['bench', 'laptop', '--duration', '200ms'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/bulk +.*\/s on 1 streams, from its node/),
    });
    expect(await laptop.run(['bench', 'server', '--duration', '200ms'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^bulk +not measured: the option queries/m),
    });
  });
});

describe('doctor', () => {
  it('finds nothing wrong where nothing is, and prints no secret', async () => {
    const { code, stdout } = await laptop.run(['doctor']);
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/^ok +certificate +laptop, valid for 30 d$/m);
    expect(stdout).toMatch(/^ok +peer server +.*version/m);
    expect(stdout).not.toMatch(/starlane1\.|PRIVATE/);
  });

  it('names an address that does not answer', async () => {
    const findings = JSON.parse(
      (await laptop.run(['doctor', '--json', '--join', 'tls://127.0.0.1:1'])).stdout,
    ) as unknown[];
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'address tls://127.0.0.1:1', found: 'cannot be connected to (ECONNREFUSED)' }),
    );
  });

  it('says where to begin on a machine without a network', async () => {
    const machine = new Machine();
    try {
      expect((await machine.run(['doctor'])).stdout).toMatch(/this machine is in no network/);
    } finally {
      await machine.dispose();
    }
  });
});

describe('a machine whose node does not run', () => {
  it('looks around with one that runs for as long as that takes', async () => {
    await node.stop();
    const list = json<unknown[]>(await laptop.run(['services', '--json']));
    expect(list).toEqual([expect.objectContaining({ service: 'echo' })]);
    expect(await laptop.run(['status'])).toMatchObject({ code: 3 });
  });
});
