// @grpc/grpc-js. Its server takes accepted sockets (`createConnectionInjector`); its client connects by itself, so it goes
// through a local port.

import * as grpc from '@grpc/grpc-js';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { type Forwarder, forward } from './publish.js';

const MIB = 1024 * 1024;

const pass = (bytes: Buffer): Buffer => bytes;

function method<Request extends boolean, Response extends boolean>(
  name: string,
  requestStream: Request,
  responseStream: Response,
): grpc.MethodDefinition<Buffer, Buffer> & { requestStream: Request; responseStream: Response } {
  return {
    path: `/starlane.Bytes/${name}`,
    requestStream,
    responseStream,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  };
}

const service = {
  echo: method('Echo', false, false),
  /** Counts the bytes of a stream. */
  count: method('Count', true, false),
  /** As many pieces of 1 KiB as the number says. */
  pieces: method('Pieces', false, true),
  chat: method('Chat', true, true),
  fail: method('Fail', false, false),
  /** Never answers. */
  hang: method('Hang', false, false),
};

/** What grpc-js makes of {@link service}. Its own types leave the methods of such a client out. */
interface BytesClient extends grpc.Client {
  echo(request: Buffer, callback: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall;
  count(callback: grpc.requestCallback<Buffer>): grpc.ClientWritableStream<Buffer>;
  pieces(request: Buffer): grpc.ClientReadableStream<Buffer>;
  chat(): grpc.ClientDuplexStream<Buffer, Buffer>;
  fail(request: Buffer, metadata: grpc.Metadata, callback: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall;
  hang(request: Buffer, options: grpc.CallOptions, callback: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall;
}

const BytesClient = grpc.makeGenericClientConstructor(service, 'Bytes');

type Unary = (callback: grpc.requestCallback<Buffer>) => unknown;

/** The answer of a call, or its error. */
function answerOf(call: Unary): Promise<Buffer> {
  const answer = new Promise<Buffer>((resolve, reject) => {
    call((error, value) => {
      if (error !== null) reject(error);
      else resolve(value ?? Buffer.alloc(0));
    });
  });
  return within('an answer', answer);
}

describe('grpc-js', () => {
  const nodes = linkedNodes();
  let server: grpc.Server;
  let cancelled: Promise<void>;
  let forwarder: Forwarder;
  beforeEach(async () => {
    server = new grpc.Server({ 'grpc.max_receive_message_length': 64 * MIB });
    nodes.finally(() => server.forceShutdown());
    cancelled = new Promise((resolve) => {
      server.addService(service, {
        echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
          done(null, call.request),
        count: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
          let bytes = 0;
          call.on('data', (part: Buffer) => {
            bytes += part.length;
          });
          call.on('end', () => done(null, Buffer.from(String(bytes))));
        },
        pieces: async (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
          call.on('cancelled', resolve);
          const count = Number(call.request);
          for (let number = 0; number < count && !call.cancelled; number++) {
            if (!call.write(Buffer.alloc(1024, number))) await emitted(call, 'drain');
          }
          call.end();
        },
        chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
          call.on('error', () => {});
          call.on('data', (part: Buffer) => call.write(part));
          call.on('end', () => call.end());
        },
        fail: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
          const details = `no ${call.metadata.get('word')[0]}`;
          done({ code: grpc.status.FAILED_PRECONDITION, details });
        },
        hang: () => {},
      });
    });
  });

  async function bind(credentials = grpc.ServerCredentials.createInsecure()): Promise<void> {
    const injector = server.createConnectionInjector(credentials);
    nodes.finally(() => injector.destroy());
    nodes.listener.bind('bytes', (socket) => injector.injectConnection(socket));
    forwarder = await forward(nodes.joiner, 'bytes');
    nodes.finally(() => forwarder.close());
  }

  function client(credentials = grpc.credentials.createInsecure(), options: grpc.ClientOptions = {}): BytesClient {
    const made = new BytesClient(`${forwarder.host}:${forwarder.port}`, credentials, {
      'grpc.max_receive_message_length': 64 * MIB,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.use_local_subchannel_pool': 1,
      ...options,
    }) as unknown as BytesClient;
    nodes.finally(() => made.close());
    return made;
  }

  it('answers 1,000 calls at once', async () => {
    await bind();
    const bytes = client();
    const requests = Array.from({ length: 1000 }, (_, number) => Buffer.from(`request ${number}`));
    const answers = await Promise.all(requests.map((request) => answerOf((done) => bytes.echo(request, done))));
    expect(answers.map(String)).toEqual(requests.map(String));
  });

  it('carries messages of 16 MiB both ways', async () => {
    await bind();
    const message = Buffer.alloc(16 * MIB, 'abc');
    const answer = await answerOf((done) => client().echo(message, done));
    expect(answer.equals(message)).toBe(true);
  });

  it('takes a stream of requests', async () => {
    await bind();
    const answer = await answerOf((done) => {
      const call = client().count(done);
      for (let count = 0; count < 1000; count++) call.write(Buffer.alloc(4096));
      call.end();
    });
    expect(String(answer)).toBe(String(1000 * 4096));
  });

  it('gives a stream of answers', async () => {
    await bind();
    const call = client().pieces(Buffer.from('5000'));
    let pieces = 0;
    call.on('data', (piece: Buffer) => {
      if (piece.equals(Buffer.alloc(1024, pieces))) pieces++;
    });
    expect(await within('the end', emitted(call, 'status'))).toMatchObject({ code: grpc.status.OK });
    expect(pieces).toBe(5000);
  });

  it('talks in both directions on one call', async () => {
    await bind();
    const call = client().chat();
    const received: string[] = [];
    call.on('data', (part: Buffer) => {
      received.push(String(part));
      if (received.length < 100) call.write(Buffer.from(`turn ${received.length}`));
      else call.end();
    });
    call.write(Buffer.from('turn 0'));
    expect(await within('the end', emitted(call, 'status'))).toMatchObject({ code: grpc.status.OK });
    expect(received).toEqual(Array.from({ length: 100 }, (_, turn) => `turn ${turn}`));
  });

  it('passes codes, details and metadata', async () => {
    await bind();
    const metadata = new grpc.Metadata();
    metadata.set('word', 'luck');
    await expect(answerOf((done) => client().fail(Buffer.alloc(0), metadata, done))).rejects.toMatchObject({
      code: grpc.status.FAILED_PRECONDITION,
      details: 'no luck',
    });
  });

  it('gives up at the deadline of a call', async () => {
    await bind();
    const deadline = Date.now() + 50;
    await expect(answerOf((done) => client().hang(Buffer.alloc(0), { deadline }, done))).rejects.toMatchObject({
      code: grpc.status.DEADLINE_EXCEEDED,
    });
  });

  it('lets the server know of a call that is cancelled', async () => {
    await bind();
    const call = client().pieces(Buffer.from('1000000'));
    call.on('error', () => {});
    await within('the first piece', emitted(call, 'data'));
    call.cancel();
    expect(await within('the end', emitted(call, 'status'))).toMatchObject({ code: grpc.status.CANCELLED });
    await within('the cancellation', cancelled);
  });

  it('speaks TLS inside the socket', async () => {
    const { cert, key } = await certificateFor('bytes');
    const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
    await bind(grpc.ServerCredentials.createSsl(null, [pair]));
    const bytes = client(grpc.credentials.createSsl(Buffer.from(cert)), { 'grpc.ssl_target_name_override': 'bytes' });
    const message = Buffer.alloc(MIB, 'abc');
    expect((await answerOf((done) => bytes.echo(message, done))).equals(message)).toBe(true);
  });

  it('fails the calls of a lost link, and serves the next ones over the new link', async () => {
    await bind();
    const bytes = client();
    expect(String(await answerOf((done) => bytes.echo(Buffer.from('before'), done)))).toBe('before');
    const hanging = expect(answerOf((done) => bytes.hang(Buffer.alloc(0), {}, done))).rejects.toMatchObject({
      code: grpc.status.UNAVAILABLE,
    });
    nodes.cut();
    await hanging;
    const ready = new Promise<void>((resolve, reject) => {
      bytes.waitForReady(Date.now() + 15_000, (error) => (error === undefined ? resolve() : reject(error)));
    });
    await within('the new connection', ready);
    expect(String(await answerOf((done) => bytes.echo(Buffer.from('after'), done)))).toBe('after');
  });
});
