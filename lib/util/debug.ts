// Debug output by the package `debug`: DEBUG=starlane:* or, say, DEBUG=starlane:link,starlane:mux.

import createDebug from 'debug';

/** Every namespace there is, without the prefix. */
export type DebugNamespace = 'link' | 'mux' | 'gossip' | 'route' | 'relay' | 'node';

export interface Debug {
  (format: string, ...values: unknown[]): void;
  /** Check it before preparing anything expensive to print; the call itself formats only when it is true. */
  readonly enabled: boolean;
}

/** The printer of `starlane:<namespace>`. Make one per file, not per object. */
export function debug(namespace: DebugNamespace): Debug {
  return createDebug(`starlane:${namespace}`);
}
