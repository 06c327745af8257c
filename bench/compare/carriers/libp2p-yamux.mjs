import { once } from 'node:events';
import net from 'node:net';
import { Duplex } from 'node:stream';
import { defaultLogger } from '@libp2p/logger';
import { AbstractMultiaddrConnection } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { ask, dispatch } from './by-first-byte.mjs';

const MANY = 2 ** 31;
const log = defaultLogger().forComponent('bench');
const muxers = yamux({ maxInboundStreams: MANY, maxOutboundStreams: MANY, maxEarlyStreams: MANY })();

/** What @libp2p/tcp does with a socket, without the addresses, metrics and idle timeout of a whole libp2p node. */
class SocketConnection extends AbstractMultiaddrConnection {
  /**
   * @param {net.Socket} socket
   * @param {'inbound' | 'outbound'} direction
   */
  constructor(socket, direction) {
    super({ log, direction, remoteAddr: undefined });
    this.socket = socket;
    socket.on('data', (chunk) => this.onData(chunk));
    socket.on('drain', () => this.safeDispatchEvent('drain'));
    socket.on('error', (error) => this.abort(error));
    socket.once('close', () => this.onTransportClosed());
  }

  sendData(data) {
    let sentBytes = 0;
    let canSendMore = true;
    for (const part of data) {
      sentBytes += part.byteLength;
      canSendMore = this.socket.write(part);
      if (!canSendMore) break;
    }
    return { sentBytes, canSendMore };
  }

  async sendClose() {
    this.socket.destroySoon();
  }

  sendReset() {
    this.socket.destroy();
  }

  sendPause() {
    this.socket.pause();
  }

  sendResume() {
    this.socket.resume();
  }
}

/** A libp2p stream as a Duplex, because the user code of the cases is the same for every carrier. */
class StreamDuplex extends Duplex {
  /** @param {Promise<any> | any} stream */
  constructor(stream) {
    super({ allowHalfOpen: false });
    this.pending = stream;
  }

  _construct(done) {
    Promise.resolve(this.pending).then((stream) => {
      this.stream = stream;
      stream.addEventListener('message', ({ data }) => {
        let more = true;
        for (const part of data) more = this.push(part);
        if (!more) stream.pause();
      });
      stream.addEventListener('end', () => this.push(null));
      stream.addEventListener('close', ({ error }) => {
        if (error !== undefined) this.destroy(error);
      });
      done();
    }, done);
  }

  _read() {
    if (this.stream.readStatus === 'paused') this.stream.resume();
  }

  _write(chunk, _encoding, done) {
    if (this.stream.send(chunk)) done();
    else this.stream.addEventListener('drain', () => done(), { once: true });
  }

  _final(done) {
    this.stream.close().then(() => done(), done);
  }

  _destroy(error, done) {
    if (error !== null) this.stream?.abort(error);
    done(error);
  }
}

/** @libp2p/yamux over one TCP link, without the rest of libp2p. @type {import('../../carriers/carrier.mjs').Carrier} */
export const carrier = {
  name: 'libp2p-yamux',
  connectEvent: undefined,

  async serve(services) {
    const onStream = dispatch(services);
    const server = net.createServer({ noDelay: true }, (socket) => {
      const muxer = muxers.createStreamMuxer(new SocketConnection(socket, 'inbound'));
      muxer.addEventListener('stream', ({ detail }) => onStream(new StreamDuplex(detail)));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: /** @type {net.AddressInfo} */ (server.address()).port, services: Object.keys(services) };
  },

  async link(address) {
    const socket = net.connect({ port: address.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const muxer = muxers.createStreamMuxer(new SocketConnection(socket, 'outbound'));
    return (service) => ask(new StreamDuplex(muxer.createStream()), address.services, service);
  },
};
