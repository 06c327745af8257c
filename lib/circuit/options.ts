// Options of dial and bind.

import { starlaneError } from '../errors.js';
import { type Selector, type SelectorOption, toSelector } from '../mesh/directory/selector.js';
import { type Allow, resolveAllow } from '../options/allow.js';
import type { ServerOptions } from '../socket/server.js';
import type { SocketOptions } from '../socket/socket.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';

export interface DialOptions extends SocketOptions {
  /** Destroys the socket with an AbortError, before or after it is connected. */
  signal?: AbortSignal | undefined;
  /** Milliseconds, 1 to 2147483647: for the service to appear and to answer. Default: the node's dialTimeoutMs. */
  timeoutMs?: number | undefined;
  /** Which instance of the service. Default random. */
  selector?: SelectorOption | undefined;
  /**
   * Asks for a direct link to the node when there is none, and waits for it up to half of the time; without one, the dial
   * goes through relays as any other. Default false.
   */
  direct?: boolean | undefined;
  /**
   * Encrypts from here to the server, with keys that both prove to be of their node ids, so that relays on the way can neither
   * read nor alter what goes by them: a dial that cannot be had like that fails. Default: where the node has a secret, true for
   * circuits through relays; else false. Links to neighbours are encrypted themselves, or are not to be.
   */
  secure?: boolean | undefined;
}

export interface BindOptions extends ServerOptions {
  /** 0 to 255, default 1: the share of random dials that this instance wants, against others. 0: only in need. */
  weight?: number | undefined;
  /** Anything that JSON can hold in 4096 bytes; peers see it in ServiceInfo. */
  meta?: unknown;
  /**
   * Who may dial this server: a function, or a list of rules, where what no rule fits is denied with EACCES at the dialler.
   * The `allow` of the node is asked before, and both must allow. Default: whoever the node allows.
   */
  allow?: Allow | undefined;
}

export interface CheckedBindOptions {
  readonly weight: number | undefined;
  readonly meta: unknown;
  readonly allow: Allow | undefined;
}

/** @throws ERR_STARLANE_OPTION */
export function checkDialOptions(options: DialOptions): { selector: Selector; timeoutMs: number | undefined } {
  const { timeoutMs, signal } = options;
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'timeoutMs: a number from 1 to 2147483647 is needed');
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'signal: an AbortSignal is needed');
  }
  if (options.direct !== undefined && typeof options.direct !== 'boolean') {
    throw starlaneError('ERR_STARLANE_OPTION', 'direct: true or false is needed');
  }
  if (options.secure !== undefined && typeof options.secure !== 'boolean') {
    throw starlaneError('ERR_STARLANE_OPTION', 'secure: true or false is needed');
  }
  const selector = toSelector(options.selector);
  if (selector === undefined) {
    throw starlaneError('ERR_STARLANE_OPTION', "selector: 'random', 'nearest', hash(key) or a function is needed");
  }
  return { selector, timeoutMs };
}

/** @throws ERR_STARLANE_OPTION */
export function checkBindOptions(options: BindOptions | undefined): CheckedBindOptions {
  const weight = options?.weight;
  if (weight !== undefined && !(Number.isInteger(weight) && weight >= 0 && weight <= 255)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'weight: an integer from 0 to 255 is needed');
  }
  return { weight, meta: options?.meta, allow: resolveAllow(options?.allow, ['dial']) };
}
