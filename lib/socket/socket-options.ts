// What a socket is told when it is made, and what Node's Duplex is told of it.

import type { DuplexOptions } from 'node:stream';

export interface SocketOptions {
  /** Whether the writing half stays open when the peer has ended its own. Default false, as net.Socket. */
  allowHalfOpen?: boolean | undefined;
  /** Bytes buffered in either direction before `write` answers false and reading pauses. Default as Node's streams. */
  highWaterMark?: number | undefined;
}

/** Shared by all sockets with defaults: one object less for each of a million. */
const DEFAULTS: DuplexOptions = Object.freeze({ allowHalfOpen: false, autoDestroy: true, emitClose: false });
const HALF_OPEN: DuplexOptions = Object.freeze({ ...DEFAULTS, allowHalfOpen: true });

export function duplexOptions(
  options: SocketOptions | undefined,
  streamOptions: DuplexOptions | undefined,
): DuplexOptions {
  if (options === undefined) return DEFAULTS;
  const base = options.allowHalfOpen ? HALF_OPEN : DEFAULTS;
  if (streamOptions !== undefined) return { ...streamOptions, ...base };
  return options.highWaterMark === undefined ? base : { ...base, highWaterMark: options.highWaterMark };
}
