import { Duplex } from 'node:stream';
import iroh from '@number0/iroh/index.js';
import { ask, dispatch } from './by-first-byte.mjs';

const ALPN = Array.from(Buffer.from('starlane-bench/1'));
const MANY = 2n ** 40n;
const READ_BYTES = 64 * 1024;
const NO_ERROR = 0n;

/** Endpoints and connections, which end when they are collected as garbage. @type {unknown[]} */
const kept = [];

/**
 * An endpoint on loopback alone: no relays, and of its presets the one that looks up and publishes nothing.
 *
 * @returns {Promise<import('@number0/iroh').Endpoint>}
 */
async function bindEndpoint() {
  const builder = iroh.Endpoint.builder();
  builder.applyMinimal();
  builder.alpns([ALPN]);
  builder.relayMode(iroh.RelayMode.disabled());
  builder.bindAddr('127.0.0.1:0');
  const endpoint = await builder.bind();
  kept.push(endpoint);
  return endpoint;
}

/**
 * The bytes as the binding takes them. The loop takes a fifth of the time of Array.from.
 *
 * @param {Buffer} chunk
 * @returns {number[]}
 */
function numbers(chunk) {
  const result = new Array(chunk.length);
  for (let i = 0; i < chunk.length; i++) result[i] = chunk[i];
  return result;
}

/**
 * An error without the backtrace that its message has.
 *
 * @param {Error} error
 */
function brief(error) {
  return new Error(error.message.split('\n')[0]);
}

/** A QUIC stream as a Duplex. Its bytes are arrays of numbers in this binding, whose copies are a part of what it costs. */
class StreamDuplex extends Duplex {
  /** @param {Promise<import('@number0/iroh').BiStream> | import('@number0/iroh').BiStream} stream */
  constructor(stream) {
    super({ allowHalfOpen: false });
    this.pending = stream;
  }

  _construct(done) {
    Promise.resolve(this.pending).then(({ send, recv }) => {
      this.sending = send;
      this.receiving = recv;
      done();
    }, done);
  }

  _read() {
    this.receiving.read(READ_BYTES).then(
      // Nothing read is the end: QUIC has no empty data.
      (bytes) => this.push(bytes.length === 0 ? null : Buffer.from(bytes)),
      (error) => this.destroy(brief(error)),
    );
  }

  _write(chunk, _encoding, done) {
    this.sending.writeAll(numbers(chunk)).then(
      () => done(),
      (error) => done(brief(error)),
    );
  }

  _final(done) {
    this.sending.finish().then(() => done(), done);
  }

  _destroy(error, done) {
    if (error !== null && this.sending !== undefined) {
      this.sending.reset(NO_ERROR).catch(() => {});
      this.receiving.stop(NO_ERROR).catch(() => {});
    }
    done(error);
  }
}

/**
 * Streams of one iroh connection (QUIC over UDP, in Rust). Its encryption cannot be switched off.
 *
 * @type {import('../../carriers/carrier.mjs').Carrier}
 */
export const carrier = {
  name: 'iroh',
  connectEvent: undefined,

  async serve(services) {
    const endpoint = await bindEndpoint();
    const onStream = dispatch(services);
    const acceptOne = async () => {
      const incoming = await endpoint.acceptNext();
      const connection = await (await incoming?.accept())?.connect();
      kept.push(connection);
      connection?.setMaxConcurrentBiStreams(MANY);
      while (connection !== undefined) onStream(new StreamDuplex(await connection.acceptBi()));
    };
    // Rejects when the connection ends; the error has no use.
    acceptOne().catch(() => {});
    return { id: endpoint.id().toString(), sockets: endpoint.boundSockets(), services: Object.keys(services) };
  },

  async link({ id, sockets, services }) {
    const endpoint = await bindEndpoint();
    const to = new iroh.EndpointAddr(iroh.EndpointId.fromString(id), null, sockets);
    const connection = await endpoint.connect(to, ALPN);
    kept.push(connection);
    return (service) => ask(new StreamDuplex(connection.openBi()), services, service);
  },
};
