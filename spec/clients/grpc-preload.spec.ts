// An unchanged client of grpc-js under the preload: without it, grpc-js has no place for a socket of ours.

import * as grpc from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { runPreloaded } from '../support/built-lib.js';
import { within } from '../support/deadline.js';
import { socketPath } from '../support/testnet.js';
import { linkedNodes } from './linked-nodes.js';

const bytes = (value: Buffer): Buffer => value;
const method = {
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};

const SCRIPT = `
  const bytes = (value) => value;
  const client = new grpc.Client('calls.starlane:50051', grpc.credentials.createInsecure());
  client.makeUnaryRequest('/calls/echo', bytes, bytes, Buffer.from('unary'), (error, value) => {
    say({ error: error?.message ?? null, value: String(value) });
    const call = client.makeBidiStreamRequest('/calls/chat', bytes, bytes);
    let received = '';
    call.on('data', (part) => { received += part; });
    call.on('end', () => { say({ received }); client.close(); });
    for (let number = 0; number < 10; number++) call.write(Buffer.from(String(number)));
    call.end();
  });`;

const nodes = linkedNodes();

it.each([
  ['module', `import * as grpc from '@grpc/grpc-js';`],
  ['commonjs', `const grpc = require('@grpc/grpc-js');`],
] as const)(
  'a script with grpc-js reaches a service by name, unary and streaming both ways (%s)',
  async (kind, header) => {
    const server = new grpc.Server();
    nodes.finally(() => server.forceShutdown());
    server.addService(
      {
        echo: { path: '/calls/echo', requestStream: false, responseStream: false, ...method },
        chat: { path: '/calls/chat', requestStream: true, responseStream: true, ...method },
      },
      {
        echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
          done(null, call.request),
        chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
          call.on('data', (part: Buffer) => call.write(part));
          call.on('end', () => call.end());
        },
      },
    );
    const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
    nodes.finally(() => injector.destroy());
    nodes.listener.bind('calls', (socket) => injector.injectConnection(socket));
    const address = `unix:${socketPath()}`;
    await nodes.listener.listenAndServe(address);

    const child = runPreloaded(kind, `${header}\n${SCRIPT}`, { STARLANE_JOIN: address });
    nodes.finally(() => child.stop());
    expect({ code: await within('the end of the script', child.exited), errors: child.errors }).toEqual({
      code: 0,
      errors: '',
    });
    expect(child.lines).toEqual([{ error: null, value: 'unary' }, { received: '0123456789' }]);
  },
);
