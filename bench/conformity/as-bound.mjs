// Loaded ahead of one of Node's test files: every server of Node that listens at a port of this machine is bound to a node
// instead, and every socket that connects to such a port dials it from another node, over a link, by the preload
// (`starlane/register`).

import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import tls from 'node:tls';
import { createNode } from '../../dist/index.js';

const serving = createNode({ closeTimeoutMs: 100, socketAddresses: 'ipv4' });

// The link between the two nodes. It does not hold the process open, as the test is what has to end.
const carrier = net.createServer((socket) => {
  socket.unref();
  serving.attach(socket, { initiator: false }).catch(() => {});
});
carrier.listen(0, '127.0.0.1').unref();
if (!carrier.listening) await once(carrier.ref(), 'listening');
carrier.unref();
process.env.STARLANE_JOIN = `tcp://127.0.0.1:${carrier.address().port}`;
// In this role the preload joins at once, so that the link is there when the test begins.
process.env.STARLANE_ROLE = 'server';
const held = setTimeout(() => {}, 30_000);
await Promise.all([once(serving, 'link'), import('../../dist/preload/index.js')]);
clearTimeout(held);
for (const name of ['STARLANE_JOIN', 'STARLANE_ROLE', 'STARLANE_PRELOADED']) delete process.env[name];

/** The server that each port of this machine would lead to. @type {Map<number, import('../../dist/index.js').Server>} */
const ports = new Map();
let nextPort = 20_000;

const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|::1|::|0\.0\.0\.0|)$/i;
const nameOf = (port) => `port-${port}`;

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (...args) {
  const [options, callback] = net._normalizeArgs(args);
  const { host, path, fd, signal } = options;
  const wanted = Number(
    options.port ?? (args.length === 0 || args[0] == null || typeof args[0] === 'function' ? 0 : NaN),
  );
  const isPort = Number.isInteger(wanted) && wanted >= 0 && wanted < 65_536;
  const isVirtual = isPort && path === undefined && fd === undefined && LOCAL.test(host ?? '');
  // Node reports errors in the arguments.
  if (!isVirtual || typeof options.port === 'boolean' || this._starlane !== undefined || signal !== undefined) {
    return listen.apply(this, args);
  }
  if (callback !== null) this.once('listening', callback);
  const port = wanted === 0 ? nextPort++ : wanted;
  const bound = serving.bind(`${nameOf(port)}:${port}`, this);
  const isTaken = ports.has(port);
  if (!isTaken) ports.set(port, bound);
  const family = net.isIPv4(host ?? '') ? 'IPv4' : 'IPv6';
  const address = { address: host ?? '::', family, port };
  // The library emits 'listening' at a server that does not listen by itself.
  let isTold = false;
  this.prependOnceListener('listening', () => {
    isTold = true;
  });
  const hold = (isHeld) => {
    if (isHeld) bound.ref();
    else bound.unref();
    return this;
  };
  const own = {
    _starlane: { value: bound, configurable: true },
    listening: { get: () => isTold && bound.listening, configurable: true },
    address: { value: () => (bound.listening ? address : null), configurable: true, writable: true },
    ref: { value: () => hold(true), configurable: true, writable: true },
    unref: { value: () => hold(false), configurable: true, writable: true },
  };
  Object.defineProperties(this, own);
  const { close } = this;
  const forget = () => {
    if (!isTaken) ports.delete(port);
    for (const name of Object.keys(own)) Reflect.deleteProperty(this, name);
    Reflect.deleteProperty(this, '_starlane');
    this.close = close;
  };
  this.close = function (...given) {
    forget();
    return close.apply(this, given);
  };
  bound.on('error', (error) => {
    forget();
    this.emit('error', error);
  });
  return this;
};

/** The place on the overlay that a connect is for; undefined for a place elsewhere. */
function overlayHost({ path, host, port }) {
  return !path && LOCAL.test(host ?? '') && ports.has(Number(port)) ? `${nameOf(Number(port))}.starlane` : undefined;
}

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const given = Array.isArray(args[0]) ? args[0] : net._normalizeArgs(args);
  const [options, callback] = given;
  const host = overlayHost(options);
  if (host === undefined) return connect.apply(this, args);
  return connect.call(this, { ...options, host }, ...(callback ? [callback] : []));
};

const connectTls = tls.connect;
tls.connect = (...args) => {
  const [normalized, callback] = net._normalizeArgs(args);
  const options = { ...normalized };
  for (const value of args) if (typeof value === 'object' && value !== null) Object.assign(options, value);
  if (options.socket || overlayHost(options) === undefined) return connectTls(...args);
  const { host, port, signal, timeout, ...rest } = options;
  const socket = net.connect({ host, port, signal });
  const secured = connectTls(
    { ...rest, ...(host === undefined ? {} : { host }), port, socket },
    ...(callback ? [callback] : []),
  );
  if (timeout) secured.setTimeout(timeout);
  return secured;
};
syncBuiltinESMExports();
