// The TCP transport of NestJS: its server is a net.Server that is bound by name; its client with a socket of `node.net`, and
// unchanged under the preload.

import 'reflect-metadata';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientTCP, EventPattern, JsonSocket, MessagePattern, ServerTCP } from '@nestjs/microservices';
import { firstValueFrom, from, lastValueFrom, type Observable, toArray } from 'rxjs';
import type { Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';
import type { SpecNodes } from './spec-nodes.js';

/** Numbers that came as events. */
let counted: number[];
let onCount: () => void = () => {};

class Sums {
  sum(numbers: number[]): number {
    return numbers.reduce((sum, number) => sum + number, 0);
  }

  upTo(last: number): Observable<number> {
    return from(Array.from({ length: last }, (_, index) => index + 1));
  }

  async length(text: string): Promise<number> {
    return text.length;
  }

  count(number: number): void {
    counted.push(number);
    onCount();
  }

  never(): Promise<never> {
    onCount();
    return new Promise(() => {});
  }
}

// By hand what decorators do, which the compiler of the specs does not know.
Controller()(Sums);
for (const name of ['sum', 'upTo', 'length', 'never'] as const) decorate(MessagePattern(name), name);
decorate(EventPattern('count'), 'count');

function decorate(decorator: MethodDecorator, name: keyof Sums): void {
  decorator(Sums.prototype, name, Object.getOwnPropertyDescriptor(Sums.prototype, name) as PropertyDescriptor);
}

class App {}
Module({ controllers: [Sums] })(App);

/** As the server of NestJS, but it listens at a service. */
class BoundServer extends ServerTCP {
  constructor(private readonly node: Node) {
    super({});
  }

  override listen(callback: (error?: unknown) => void): void {
    this.node.bind('sums', this.unwrap()).once('listening', () => callback());
  }
}

async function serve(nodes: SpecNodes, node: Node): Promise<INestMicroservice> {
  counted = [];
  onCount = () => {};
  const app = await NestFactory.createMicroservice(App, { strategy: new BoundServer(node), logger: false });
  nodes.finally(() => app.close());
  await within('listening', app.listen());
  return app;
}

const SCRIPT = `
  const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: 'sums.starlane', port: 3000 } });
  await client.connect();
  const sums = [];
  for (let n = 0; n < 100; n++) sums.push(lastValueFrom(client.send('sum', [n, 1])));
  say({ sums: (await Promise.all(sums)).reduce((sum, value) => sum + value, 0) });
  say({ upTo: await lastValueFrom(client.send('upTo', 5).pipe(toArray())) });
  say({ length: await lastValueFrom(client.send('length', 'x'.repeat(3_000_000))) });
  await lastValueFrom(client.emit('count', 7));
  await lastValueFrom(client.send('sum', []));
  client.close();`;

const HEADERS = {
  module: `import 'reflect-metadata'; import { ClientProxyFactory, Transport } from '@nestjs/microservices';
    import { lastValueFrom, toArray } from 'rxjs';`,
  commonjs: `require('reflect-metadata'); const { ClientProxyFactory, Transport } = require('@nestjs/microservices');
    const { lastValueFrom, toArray } = require('rxjs');`,
};

describe('the TCP transport of NestJS with sockets of node.net', () => {
  const nodes = linkedNodes();
  let app: INestMicroservice;
  beforeEach(async () => {
    app = await serve(nodes, nodes.listener);
  });

  function client(service = 'sums'): ClientTCP {
    const { net } = nodes.joiner;
    class DialClient extends ClientTCP {
      override createSocket(): JsonSocket {
        return new JsonSocket(new net.Socket());
      }

      override handleError(): void {} // Specs check what the callers get.
    }
    const made = new DialClient({ host: service, port: 3000 });
    nodes.finally(() => made.close());
    return made;
  }

  it('answers 1,000 calls at once', async () => {
    const caller = client();
    await within('the connection', caller.connect());
    const calls = Array.from({ length: 1000 }, (_, number) => lastValueFrom(caller.send('sum', [number, 1])));
    expect(await within('the answers', Promise.all(calls))).toEqual(calls.map((_, number) => number + 1));
  });

  it('answers with a stream of values', async () => {
    const values = lastValueFrom(client().send('upTo', 1000).pipe(toArray()));
    expect(await within('the values', values)).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1));
  });

  it('carries a message of 10 MB', async () => {
    const length = lastValueFrom(client().send('length', 'x'.repeat(10_000_000)));
    expect(await within('the answer', length)).toBe(10_000_000);
  });

  it('carries events in order', async () => {
    const all = new Promise<void>((resolve) => {
      onCount = () => {
        if (counted.length === 100) resolve();
      };
    });
    const caller = client();
    await within('the connection', caller.connect());
    for (let number = 0; number < 100; number++) await firstValueFrom(caller.emit('count', number));
    await within('the events', all);
    expect(counted).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it('gets an error for an unknown pattern', async () => {
    await within(
      'the refusal',
      expect(lastValueFrom(client().send('what', ''))).rejects.toMatch('no matching message handler'),
    );
  });

  it('ends a call with an error when the link is lost, and connects again', async () => {
    const caller = client();
    const called = new Promise<void>((resolve) => {
      onCount = resolve;
    });
    const failed = expect(lastValueFrom(caller.send('never', ''))).rejects.toThrow('Connection closed');
    await within('the call', called);
    nodes.cut();
    await within('the error', failed);
    expect(await within('the answer', lastValueFrom(caller.send('sum', [1, 2])))).toBe(3);
  });

  it('ends the sockets of its clients when it closes', async () => {
    const caller = client();
    await within('the connection', caller.connect());
    const closed = emitted(caller.unwrap<NodeJS.EventEmitter>() as never, 'close');
    await within('the end', app.close());
    await within('the close', closed);
  });
});

describe.each(WAYS)('the TCP transport of NestJS under the preload, %s', (way) => {
  const network = scriptNetwork(way);
  beforeEach(async () => {
    await serve(network, network.server);
  });

  it.each(['module', 'commonjs'] as const)(
    'calls a service by name (%s)',
    async (kind) => {
      const lines = await network.run(kind, `${HEADERS[kind]}\n(async () => {${SCRIPT}})();`);
      expect(lines).toEqual([{ sums: 5050 }, { upTo: [1, 2, 3, 4, 5] }, { length: 3_000_000 }]);
      expect(counted).toEqual([7]);
    },
    SCRIPT_SPEC_MS,
  );
});
