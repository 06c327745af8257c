// What an eavesdropper sees who captures every packet of a network: a service, a relay and a client, with a secret and without.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { describeUnless } from '../support/obstacle.js';
import { Capture, captureObstacle, portOf } from './capture.js';

const SECRET = `secret-${randomBytes(12).toString('hex')}`;
const SERVICE = `service-${randomBytes(12).toString('hex')}`;
const ENV = `env-${randomBytes(12).toString('hex')}`;
const QUESTION = `question-${randomBytes(12).toString('hex')}`;
const ANSWER = `answer-${randomBytes(12).toString('hex')}`;

interface Seen {
  readonly packets: Buffer;
  readonly ids: readonly string[];
}

describeUnless(captureObstacle(), 'What a capture shows', () => {
  const nodes: Node[] = [];
  let capture: Capture | undefined;

  afterEach(async () => {
    capture?.kill();
    capture = undefined;
    await Promise.all(nodes.splice(0).map((node) => node.close()));
  });

  /** A question and its answer, over a relay and then straight, with every packet that was sent meanwhile. */
  async function talk(options: NodeOptions, scheme: 'tcp' | 'tls'): Promise<Seen> {
    const [service, relay, client] = ['server', 'router', 'server'].map((role) => {
      const node = createNode({ ...options, env: ENV, role: role as 'server' | 'router' });
      nodes.push(node);
      return node;
    }) as [Node, Node, Node];
    const listeners = await Promise.all([service, relay].map((node) => node.listenAndServe(`${scheme}://127.0.0.1:0`)));
    const [atService, atRelay] = listeners.map(({ address }) => address) as [string, string];
    capture = await within('tcpdump', Capture.start([atService, atRelay].map(portOf)));

    service.bind(SERVICE, (socket) => {
      socket.once('data', () => socket.end(ANSWER));
    });
    await service.join(atRelay);
    await client.join(atRelay);
    await client.waitFor(SERVICE);
    expect(await ask(client)).toEqual([relay.id]);
    await client.join(atService);
    while (client.routes().find(({ nodeId }) => nodeId === service.id)?.hops !== 1) await once(client, 'link');
    expect(await ask(client)).toEqual([]);

    await Promise.all(nodes.splice(0).map((node) => node.close()));
    return { packets: await within('the whole capture', capture.stop()), ids: [service.id, relay.id, client.id] };
  }

  async function ask(client: Node): Promise<readonly string[] | undefined> {
    const socket = client.dial(SERVICE);
    socket.write(QUESTION);
    const [answer] = await once(socket, 'data');
    const via = socket.peer?.via;
    expect(String(answer)).toBe(ANSWER);
    socket.end();
    await once(socket, 'close');
    return via;
  }

  it('is all of it without a secret', async () => {
    const { packets } = await talk({}, 'tcp');
    for (const text of [SERVICE, QUESTION, ANSWER]) expect(packets.includes(text)).toBe(true);
  });

  it('is none of payload, names, envs or secret with one, whichever way it goes', async () => {
    const { packets, ids } = await talk({ secret: SECRET }, 'tls');
    // Two circuits, three links: there must be something to look at.
    expect(packets.length).toBeGreaterThan(10_000);
    for (const text of [SECRET, SERVICE, ENV, QUESTION, ANSWER, 'starlane network']) {
      for (const part of [text, text.slice(4, 20)]) expect(packets.includes(part)).toBe(false);
    }
    for (const text of [SECRET, SERVICE, ENV]) {
      const digest = createHash('sha256').update(text).digest();
      expect(packets.includes(digest.subarray(0, 8))).toBe(false);
    }
    for (const id of ids) {
      expect(packets.includes(id)).toBe(false);
      expect(packets.includes(Buffer.from(id, 'base64url'))).toBe(false);
    }
  });
});
