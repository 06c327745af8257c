// What a node says when something is wrong, and to whom.

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { runPreloaded, runProgram } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';

const nodes: Node[] = [];
const children: Child[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

function started(child: Child): Child {
  children.push(child);
  return child;
}

/** A port at which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The warnings of the process from now on. */
function processWarnings(): Array<[message: string, code: string | undefined]> {
  const warnings: Array<[string, string | undefined]> = [];
  jest.spyOn(process, 'emitWarning').mockImplementation(((message: string, options: { code?: string }) => {
    warnings.push([message, options.code]);
  }) as typeof process.emitWarning);
  return warnings;
}

afterEach(async () => {
  jest.restoreAllMocks();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await Promise.all(children.splice(0).map((child) => child.stop()));
});

describe('a join at a wrong port', () => {
  it('is a warning of the process, once, where nobody listens for it', async () => {
    const warnings = processWarnings();
    const node = makeNode();
    const port = await freePort();
    await expect(node.join(`tcp://127.0.0.1:${port}`, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      address: `tcp://127.0.0.1:${port}`,
      cause: { code: 'ECONNREFUSED' },
    });
    expect(node.stats().warnings).toBeGreaterThan(1);
    expect(warnings).toEqual([[expect.stringContaining(`127.0.0.1:${port}`), 'ECONNREFUSED']]);
  });

  it('is told to a listener only, where there is one', async () => {
    const warnings = processWarnings();
    const node = makeNode();
    const warned = once(node, 'warning');
    const joined = node.join(`tcp://127.0.0.1:${await freePort()}`, { timeoutMs: 100 });
    const refused = expect(joined).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(await warned).toMatchObject([{ code: 'ECONNREFUSED' }]);
    expect(warnings).toEqual([]);
    await refused;
  });

  it('that a signal ends says why it has not come about', async () => {
    const node = makeNode();
    node.on('warning', () => {});
    const aborter = new AbortController();
    const joined = node.join(`tcp://127.0.0.1:${await freePort()}`, { signal: aborter.signal });
    node.once('warning', () => aborter.abort());
    await expect(joined).rejects.toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: { code: 'ECONNREFUSED' },
    });
    expect(node.stats().links.joins).toBe(0);
  });

  it('is on the standard error of a program that does nothing but wait', async () => {
    const port = await freePort();
    const child = started(
      runProgram(`
        const node = starlane.createNode({ rejoinMinMs: 1, rejoinMaxMs: 5 });
        const failure = await node.join('tcp://127.0.0.1:${port}', { timeoutMs: 200 }).catch((error) => error);
        say({ code: failure.code, cause: failure.cause.code });`),
    );
    expect(await within('the end of the process', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ code: 'ETIMEDOUT', cause: 'ECONNREFUSED' }]);
    expect(child.errors).toMatch(
      new RegExp(`\\[ECONNREFUSED\\] StarlaneWarning: connect ECONNREFUSED 127.0.0.1:${port}`),
    );
    expect(child.errors.match(/StarlaneWarning:/g)).toHaveLength(1);
  });

  it('is on the standard error of a program under the preload', async () => {
    const port = await freePort();
    const program = `
      process.on('warning', ({ message, code }) => {
        say({ message, code });
        process.exit();
      });
      require('node:net').connect(1, 'echo.starlane');`;
    const child = started(runPreloaded('commonjs', program, { STARLANE_JOIN: `tcp://127.0.0.1:${port}` }));
    await within('the end of the process', child.exited);
    expect(child.lines).toEqual([
      { message: expect.stringContaining(`connect ECONNREFUSED 127.0.0.1:${port}`), code: 'ERR_STARLANE_TRANSPORT' },
    ]);
    expect(child.errors).toContain('[ERR_STARLANE_TRANSPORT] StarlaneWarning: ');
  });
});

describe('the options of join', () => {
  it.each<[string, unknown]>([
    ['timeout', { timeout: 5 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeoutMs', { timeoutMs: '5' }],
    ['signal', { signal: {} }],
    ['join', 5_000],
    ['join', null],
  ])('are checked: %s', async (name, options) => {
    const node = makeNode();
    await expect(node.join('tcp://127.0.0.1:1', options as object)).rejects.toMatchObject({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringContaining(`${name}: `),
    });
    expect(node.stats().links.joins).toBe(0);
  });
});

describe("an 'error' of a node that nobody hears", () => {
  it('is a warning of the process', async () => {
    const warnings = processWarnings();
    const address = `tcp://127.0.0.1:${await freePort()}`;
    await makeNode().listenAndServe(address);
    process.env['STARLANE_LISTEN'] = address;
    try {
      makeNode();
    } finally {
      delete process.env['STARLANE_LISTEN'];
    }
    const second = nodes[1] as Node;
    while (warnings.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(second.stats().warnings).toBe(0);
    expect(warnings).toMatchObject([[expect.stringContaining('EADDRINUSE'), 'EADDRINUSE']]);
  });
});
