// Dials reliable byte streams for links: tcp, tls and unix sockets. See listen.ts for the other end. Knows nothing of sessions,
// handshakes or peers.

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContext, TLSSocket } from 'node:tls';
import { formatLinkAddress, type LinkAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Via } from '../../options/via.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import { sharedTimers, type Timed, type Timer, type Timers } from '../../util/timers.js';
import { openTunnel, targetVia } from '../via/tunnel.js';
import { isLoopback } from './loopback.js';
import { tlsFailure } from './protocol-mismatch.js';
import { type LinkTls, TLS_SETTINGS, type TlsFacts } from './tls.js';

/** Silence after which the kernel probes the peer, in ms: a fallback for the pings of the mesh. Node fixes the interval and number of probes. */
export const KERNEL_KEEPALIVE_MS = 5_000;

/** A byte stream that is connected, and what its tls has shown if it uses tls. */
export interface Transport {
  readonly duplex: Duplex;
  readonly tls: TlsFacts | undefined;
}

interface ConnectOptions {
  readonly tls?: LinkTls;
  /** Allows plain tcp beyond loopback. Default true. */
  readonly insecure?: boolean;
  /** The proxy to connect through, but for this machine and hosts that it excepts. */
  readonly via?: Via | undefined;
  /** A name that the certificate may have instead of the host of the address. */
  readonly serverName?: string | undefined;
  readonly signal?: AbortSignal;
  /** Until connected, proxy and tls included. */
  readonly timeoutMs: number;
  readonly timers?: Timers;
}

/**
 * Connects to a link address. TCP_NODELAY and the kernel's keepalive are set, and the socket does not hold the process.
 * @throws Node's own error, ERR_STARLANE_OPTION for tls without certificate, ERR_STARLANE_INSECURE for plain tcp beyond
 * loopback, ERR_STARLANE_TLS, ERR_STARLANE_HANDSHAKE_TIMEOUT, ERR_STARLANE_PROXY, ERR_STARLANE_PROXY_AUTH, or the reason of the signal
 */
export async function connect(address: LinkAddress, options: ConnectOptions): Promise<Transport> {
  const { signal, tls, via, serverName, timers = sharedTimers, insecure = true } = options;
  if (!insecure) checkSecure(address, address.host ?? 'localhost', 'dial');
  const context = address.scheme === 'tls' ? await contextFor(address, tls).secureContext() : undefined;
  const startedMs = timers.now();
  const target = targetVia(address, via);
  let tunnel: Socket | undefined;
  if (via !== undefined && target !== undefined) {
    const { timeoutMs } = options;
    tunnel = await openTunnel(address, target, via, { timers, timeoutMs, signal, keepAliveMs: KERNEL_KEEPALIVE_MS });
    if (context === undefined) {
      tunnel.unref();
      return { duplex: tunnel, tls: undefined };
    }
  }
  const leftMs = Math.max(1, options.timeoutMs - (timers.now() - startedMs));
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      tunnel?.destroy();
      throw signal.reason;
    }
    const socket = withoutContext(dial, address, { context, isNamed: tls?.isDerived !== true, tunnel, serverName });
    const late: Timed = {
      onDeadline: () =>
        socket.destroy(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', `connecting to ${formatLinkAddress(address)}`)),
    };
    const timer = timers.schedule(leftMs, late);
    const onAbort = (): void => {
      socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal?.reason }));
    };
    const settle = (): void => {
      timers.cancel(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.removeListener('close', onClose);
      socket.removeListener(connected, onConnected);
      // The error of a dialled socket comes before 'close'; from here on the session listens for it.
      socket.removeListener('error', onError);
    };
    let failure: Error | undefined;
    const onError = (error: Error): void => {
      failure = error;
    };
    const onClose = (): void => {
      settle();
      reject(
        tlsFailure(
          failure ?? starlaneError('ERR_STARLANE_TRANSPORT', `${formatLinkAddress(address)} closed the connection`),
        ),
      );
    };
    const onConnected = (): void => {
      settle();
      socket.unref();
      resolve({ duplex: socket, tls: context === undefined ? undefined : tls?.facts(socket as TLSSocket) });
    };
    const connected = address.scheme === 'tls' ? 'secureConnect' : 'connect';
    socket.once(connected, onConnected);
    socket.on('error', onError);
    socket.once('close', onClose);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** @throws ERR_STARLANE_INSECURE for plain tcp that is not certain to stay on this machine */
export function checkSecure(address: LinkAddress, host: string | undefined, what: string): void {
  if (address.scheme !== 'tcp' || isLoopback(host)) return;
  throw starlaneError('ERR_STARLANE_INSECURE', `${what} ${formatLinkAddress(address)}`);
}

/** @throws ERR_STARLANE_OPTION */
export function contextFor(address: LinkAddress, tls: LinkTls | undefined): LinkTls {
  if (tls === undefined) {
    throw starlaneError(
      'ERR_STARLANE_OPTION',
      `${formatLinkAddress(address)} needs the option credentials, secret or tls`,
    );
  }
  return tls;
}

/** How an address is dialled. */
interface Way {
  /** Without it, the connection is plain. */
  readonly context: SecureContext | undefined;
  /** Whether the certificate of the peer has to have its name. */
  readonly isNamed: boolean;
  readonly tunnel: Socket | undefined;
  readonly serverName: string | undefined;
}

/** Begins to connect: tls over the tunnel where there is one. */
function dial(address: LinkAddress, { context: secureContext, isNamed, tunnel, serverName }: Way): Socket {
  if (address.scheme === 'unix') return connectTcp({ path: address.path });
  const { host = 'localhost', port } = address;
  const tcp = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KERNEL_KEEPALIVE_MS };
  if (secureContext === undefined) return connectTcp(tcp);
  // Errors of the tunnel come out of the tls socket as well.
  tunnel?.on('error', () => {});
  const socket = nodeTls().connect({
    ...(tunnel === undefined ? tcp : { socket: tunnel, host }),
    ...TLS_SETTINGS,
    ALPNProtocols: [...TLS_SETTINGS.ALPNProtocols],
    secureContext,
    minVersion: 'TLSv1.3',
    // The name travels in clear, so it is sent only where certificates are checked. An address cannot be a server name in tls; Node checks
    // the certificate against `host` even then.
    servername: isNamed ? (serverName ?? (isIP(host) === 0 ? host : '')) : '',
    checkServerIdentity: (_, certificate) => {
      // The certificate of a member names a node, wherever it is.
      if (!isNamed) return undefined;
      const { checkServerIdentity } = nodeTls();
      const fault = checkServerIdentity(host, certificate);
      return fault === undefined || serverName === undefined ? fault : checkServerIdentity(serverName, certificate);
    },
  });
  if (tunnel !== undefined) return socket;
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KERNEL_KEEPALIVE_MS);
  return socket;
}

/** Handshakes that the nodes of this process begin at a time. */
const MAX_AT_ONCE = 32;
/** A handshake that takes longer, in ms, waits for the network and not for this process: another one may begin. */
const TURN_MS = 1_000;

/** A turn to dial. It must be ended when the handshake is done or has failed, and may be ended more than once. */
export class DialTurn implements Timed {
  private readonly timer: Timer;

  /** @internal */
  constructor(
    private readonly timers: Timers,
    private readonly onEnd: () => void,
  ) {
    this.timer = timers.schedule(TURN_MS, this);
  }

  end(): void {
    if (!this.timer.pending) return;
    this.timers.cancel(this.timer);
    this.onEnd();
  }

  onDeadline(): void {
    this.onEnd();
  }
}

/**
 * Limits how many handshakes this process begins at a time. With two hundred nodes in one process that all join at once, hundreds of
 * handshakes would share its time: none would be done within its timeout, and the retries would fare no better.
 */
export class DialTurns {
  private taken = 0;
  /** In the order in which they came. */
  private readonly waiting = new Set<() => void>();

  constructor(private readonly max = MAX_AT_ONCE) {}

  /** How many dials wait for their turn. */
  get size(): number {
    return this.waiting.size;
  }

  /** Returns a turn if one is free; otherwise undefined: {@link wait} for it. */
  take(timers: Timers): DialTurn | undefined {
    if (this.taken >= this.max) return undefined;
    this.taken++;
    return new DialTurn(timers, () => {
      this.taken--;
      const [first] = this.waiting;
      first?.();
    });
  }

  /** @throws the reason of the signal */
  wait(timers: Timers, signal: AbortSignal | undefined): Promise<DialTurn> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const settle = (): void => {
        this.waiting.delete(begin);
        signal?.removeEventListener('abort', onAbort);
      };
      const begin = (): void => {
        settle();
        resolve(this.take(timers) as DialTurn);
      };
      const onAbort = (): void => {
        settle();
        reject(signal?.reason);
      };
      this.waiting.add(begin);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** Shared by all nodes in this process. */
export const dialTurns = new DialTurns();
