// The events of a node as server-sent events.

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import { MAX_READERS, MAX_WAITING_BYTES } from '../../../lib/node/queries/events.js';
import { within } from '../../support/deadline.js';
import { knows } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const SECRET = '0123456789abcdef';

let asked: Node;
let nodes: Node[];

beforeEach(() => {
  nodes = [];
  asked = make({ env: ['red', 'blue'] });
});

afterEach(() => Promise.all(nodes.map((node) => node.close())));

function make(options: Parameters<typeof createNode>[0]): Node {
  const node = createNode({ secret: SECRET, closeTimeoutMs: 50, ...options });
  nodes.push(node);
  return node;
}

async function link(one: Node, other: Node): Promise<void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
}

class Reader {
  readonly events: Array<{ name: string; data: Record<string, unknown> }> = [];
  ended = false;

  constructor(readonly response: IncomingMessage) {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      text += chunk;
      const parts = text.split('\n\n');
      text = parts.pop() as string;
      for (const part of parts) {
        const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(part) ?? [];
        if (name !== undefined) this.events.push({ name, data: JSON.parse(data) });
      }
    });
    response.on('error', () => {});
    response.on('end', () => {
      this.ended = true;
    });
  }

  names(): string[] {
    return this.events.map(({ name }) => name);
  }

  async event(name: string): Promise<Record<string, unknown>> {
    await turnsUntil(name, () => this.names().includes(name));
    return this.events.find((event) => event.name === name)?.data as Record<string, unknown>;
  }
}

async function follow(node: Node): Promise<Reader> {
  const socket = node.dial(`@${asked.id}:2`).on('error', () => {});
  return followOver(socket);
}

async function followOver(socket: Socket): Promise<Reader> {
  const request = get({ createConnection: () => socket as never, path: '/v1/events' });
  request.on('error', () => {});
  const [response] = (await within('an answer', once(request, 'response'))) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  return new Reader(response);
}

describe('a reader of events', () => {
  it('gets links, services, warnings, and that the node drains', async () => {
    const red = make({ env: 'red' });
    await link(red, asked);
    const reader = await follow(red);
    expect(await reader.event('hello')).toMatchObject({ id: asked.id, state: 'open' });

    const other = make({ env: 'red' });
    await link(other, asked);
    expect(await reader.event('link')).toMatchObject({ peerId: other.id });
    const server = other.bind('robin:80');
    expect(await reader.event('service')).toMatchObject({ service: 'robin', port: 80, nodeId: other.id, local: false });
    server.close();
    expect(await reader.event('unservice')).toMatchObject({ service: 'robin' });
    other.links()[0];
    await other.close();
    expect(await reader.event('unlink')).toMatchObject({ peerId: other.id });
    asked.on('warning', () => {});
    Reflect.get(asked, 'onWarning').call(asked, Object.assign(new Error('look'), { code: 'ECODE' }));
    expect(await reader.event('warning')).toEqual({ code: 'ECODE', message: 'look' });

    const drained = asked.drain();
    expect(await reader.event('drain')).toEqual({ id: asked.id });
    await turnsUntil('the answer ends', () => reader.ended);
    // Readers must not keep it from its end.
    await within('drained', drained);
  });

  it('sees services of its own env only', async () => {
    const red = make({ env: 'red' });
    const blue = make({ env: 'blue' });
    await link(red, asked);
    await link(blue, asked);
    const reader = await follow(red);
    await reader.event('hello');
    blue.bind('bluebird');
    await knows(asked, 'bluebird');
    red.bind('robin');
    expect(await reader.event('service')).toMatchObject({ service: 'robin' });
  });

  it('does not keep warnings from being warnings of the process', async () => {
    const red = make({ env: 'red' });
    await link(red, asked);
    await follow(red);
    expect(asked.listenerCount('warning')).toBe(0);
  });

  it('loses events while it is slow, and learns how many', async () => {
    const red = make({ env: 'red' });
    await link(red, asked);
    const reader = await follow(red);
    await reader.event('hello');
    reader.response.pause();
    asked.on('warning', () => {});
    const message = 'x'.repeat(1_000);
    const count = 5_000;
    for (let sent = 0; sent < count; sent++) {
      Reflect.get(asked, 'onWarning').call(asked, Object.assign(new Error(message), { code: 'ECODE' }));
      if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const { readers } = Reflect.get(asked.queries, 'readers') as { readers: Set<{ response: IncomingMessage }> };
    for (const { response } of readers) {
      expect((response as unknown as { writableLength: number }).writableLength).toBeLessThan(
        MAX_WAITING_BYTES + 2_000,
      );
    }
    reader.response.resume();
    const lost = (await reader.event('lost'))['events'] as number;
    const got = reader.names().filter((name) => name === 'warning').length;
    expect(lost).toBeGreaterThan(0);
    expect(lost + got).toBe(count);
  });

  it('is refused beyond the limit', async () => {
    const askers = [make({ env: 'red' }), make({ env: 'red' }), make({ env: 'red' })];
    for (const asker of askers) await link(asker, asked);
    const readers: Reader[] = [];
    for (let index = 0; index < MAX_READERS; index++) readers.push(await follow(askers[index % 2]));
    await expect(askers[2].query(`@${asked.id}`, '/v1/events')).rejects.toThrow(/readers follow the events/);
    readers[0].response.destroy();
    await turnsUntil('one has gone', () => asked.queries.readerCount === MAX_READERS - 1);
    await follow(askers[2]);
  });
});
