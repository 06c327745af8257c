import http2 from 'node:http2';

const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
const SESSION_WINDOW_BYTES = 32 * 1024 * 1024;
const SESSION_MEMORY_MB = 8192;

const options = {
  settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxConcurrentStreams: 2 ** 31 - 1, enablePush: false },
  maxSessionMemory: SESSION_MEMORY_MB,
};

/** Requests over one cleartext HTTP/2 session, used as duplex streams. @type {import('./carrier.mjs').Carrier} */
export const carrier = {
  name: 'http2',
  connectEvent: 'response',

  async serve(services, host = '127.0.0.1') {
    const server = http2.createServer(options);
    server.on('session', (session) => session.setLocalWindowSize(SESSION_WINDOW_BYTES));
    server.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200 });
      services[String(headers[':path']).slice(1)](stream);
    });
    await new Promise((resolve) => server.listen(0, host, () => resolve(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    return `http://${host}:${port}`;
  },

  async link(url) {
    const session = http2.connect(url, options);
    await new Promise((resolve, reject) => {
      session.once('error', reject);
      session.once('remoteSettings', resolve);
    });
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    return (service) => session.request({ ':method': 'POST', ':path': `/${service}` });
  },
};
