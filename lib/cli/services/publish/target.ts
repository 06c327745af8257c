// Where a published service really is: a port or a unix socket.

import { connect, type Socket } from 'node:net';
import { codeOf } from '../../../errors.js';

export interface Target {
  readonly host: string;
  readonly port: number;
  /** The path of a unix socket, instead of host and port. */
  readonly unix: string | undefined;
}

/** Returns the target as people write it. */
export function nameOf({ host, port, unix }: Target): string {
  if (unix !== undefined) return unix;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Returns why it cannot be reached, in a few words. */
export function reasonOf(error: unknown): string {
  return codeOf(error) ?? (error instanceof Error ? error.message : String(error));
}

/** Connects to the target. Both halves end separately. @throws what connect emits, or the reason of the signal */
export function connectTo({ host, port, unix }: Target, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const socket = connect(
      unix === undefined ? { host, port, allowHalfOpen: true } : { path: unix, allowHalfOpen: true },
    );
    const onAbort = () => socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    // Stays: the socket may fail before anybody uses it.
    socket.on('error', reject);
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(socket);
    });
  });
}
