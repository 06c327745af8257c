// NestJS microservices by the name of a service, with the transporter in adapters/nestjs-transporter.mjs: calls, events, streams, errors.
//
//   npm install starlane @nestjs/common @nestjs/core @nestjs/microservices reflect-metadata rxjs
//   node examples/nestjs.mjs

import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, RpcException } from '@nestjs/microservices';
import { finalize, interval, lastValueFrom, map, take, toArray } from 'rxjs';
import { createNode } from 'starlane';
import { StarlaneClient, StarlaneServer } from './adapters/nestjs-transporter.mjs';

let onStop;
const stopped = new Promise((resolve) => {
  onStop = resolve;
});

class Sums {
  sum(numbers) {
    return numbers.reduce((sum, number) => sum + number, 0);
  }

  countdown(from) {
    return interval(10).pipe(
      map((index) => from - index),
      take(from + 1),
    );
  }

  ticks() {
    return interval(10).pipe(finalize(onStop));
  }

  divide([one, other]) {
    if (other === 0) throw new RpcException({ code: 'BY_ZERO', message: 'no division by zero' });
    return one / other;
  }

  log(text) {
    console.log('event:', text);
  }
}

// By hand what decorators do: this file is plain JavaScript.
Controller()(Sums);
const decorate = (decorator, name) =>
  decorator(Sums.prototype, name, Object.getOwnPropertyDescriptor(Sums.prototype, name));
for (const name of ['sum', 'countdown', 'ticks', 'divide']) decorate(MessagePattern({ cmd: name }), name);
decorate(EventPattern('log'), 'log');
class App {}
Module({ controllers: [Sums] })(App);

const server = createNode();
const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
const strategy = new StarlaneServer({ node: server, service: 'sums' });
const app = await NestFactory.createMicroservice(App, { strategy, logger: false });
await app.listen();

const node = createNode({ seeds: [address] });
const client = new StarlaneClient({ node, service: 'sums' });

console.log('sum:', await lastValueFrom(client.send({ cmd: 'sum' }, [1, 2, 3])));
console.log('countdown:', await lastValueFrom(client.send({ cmd: 'countdown' }, 3).pipe(toArray())));
await lastValueFrom(client.emit('log', 'hello'), { defaultValue: undefined });
for (const [cmd, data] of [
  ['divide', [1, 0]],
  ['nothing', 0],
]) {
  await lastValueFrom(client.send({ cmd }, data)).catch((error) => console.log('error:', error.message ?? error));
}

// A client that has read enough unsubscribes, which ends the observable at the server.
console.log('ticks:', await lastValueFrom(client.send({ cmd: 'ticks' }, 0).pipe(take(2), toArray())));
await stopped;
console.log('the server has stopped ticking');

await app.close();
await node.close();
await server.close();
