// Which hosts are this machine itself: plain tcp is safe there, and no proxy leads there.

import { isIP } from 'node:net';

/** Returns whether it is certain that only this machine can reach a listener on `host`. */
export function isLoopback(host: string | undefined): boolean {
  if (host === undefined) return false;
  if (host === 'localhost') return true;
  const version = isIP(host);
  if (version === 4) return host.startsWith('127.');
  if (version === 6) return /^(0*:)*:?0*1$/.test(host) || /^::ffff:127\./i.test(host);
  return false;
}
