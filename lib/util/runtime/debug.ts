// Debug output by the package `debug`: DEBUG=starlane:* or, say, DEBUG=starlane:link,starlane:mux.

import { createRequire } from 'node:module';

/** Every namespace there is, without the prefix. */
type DebugNamespace = 'link' | 'mux' | 'gossip' | 'route' | 'relay' | 'node';

interface Debug {
  (format: string, ...values: unknown[]): void;
  /** Check it before preparing anything expensive to print; the call itself formats only when it is true. */
  readonly enabled: boolean;
}

const SILENT: Debug = Object.assign(() => {}, { enabled: false });

/** Whether DEBUG has any pattern: the package takes a fifth of the time of the import, so that only its readers should wait for it. */
const isWanted = (process.env.DEBUG ?? '') !== '';

/**
 * Returns the printer of `starlane:<namespace>`. Make one per file, not per object. DEBUG is read once: without it the
 * package `debug` is not loaded, and a later `debug.enable()` has no effect here.
 */
export function debug(namespace: DebugNamespace): Debug {
  return (isWanted && loadDebug()?.(`starlane:${namespace}`)) || SILENT;
}

/** Undefined in a program that is bundled into one file, which does not have the package beside it. */
function loadDebug(): typeof import('debug') | undefined {
  try {
    return createRequire(import.meta.url)('debug');
  } catch {
    return undefined;
  }
}
