// gRPC through a gateway, with client and server of grpc-js.

import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { within } from '../../support/deadline.js';
import { gatewayFixture, portOf } from './fixture.js';

const net = gatewayFixture();

describe('gRPC', () => {
  const pass = (bytes: Buffer): Buffer => bytes;
  const method = <Q extends boolean, S extends boolean>(
    name: string,
    requestStream: Q,
    responseStream: S,
  ): grpc.MethodDefinition<Buffer, Buffer> & { requestStream: Q; responseStream: S } => ({
    path: `/starlane.Bytes/${name}`,
    requestStream,
    responseStream,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  });
  const definition = {
    echo: method('Echo', false, false),
    chat: method('Chat', true, true),
    fail: method('Fail', false, false),
  };
  const Client = grpc.makeGenericClientConstructor(definition, 'Bytes');

  function serveGrpc(): void {
    const server = new grpc.Server();
    net.finally(() => server.forceShutdown());
    server.addService(definition, {
      echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        const trailer = new grpc.Metadata();
        trailer.set('x-trailer', String(call.metadata.get('x-in')[0]));
        done(null, call.request, trailer);
      },
      chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (part: Buffer) => call.write(Buffer.concat([Buffer.from('echo '), part])));
        call.on('end', () => call.end());
      },
      fail: (_call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
        done({ code: grpc.status.ALREADY_EXISTS, details: 'there is one' }),
    });
    const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
    net.far.bind('bytes', (socket) => injector.injectConnection(socket as unknown as Duplex));
  }

  function client(port: number, authority = 'bytes.example.test'): grpc.Client & Record<string, CallableFunction> {
    const made = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.default_authority': authority,
    });
    net.finally(() => made.close());
    return made as unknown as grpc.Client & Record<string, CallableFunction>;
  }

  it('carries calls, metadata and trailers', async () => {
    serveGrpc();
    await net.near.waitFor('bytes');
    const opened = await net.open();
    const metadata = new grpc.Metadata();
    metadata.set('x-in', 'out');
    const [answer, trailer] = await within(
      'an answer',
      new Promise<[Buffer, unknown]>((resolve, reject) => {
        let got: Buffer;
        const call = client(portOf(opened)).echo(
          Buffer.from('hello'),
          metadata,
          (error: Error | null, value: Buffer) => {
            if (error !== null) reject(error);
            else got = value;
          },
        );
        call.on('status', (status: grpc.StatusObject) => resolve([got, status.metadata.get('x-trailer')[0]]));
      }),
    );
    expect([`${answer}`, trailer]).toEqual(['hello', 'out']);
  });

  it('streams both ways', async () => {
    serveGrpc();
    await net.near.waitFor('bytes');
    const opened = await net.open();
    const call = client(portOf(opened)).chat() as grpc.ClientDuplexStream<Buffer, Buffer>;
    for (const text of ['one', 'two', 'three']) {
      call.write(Buffer.from(text));
      expect(`${(await within(text, once(call, 'data')))[0]}`).toBe(`echo ${text}`);
    }
    const ended = once(call, 'end');
    call.end();
    await within('the end', ended);
  });

  it('passes the status of a call that fails, and has one of its own', async () => {
    serveGrpc();
    await net.near.waitFor('bytes');
    const opened = await net.open({ absentTimeoutMs: 1 });
    const failure = (made: Record<string, CallableFunction>): Promise<grpc.ServiceError> =>
      within(
        'a failure',
        new Promise((resolve, reject) => {
          made['fail'](Buffer.alloc(0), (error: grpc.ServiceError | null) =>
            error === null ? reject(new Error('no failure')) : resolve(error),
          );
        }),
      );
    expect(await failure(client(portOf(opened)))).toMatchObject({
      code: grpc.status.ALREADY_EXISTS,
      details: 'there is one',
    });
    const absent = await failure(client(portOf(opened), 'nothing.example.test'));
    expect(absent.code).toBe(grpc.status.UNIMPLEMENTED);
    expect(absent.details).toMatch(/^nothing: No node offers this service.*ENOTFOUND/);
  });
});
