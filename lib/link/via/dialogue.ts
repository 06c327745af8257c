// What the two protocols of proxies have in common: the client speaks first, and each piece that the proxy sends leads to an answer, to an
// open tunnel, or to an error. Bytes in, bytes out: tunnel.ts has the socket.

import { type StarlaneError, starlaneError } from '../../errors.js';

/** What the bytes of a proxy have led to. */
export type Step =
  /** The dialogue goes on, after these bytes if there are any. */
  | { readonly isOpen: false; readonly send: Buffer | undefined }
  /** The tunnel is open. `rest` are its first bytes. */
  | { readonly isOpen: true; readonly rest: Buffer };

export interface Dialogue {
  /** Returns what the client says first. */
  begin(): Buffer;
  /** Called with everything that has arrived. @throws ERR_STARLANE_PROXY, ERR_STARLANE_PROXY_AUTH */
  push(bytes: Buffer): Step;
}

/** The end of a tunnel. An IPv6 host has no brackets. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

export const NOT_YET: Step = { isOpen: false, send: undefined };

/** The proxy says that nothing listens at the target. It is the cause of an ERR_STARLANE_PROXY. */
export class TargetRefused extends Error {}

export function proxyError(detail: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_PROXY', detail, cause);
}

export function authError(detail: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_PROXY_AUTH', detail, cause);
}
