// Unary calls of @grpc/grpc-js over one channel, without protobuf: bytes as they are.

import * as grpc from '@grpc/grpc-js';

/** @param {Buffer} bytes */
const pass = (bytes) => bytes;
const service = {
  echo: {
    path: '/starlane.Bytes/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  },
};

/** @type {import('./carrier.mjs').RequestCarrier} */
export const carrier = {
  name: 'grpc',

  async serve() {
    const server = new grpc.Server();
    server.addService(/** @type {any} */ (service), {
      echo: (/** @type {any} */ call, /** @type {any} */ callback) => callback(null, call.request),
    });
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  },

  async link(port) {
    const Client = grpc.makeGenericClientConstructor(/** @type {any} */ (service), 'Bytes');
    const client = /** @type {any} */ (new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure()));
    return (request) =>
      new Promise((resolve, reject) => {
        client.echo(request, (/** @type {Error | null} */ error, /** @type {Buffer} */ answer) =>
          error ? reject(error) : resolve(answer),
        );
      });
  },
};
