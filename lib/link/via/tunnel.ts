// A connection through a proxy: a socket to the proxy, over tls where its URL says https, on which a dialogue asks for the target. Nothing of the
// network of Starlane is said to the proxy but host and port; tls between the nodes begins inside of the tunnel.

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { formatLinkAddress, type LinkAddress } from '../../address.js';
import { codeOf, starlaneError } from '../../errors.js';
import type { Via } from '../../options/via.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { Timers } from '../../util/timers.js';
import { isLoopback } from '../transport/loopback.js';
import { authError, type Dialogue, proxyError, type Step, type Target, TargetRefused } from './dialogue.js';
import { HttpConnect } from './http-connect.js';
import { SocksConnect } from './socks.js';

export interface TunnelOptions {
  readonly timers: Timers;
  /** Until the tunnel is open. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Silence after which the kernel probes the proxy, in ms. */
  readonly keepAliveMs: number;
}

/** Returns the host and port to ask the proxy for; undefined where an address is dialled without it. */
export function targetVia(address: LinkAddress, via: Via | undefined): Target | undefined {
  if (via === undefined || address.scheme === 'unix' || address.host === undefined) return undefined;
  // The interface of this machine, in a link-local address, means nothing to the proxy.
  const host = address.host.replace(/%.*$/, '');
  const { port } = address;
  return isLoopback(host) || via.excepts(host, port) ? undefined : { host, port };
}

/**
 * Opens a tunnel to the target. What has arrived behind the answer of the proxy can be read from the socket, which holds the process.
 * @throws ERR_STARLANE_PROXY, ERR_STARLANE_PROXY_AUTH, ERR_STARLANE_HANDSHAKE_TIMEOUT, or the reason of the signal
 */
export function openTunnel(address: LinkAddress, target: Target, via: Via, options: TunnelOptions): Promise<Socket> {
  const { signal, timers } = options;
  const what = `${formatLinkAddress(address)} through ${via.url}`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw signal.reason;
    const dialogue: Dialogue = new (via.scheme === 'socks5' ? SocksConnect : HttpConnect)(target, via.credentials);
    const socket = withoutContext(connectToProxy, via, options.keepAliveMs);
    const connected = via.scheme === 'https' ? 'secureConnect' : 'connect';
    let isConnected = false;

    const settle = (): void => {
      timers.cancel(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.removeListener(connected, onConnected);
      socket.removeListener('readable', onReadable);
      socket.removeListener('end', onEnd);
      socket.removeListener('close', onEnd);
      socket.removeListener('error', onError);
    };
    const fail = (error: unknown): void => {
      settle();
      // A later error of the socket does not matter, but must not be unhandled.
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal?.reason);
    const onError = (error: Error): void => fail(about(what, isConnected ? broken(error) : unreachable(error)));
    const onEnd = (): void => fail(about(what, proxyError('it closed the connection before it answered')));
    const onConnected = (): void => {
      isConnected = true;
      socket.on('readable', onReadable);
      socket.write(dialogue.begin());
    };
    const onReadable = (): void => {
      try {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
          if (onStep(dialogue.push(chunk))) return;
        }
      } catch (error) {
        fail(about(what, error as Error));
      }
    };
    const onStep = (step: Step): boolean => {
      if (!step.isOpen) {
        if (step.send !== undefined) socket.write(step.send);
        return false;
      }
      settle();
      if (step.rest.length > 0) socket.unshift(step.rest);
      resolve(socket);
      return true;
    };
    const timer = timers.schedule(options.timeoutMs, {
      onDeadline: () => {
        const where = isConnected ? 'the proxy has not answered' : 'the proxy has not accepted the connection';
        fail(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', `connecting to ${what}: ${where}`));
      },
    });
    socket.once(connected, onConnected);
    socket.once('end', onEnd);
    socket.once('close', onEnd);
    socket.on('error', onError);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Returns whether the proxy has said that nothing listens at the target. */
export function isTargetRefused(error: unknown): boolean {
  return (error as Error | undefined)?.cause instanceof TargetRefused;
}

function connectToProxy({ scheme, host, port }: Via, keepAliveMs: number): Socket {
  const tcp = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs };
  if (scheme !== 'https') return connectTcp(tcp);
  // The certificate of the proxy is checked against the authorities that Node trusts, with those of NODE_EXTRA_CA_CERTS.
  const socket = nodeTls().connect({ ...tcp, ALPNProtocols: ['http/1.1'], servername: isIP(host) === 0 ? host : '' });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
  return socket;
}

function unreachable(error: Error): Error {
  return proxyError(`the proxy cannot be reached (${codeOf(error) ?? error.message})`, error);
}

function broken(error: Error): Error {
  return proxyError(`the connection broke before it answered (${codeOf(error) ?? error.message})`, error);
}

/** Returns the error with the target and the proxy in front. */
function about(what: string, error: Error): Error {
  const detail = error.message.slice(error.message.indexOf(': ') + 2);
  const make = codeOf(error) === 'ERR_STARLANE_PROXY_AUTH' ? authError : proxyError;
  return make(`${what}: ${detail}`, error.cause);
}
