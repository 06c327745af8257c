// What users see of sockets and servers: they behave like those of node:net, and libraries put properties of their own on those.

import { Server as NetServer, Socket as NetSocket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type NodePair, nodePair, readAll, socketPair } from '../support/socket-pair.js';

/** What is public here and not of node:net, and what node:net has only once it was set. */
const OWN = new Set(['peer', 'verified', 'secure', 'timeout', 'maxConnections']);

function namesOf(value: object): Set<string> {
  const names = new Set<string>();
  for (let one: object | null = value; one !== null && one !== Object.prototype; one = Object.getPrototypeOf(one))
    for (const key of Reflect.ownKeys(one)) if (typeof key === 'string') names.add(key);
  return names;
}

function extra(value: object, known: ReadonlySet<string>): string[] {
  return [...namesOf(value)].filter((name) => !known.has(name) && !OWN.has(name) && name !== 'constructor');
}

describe('the surface', () => {
  let pair: NodePair;
  beforeEach(async () => {
    pair = await nodePair();
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
  });

  const ofSocket = namesOf(new NetSocket());
  const ofServer = namesOf(new NetServer());

  it('of sockets has no names beyond those of net.Socket, and a few that are documented', async () => {
    const { near, far } = await socketPair(pair);
    expect(extra(near, ofSocket)).toEqual([]);
    expect(extra(far, ofSocket)).toEqual([]);
    expect(extra(new pair.client.net.Socket(), ofSocket)).toEqual([]);
  });

  it('of servers has no names beyond those of net.Server', async () => {
    const { bound } = await socketPair(pair);
    expect(extra(bound, ofServer)).toEqual([]);
    expect(extra(pair.server.net.createServer(), ofServer)).toEqual([]);
  });

  it('takes properties of a library, whatever their names, and works as before', async () => {
    const { near, far } = await socketPair(pair);
    const names = [
      'host',
      'target',
      'service',
      'idle',
      'stream',
      'far',
      'scope',
      'waiting',
      'onData',
      'onEnd',
      'onSent',
    ];
    for (const socket of [near, far]) for (const name of names) Reflect.set(socket, name, 'theirs');
    far.pipe(far);
    near.end('hello');
    expect(String(await readAll(near))).toBe('hello');
    for (const name of names) expect(Reflect.get(near, name)).toBe('theirs');
  });
});
