// What can be found out about a link address without a link: the addresses of a name, whether anything answers there, and the addresses
// of this machine at which others reach a listener.

import { connect as connectTcp, isIP } from 'node:net';
import { formatLinkAddress, type LinkAddress, parseLinkAddress } from '../../address.js';
import type { Via } from '../../options/via.js';
import { nodeDns, nodeOs } from '../../util/runtime/builtins.js';
import { clearTimeout, setTimeout } from '../../util/runtime/real-timers.js';
import { sharedTimers } from '../../util/timers.js';
import { MAX_LISTEN_ADDRESSES } from '../../wire/messages.js';
import { isTargetRefused, openTunnel, targetVia } from '../via/tunnel.js';
import { KERNEL_KEEPALIVE_MS } from './connect.js';
import { isLoopback } from './loopback.js';

/** The result of a bare attempt to connect: nothing listens, a kernel answers, or nothing answers. */
export type Answer = 'refused' | 'open' | 'silent';

/** Connects without a handshake and ends at once. Never rejects; `silent` after `timeoutMs`. */
export async function probe(address: string, timeoutMs: number, via?: Via): Promise<Answer> {
  const where = parseLinkAddress(address);
  const target = targetVia(where, via);
  if (via !== undefined && target !== undefined) {
    const options = { timers: sharedTimers, timeoutMs, keepAliveMs: KERNEL_KEEPALIVE_MS };
    try {
      (await openTunnel(where, target, via, options)).destroy();
      return 'open';
    } catch (error) {
      // A proxy that fails, is overloaded or does not allow this proves nothing about what is behind it.
      return isTargetRefused(error) ? 'refused' : 'silent';
    }
  }
  return new Promise((resolve) => {
    const socket =
      where.scheme === 'unix'
        ? connectTcp({ path: where.path })
        : connectTcp({ host: where.host ?? 'localhost', port: where.port });
    const timer = setTimeout(() => settle('silent'), timeoutMs).unref();
    const settle = (answer: Answer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.unref();
    socket.once('connect', () => settle('open'));
    // Unreachable, no such name, no such file: nothing is there, as far as this machine can see.
    socket.on('error', () => settle('refused'));
  });
}

/** Resolves with the concrete addresses of a link address: all those of its host name, or itself. @throws as node:dns */
export async function resolveAddresses(address: string, timeoutMs: number, via?: Via): Promise<string[]> {
  const where = parseLinkAddress(address);
  // A proxy resolves names itself, and this machine may not be able to.
  if (targetVia(where, via) !== undefined) return [formatLinkAddress(where)];
  // The certificate of a tls server is checked against its name, so the name stays, and Node tries every address.
  if (where.scheme !== 'tcp' || where.host === undefined || isIP(where.host) !== 0) return [formatLinkAddress(where)];
  const { scheme, port, host } = where;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${host} was not found within ${timeoutMs} ms`)), timeoutMs).unref();
  });
  try {
    const found = await Promise.race([nodeDns().lookup(host, { all: true }), late]);
    return found.map((entry) => formatLinkAddress({ scheme, host: entry.address, port }));
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the addresses at which others reach listeners: for a listener at every interface, each address of the machine. */
export function reachableAddresses(listening: readonly string[]): string[] {
  const found = new Set<string>();
  for (const address of listening) {
    for (const concrete of concreteAddresses(parseLinkAddress(address))) found.add(formatLinkAddress(concrete));
  }
  return [...found].slice(0, MAX_LISTEN_ADDRESSES);
}

/** Returns whether a dial to `address` on this machine is certain to reach the listener at `listening`. */
export function isSameListener(address: LinkAddress, listening: LinkAddress): boolean {
  if (address.scheme === 'unix' || listening.scheme === 'unix') {
    return address.scheme === 'unix' && listening.scheme === 'unix' && address.path === listening.path;
  }
  if (address.port !== listening.port) return false;
  const isEverywhere = isUnspecified(listening.host);
  if (isLoopback(address.host ?? 'localhost')) return isEverywhere || isLoopback(listening.host);
  return concreteAddresses(listening).some((own) => own.scheme !== 'unix' && own.host === address.host);
}

/** Returns whether this host means every interface of the machine. */
function isUnspecified(host: string | undefined): boolean {
  return host === undefined || host === '0.0.0.0' || /^[0:]+$/.test(host);
}

function concreteAddresses(where: LinkAddress): LinkAddress[] {
  if (where.scheme === 'unix') return [where];
  const { scheme, host, port } = where;
  if (!isUnspecified(host)) return [where];
  const hosts = Object.values(nodeOs().networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    // A link-local address is of no use without its interface.
    .filter(({ internal, family, address }) => !internal && !(family === 'IPv6' && address.startsWith('fe80')))
    .filter(({ family }) => host !== '0.0.0.0' || family === 'IPv4')
    .map(({ address }) => address);
  return (hosts.length > 0 ? hosts : ['127.0.0.1']).map((each) => ({ scheme, host: each, port }));
}
