// Two processes with one identity: the newer one keeps it, the older one stops joining, and all three nodes get a warning.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../lib/identity/identity.js';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { isLaterRun } from '../../lib/link/duplicate-identity.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { readToEnd, socketPath } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

const CODE = 'ERR_STARLANE_DUPLICATE_IDENTITY';
const nodes: Node[] = [];
const warnings = new Map<Node, Array<Error & { code?: string }>>();

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  const heard: Error[] = [];
  warnings.set(node, heard);
  node.on('warning', (warning) => heard.push(warning));
  return node;
}

/** What a node was warned of, by code. */
function warned(node: Node): string[] {
  return (warnings.get(node) ?? []).filter(({ code }) => code === CODE).map(({ message }) => message);
}

/** A hub and a key: which of the two has the lower id decides which end takes a link. */
function keyBeside(hub: Node, side: 'lower' | 'higher'): KeyObject {
  for (;;) {
    const { privateKey } = generateKeyPairSync('ed25519');
    const { nodeId } = createIdentity(privateKey);
    if (nodeId < hub.id === (side === 'lower')) return privateKey;
  }
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  warnings.clear();
  await nothingLeft();
});

describe.each(['lower', 'higher'] as const)(
  'two processes with one identity, with an id that is %s than the hub',
  (side) => {
    async function begin(): Promise<{ hub: Node; address: string; identity: KeyObject }> {
      const hub = makeNode();
      const { address } = await hub.listenAndServe(`unix:${socketPath()}`);
      return { hub, address, identity: keyBeside(hub, side) };
    }

    it.each(['join', 'seeds'])(
      'are told apart: the newer one stays, the older one gives up, and all get a warning: by %s',
      async (how) => {
        const { hub, address, identity } = await begin();
        const start = async (name: string): Promise<Node> => {
          const node = makeNode({ identity, ...(how === 'seeds' ? { seeds: [address] } : {}) });
          node.bind(name);
          if (how === 'join') await node.join(address);
          else await turnsUntil('it is linked', () => node.links().length > 0);
          return node;
        };
        const older = await start('older');
        const newer = await start('newer');
        const allHeard = turnsUntil('all have heard', () =>
          [hub, older, newer].every((node) => warned(node).length > 0),
        );
        await within('the report', allHeard, 3_000);
        await turnsUntil(
          'the older one joins no more',
          () => older.stats().links.joins === 0 && older.links().length === 0,
        );
        await turnsUntil(
          'its services are gone',
          () =>
            hub
              .services()
              .map(({ service }) => service)
              .join() === 'newer',
        );
        expect(newer.links()).toHaveLength(1);
        expect(hub.links()).toHaveLength(1);
        expect(warned(hub)).toHaveLength(1);
        expect(warned(hub)[0]).toContain(hub.links()[0]?.address as string);
        expect(warned(hub)[0]).toContain(older.id);
        expect(warned(older)[0]).toMatch(/a newer process has your identity, at /);
        expect(warned(newer)).toHaveLength(1);
        expect(warned(newer)[0]).toMatch(/an older process has your identity, at /);
        expect(warned(newer)[0]).toContain(address);
      },
    );

    it('are told apart also when the older one comes later, and what it joins then is refused', async () => {
      const { hub, address, identity } = await begin();
      const older = makeNode({ identity });
      const newer = makeNode({ identity });
      await newer.join(address);
      await expect(older.join(address)).rejects.toMatchObject({ code: CODE });
      await turnsUntil('all have heard', () => warned(hub).length > 0 && warned(newer).length > 0);
      expect(newer.links()).toHaveLength(1);
      // What the newer one offers is still there.
      newer.bind('echo', (socket) => socket.pipe(socket));
      const socket = hub.dial('echo');
      socket.end('hello');
      expect((await readToEnd(socket)).toString()).toBe('hello');
    });

    it('are told apart by the records of the newer one when they are linked to different nodes', async () => {
      const { hub, address, identity } = await begin();
      const other = makeNode();
      const otherAddress = (await other.listenAndServe(`unix:${socketPath()}`)).address;
      await other.join(address);
      const older = makeNode({ identity });
      await older.join(address);
      await turnsUntil('it is known', () => other.routes().some(({ nodeId }) => nodeId === older.id));
      const newer = makeNode({ identity });
      newer.bind('newer');
      await newer.join(otherAddress);
      const hubs = [hub, other];
      await turnsUntil('all have heard', () => warned(older).length > 0 && warned(newer).length > 0);
      expect(hubs.flatMap(warned).length).toBeGreaterThan(0);
      await turnsUntil(
        'the older one joins no more',
        () => older.stats().links.joins === 0 && older.links().length === 0,
      );
      await turnsUntil('the newer one is served', () =>
        hubs.every((one) => one.services().some(({ service }) => service === 'newer')),
      );
      expect(newer.links().length).toBeGreaterThan(0);
    });

    it('are no rivals when the first one has ended', async () => {
      const { hub, address, identity } = await begin();
      for (let run = 0; run < 3; run++) {
        const node = makeNode({ identity });
        await node.join(address);
        await node.close();
        nodes.splice(nodes.indexOf(node), 1);
      }
      const last = makeNode({ identity });
      await last.join(address);
      expect([...warned(hub), ...warned(last)]).toEqual([]);
    });
  },
);

describe('the run of a node', () => {
  it('is known to be later than another by its id, of builds with ids that begin with the time', () => {
    const [first, second] = [createIdentity().bootId, createIdentity().bootId];
    expect([isLaterRun(second, first), isLaterRun(first, second), isLaterRun(first, first)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(isLaterRun('7f4df1c2-6f0b-4c62-8d0e-000000000000', first)).toBeUndefined();
  });
});
