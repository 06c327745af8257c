// Unary calls of @grpc/grpc-js over one channel, without protobuf: bytes as they are.

import * as grpc from '@grpc/grpc-js';

/** @param {Buffer} bytes */
const pass = (bytes) => bytes;
/** As those set it who need its speed: without what no call here uses. */
const OPTIONS = { 'grpc.enable_retries': 0, 'grpc.enable_channelz': 0 };
const SERVICE = {
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

/**
 * @param {string | undefined} hub the address of the server; undefined: this is the server
 * @returns {Promise<any>}
 */
export async function open(hub) {
  return hub === undefined ? serve() : connect(hub);
}

async function serve() {
  const server = new grpc.Server(OPTIONS);
  /** @type {(data: Uint8Array) => Uint8Array} */
  let answer = (data) => data;
  server.addService(/** @type {any} */ (SERVICE), {
    echo: (/** @type {any} */ call, /** @type {any} */ callback) => callback(null, answer(call.request)),
  });
  const address = await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(`127.0.0.1:${port}`),
    );
  });
  return {
    address,
    /** @param {string} _topic @param {(data: Uint8Array) => Uint8Array} handler */
    answer(_topic, handler) {
      answer = handler;
    },
    close: async () => server.forceShutdown(),
  };
}

/** @param {string} hub */
function connect(hub) {
  const Client = grpc.makeGenericClientConstructor(/** @type {any} */ (SERVICE), 'Bytes');
  const client = /** @type {any} */ (new Client(hub, grpc.credentials.createInsecure(), OPTIONS));
  return {
    address: hub,
    ready: async () => {},
    /** @param {string} _topic @param {Uint8Array} data */
    request: (_topic, data) =>
      new Promise((resolve, reject) => {
        client.echo(data, (/** @type {Error | null} */ error, /** @type {Buffer} */ answer) =>
          error ? reject(error) : resolve(answer),
        );
      }),
    close: async () => client.close(),
  };
}
