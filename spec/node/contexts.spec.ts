// AsyncLocalStorage: callbacks of a link or of a shared timer run in the context of the code that requested them, never in that of
// the request that happened to make the link.

import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { agent } from '../../lib/http/index.js';
import { createNode, type Node, type NodeOptions, type Server, type Socket } from '../../lib/index.js';
import { exchange } from '../http/exchange.js';
import { within } from '../support/deadline.js';

const store = new AsyncLocalStorage<string>();
const nodes: Node[] = [];

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

function makeNode(context: string, options: NodeOptions = {}): Node {
  const node = store.run(context, () => createNode({ closeTimeoutMs: 1, ...options }));
  nodes.push(node);
  return node;
}

/** Two nodes over TCP, linked by somebody else. */
async function linked(options: NodeOptions = {}): Promise<{ client: Node; server: Node }> {
  const [client, server] = [makeNode('of the client'), makeNode('of the server', options)];
  const listener = await store.run('who listens', () => server.listenAndServe('tcp://127.0.0.1:0'));
  await store.run('who joins', () => client.join(listener.address));
  return { client, server };
}

describe('the async context', () => {
  it('of bind is that of its connections and all their events', async () => {
    const { client, server } = await linked();
    const seen: Array<string | undefined> = [];
    const note = (name: string) => () => seen.push(`${name} ${store.getStore()}`);
    const closed = new Promise<void>((resolve) => {
      store.run('who binds', () =>
        server.bind('echo', (socket) => {
          note('connection')();
          for (const name of ['data', 'end', 'close']) socket.on(name, note(name));
          socket.once('close', resolve);
        }),
      );
    });
    await client.waitFor('echo');
    store.run('who dials', () => client.dial('echo').resume().end('hello'));
    await within('close', closed);
    expect(seen).toEqual(['connection', 'data', 'end', 'close'].map((name) => `${name} who binds`));
  });

  it('of dial is that of the events of its socket, also of a timeout and an error', async () => {
    const { client, server } = await linked();
    const accepted: Socket[] = [];
    server.bind('quiet', (socket) => accepted.push(socket));
    await client.waitFor('quiet');
    const seen: string[] = [];
    const socket = store.run('who dials', () => client.dial('quiet'));
    for (const name of ['connect', 'data', 'error', 'close'])
      socket.on(name, () => seen.push(`${name} ${store.getStore()}`));
    await once(socket, 'connect');
    const idle = new Promise<void>((resolve) => {
      store.run('who waits', () =>
        socket.setTimeout(1, () => {
          seen.push(`timeout ${store.getStore()}`);
          resolve();
        }),
      );
    });
    await within('timeout', idle);
    store.run('who answers', () => accepted[0].write('hello'));
    await once(socket, 'data');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    store.run('who resets', () => accepted[0].resetAndDestroy());
    await within('close', closed);
    expect(seen).toEqual([
      'connect who dials',
      'timeout who waits',
      'data who dials',
      'error who dials',
      'close who dials',
    ]);
  });

  it('of a dial that fails is that of its error', async () => {
    const { client } = await linked();
    const seen: unknown[] = [];
    const failed = new Promise<void>((resolve) => {
      store.run('who dials', () => {
        const socket = client.dial('nobody', { timeoutMs: 20 });
        socket.on('error', () => {
          seen.push(store.getStore());
          resolve();
        });
      });
    });
    await within('error', failed);
    expect(seen).toEqual(['who dials']);
  });

  it('of an http.Server that is bound is that of its requests, whichever end has made the link', async () => {
    const { client, server } = await linked();
    const seen: unknown[] = [];
    const web = createServer((_request, response) => {
      seen.push(store.getStore());
      response.end('hello');
    });
    store.run('who binds', () => server.bind('web', web));
    await client.waitFor('web');
    const through = agent(client);
    for (let round = 0; round < 2; round++)
      await store.run(`request ${round}`, () =>
        exchange({ host: 'web', protocol: 'http:', path: '/', agent: through }),
      );
    through.destroy();
    expect(seen).toEqual(['who binds', 'who binds']);
  });

  it('of createNode is that of its events and of the function allow', async () => {
    const seen: string[] = [];
    const note = (name: string): void => {
      seen.push(`${name} ${store.getStore()}`);
    };
    const { client, server } = await linked({
      allow: () => {
        note('allow');
        return true;
      },
    });
    client.on('service', () => note('service'));
    const bound = store.run('who binds', (): Server => server.bind('echo', (socket) => socket.resume().end()));
    await once(bound, 'listening');
    await client.waitFor('echo');
    const socket = store.run('who dials', () => client.dial('echo').resume());
    await once(socket, 'close');
    expect(seen).toContain('service of the client');
    expect(seen.filter((entry) => entry.startsWith('allow'))).not.toContain('allow who joins');
    expect(new Set(seen)).toEqual(new Set(['service of the client', 'allow of the server']));
  });
});
