// Nodes in processes of their own: when these end by themselves, and what it looks like when they are killed.

import { once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type Socket } from '../../lib/index.js';
import { runProgram } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';
import { forgets, socketPath } from '../support/testnet.js';

const nodes: Node[] = [];
const children: Child[] = [];

function makeNode(): Node {
  const node = createNode({ closeTimeoutMs: 100, rejoinMinMs: 1, rejoinMaxMs: 20 });
  nodes.push(node);
  return node;
}

function run(body: string): Child {
  const child = runProgram(body);
  children.push(child);
  return child;
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await Promise.all(children.splice(0).map((child) => child.stop()));
});

/** A program that serves echo at `path` until it is killed. */
function echoServer(path: string): string {
  return `
    const node = starlane.createNode();
    await node.listenAndServe('unix:${path}');
    node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
    say({ event: 'up', id: node.id });`;
}

describe('a process', () => {
  it('ends by itself when its nodes have nothing but links', async () => {
    const server = makeNode();
    const { address } = await server.listenAndServe(`unix:${socketPath()}`);
    server.bind('echo', (socket) => socket.pipe(socket));
    const child = run(`
      starlane.createNode();
      starlane.createNode({ seeds: ['unix:/nowhere/at-all'] });
      const node = starlane.createNode();
      await node.join('${address}');
      const socket = node.dial('echo');
      socket.end('hello');
      for await (const chunk of socket) say({ event: 'echo', text: String(chunk) });`);
    expect(await within('the end of the process', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ event: 'echo', text: 'hello' }]);
  });

  it.each([
    ['listens for links', "await node.listenAndServe('tcp://127.0.0.1:0')"],
    ['serves', "node.bind('echo')"],
    ['joins', "node.join('unix:/nowhere/at-all').catch(() => {})"],
    ['waits for a service', "node.waitFor('echo', { timeoutMs: Infinity })"],
    ['dials', "node.dial('echo').on('error', () => {})"],
  ])('goes on while its node %s, unless that is unref', async (_what, action) => {
    const going = run(`const node = starlane.createNode(); ${action}; setImmediate(() => say({ event: 'going' }));`);
    const unref = run(`const node = starlane.createNode(); ${action}; node.unref();`);
    expect(await within('the end of the process', unref.exited)).toBe(0);
    await going.waitFor('a turn', ({ event }) => event === 'going');
    going.kill();
    expect(await within('the end of the process', going.exited)).toBe('SIGKILL');
  });
});

describe('a process that is killed', () => {
  it('ends every socket to it with ECONNRESET, its services go, and a new one takes its place', async () => {
    const path = socketPath();
    const first = run(echoServer(path));
    await first.waitFor('the server', ({ event }) => event === 'up');
    const node = makeNode();
    await node.join(`unix:${path}`);
    const sockets: Socket[] = Array.from({ length: 100 }, () => node.dial('echo'));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const errors = sockets.map((socket) => once(socket, 'error'));
    first.kill();
    for (const [error] of await Promise.all(errors)) expect(error).toMatchObject({ code: 'ECONNRESET' });
    await forgets(node, 'echo');

    const second = run(echoServer(path));
    const { id } = await second.waitFor('the next server', ({ event }) => event === 'up');
    expect(await node.waitFor('echo')).toMatchObject({ nodeId: id });
  });
});
