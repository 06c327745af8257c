// Programs under test replace the timers of Node; what the library waits for is real all the same.

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { createNode, type Node } from '../../../lib/index.js';
import { runProgram } from '../../support/built-lib.js';
import { within } from '../../support/deadline.js';

const LIB = resolve(dirname(fileURLToPath(import.meta.url)), '../../../lib');
const REAL = 'util/runtime/real-timers.ts';
/** What runs in a browser has no others. */
const BROWSER = join('http', 'monitor', 'page');
/** Names that a file may use when it takes them from the real timers. */
const NAMES = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'queueMicrotask'];
/** What a file may not use at all. */
const NEVER = /\bprocess\.nextTick\b|\bDate\.now\(|\bperformance\.now\(|\bprocess\.hrtime\b|\bnew Date\(\)/;

/** The timers that a file uses and does not import. */
function globalTimers(file: string): string[] {
  const text = readFileSync(join(LIB, file), 'utf8');
  const code = text.replace(/\/\*.*?\*\//gs, '').replace(/\/\/.*/g, '');
  const imported = /import \{([^}]*)\} from '[./\w]*real-timers\.js'/.exec(code)?.[1] ?? '';
  // A call, or handed on as a value; not a member, and not the declaration of one.
  const used = NAMES.filter((name) => new RegExp(`(?<![.\\w#])${name}(?=[,)]|\\((?!\\w+\\??: ))`).test(code));
  const missing = used.filter((name) => !new RegExp(`\\b${name}\\b`).test(imported));
  return NEVER.test(code) ? [...missing, String(NEVER.exec(code)?.[0])] : missing;
}

it('all files of the library take their timers from one place', () => {
  const files = readdirSync(LIB, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.ts') && file !== REAL && !file.startsWith(BROWSER))
    // The command has its process for itself.
    .filter((file) => !/^cli[\\/]/.test(file));
  const found = files.map((file) => [file, globalTimers(file)] as const).filter(([, names]) => names.length > 0);
  expect(found).toEqual([]);
});

describe('with fake timers', () => {
  const nodes: Node[] = [];
  afterEach(async () => {
    jest.useRealTimers();
    await Promise.all(nodes.splice(0).map((node) => node.close()));
  });

  /** A life of two nodes and a socket, none of which may wait for the fake timers. */
  async function life(): Promise<string> {
    const server = createNode({ closeTimeoutMs: 100 });
    const client = createNode({ closeTimeoutMs: 100 });
    nodes.push(server, client);
    server.bind('echo', (socket) => socket.pipe(socket));
    const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
    await client.join(address);
    await client.waitFor('echo');
    const socket = client.dial('echo');
    const closed = once(socket, 'close');
    socket.end('hello');
    let text = '';
    for await (const chunk of socket) text += chunk;
    await closed;
    const idle = client.dial('echo').setTimeout(10);
    await once(idle, 'timeout');
    const failed = once(idle, 'close');
    idle.destroy();
    await failed;
    await client.close();
    await server.close();
    return text;
  }

  it.each([
    ['all of them', undefined],
    ['those that vitest replaces', { doNotFake: ['nextTick', 'queueMicrotask'] as const }],
  ])('links come up, sockets end and nodes close: %s', async (_what, options) => {
    jest.useFakeTimers(options as Parameters<typeof jest.useFakeTimers>[0]);
    expect(await life()).toBe('hello');
  });

  it('what has begun before goes on, and all is well when they are removed', async () => {
    const server = createNode({ closeTimeoutMs: 100 });
    nodes.push(server);
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = server.dial('echo');
    await once(socket, 'connect');
    jest.useFakeTimers();
    const closed = once(socket, 'close');
    socket.resume().end('hello');
    jest.useRealTimers();
    await within('the close', closed);
    expect(await within('a life after that', life())).toBe('hello');
  });

  it('those of node:test and the globals of a program are no matter either', async () => {
    const child = runProgram(`
      import { mock } from 'node:test';
      import { once } from 'node:events';
      mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });
      globalThis.queueMicrotask = () => {};
      performance.now = () => 0;
      const node = starlane.createNode({ closeTimeoutMs: 100 });
      node.bind('echo', (socket) => socket.pipe(socket));
      const other = starlane.createNode({ closeTimeoutMs: 100 });
      const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
      await other.join(address);
      await other.waitFor('echo');
      const socket = other.dial('echo');
      const closed = once(socket, 'close');
      socket.resume().end('hello');
      await closed;
      await other.close();
      await node.close();
      say({ event: 'closed' });
      process.exit();`);
    expect(await within('the end', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ event: 'closed' }]);
  });
});
