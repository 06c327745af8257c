// Options of dial and bind.

import { AsyncResource } from 'node:async_hooks';
import { isInstanceName } from '../address.js';
import { starlaneError } from '../errors.js';
import { type Selector, type SelectorOption, toSelector } from '../mesh/directory/selector.js';
import { type Allow, resolveAllow } from '../options/allow.js';
import type { ResilienceOptions } from '../options/resilience.js';
import type { ServerOptions } from '../socket/server.js';
import type { SocketOptions } from '../socket/socket.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';
import type { Prepare } from './accept/preparation.js';

export interface DialOptions extends SocketOptions {
  /** Destroys the socket with an AbortError, before or after it is connected. */
  signal?: AbortSignal | undefined;
  /** How long the service may take to appear and to answer, in ms, 1 to 2147483647. Default: the node's dialTimeoutMs. */
  timeoutMs?: number | undefined;
  /** Which instance of the service. Default random. */
  selector?: SelectorOption | undefined;
  /**
   * Requests a direct link to the node when there is none, and waits for it for up to half of the timeout; without one, the dial goes
   * through relays like any other. Default false.
   */
  direct?: boolean | undefined;
  /**
   * Encrypts from this node to the server, and both ends prove that they own their node ids, so that relays can neither read nor
   * alter the data. The dial fails when that is not possible. Default: true for circuits through relays if the node has a secret,
   * else false; a direct link is as secure as its transport.
   */
  secure?: boolean | undefined;
  /**
   * What to do about instances that fail or are slow, in place of the node's `resilience`; false: nothing. Dials with equal options share
   * what they know, of up to 16 different ones. Default: the node's.
   */
  resilience?: ResilienceOptions | false | undefined;
}

export interface BindOptions extends ServerOptions {
  /** The share of random dials for this instance, relative to others, 0 to 255. 0: only when there is no other. Default 1. */
  weight?: number | undefined;
  /** Any value that JSON can hold in 4096 bytes. Peers see it in ServiceInfo. */
  meta?: unknown;
  /**
   * The name of this instance: with `'0'`, the service `kafka` is dialled as `0.kafka`, too, which reaches this instance only. 1 to 63
   * letters, digits, `_` and `-`. Several instances may have one name, and a service that is really called `0.kafka` goes first.
   */
  instance?: string | undefined;
  /**
   * Decides who may dial this server: a function, or a list of rules. A dial that no rule fits fails with EACCES at the dialler. The
   * node's `allow` is asked first, and both must allow. Default: the node's `allow` alone.
   */
  allow?: Allow | undefined;
  /**
   * Called for each circuit that is allowed, before it is accepted: for what has to be there first, such as a connection to the program
   * behind this server. The circuit is accepted when the promise resolves, and the event 'connection' has its value as second argument. When
   * it rejects, or takes longer than the dialler waits or handshakeTimeoutMs, the dial tries another instance, and fails with ECONNREFUSED
   * without one; the message of the error is the reason that the dialler gets. Default: circuits are accepted at once.
   */
  prepare?: Prepare | undefined;
}

interface CheckedBindOptions {
  readonly weight: number | undefined;
  readonly meta: unknown;
  readonly allow: Allow | undefined;
  readonly prepare: Prepare | undefined;
  readonly instance: string | undefined;
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
  const instance = options?.instance;
  if (instance !== undefined && !isInstanceName(instance)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'instance: 1 to 63 letters, digits, _ and - are needed');
  }
  const prepare = options?.prepare;
  if (prepare !== undefined && typeof prepare !== 'function') {
    throw starlaneError('ERR_STARLANE_OPTION', 'prepare: a function is needed');
  }
  return {
    weight,
    meta: options?.meta,
    allow: resolveAllow(options?.allow, ['dial']),
    instance,
    // It is called when others dial, in the async context in which it was set.
    prepare: prepare === undefined ? undefined : AsyncResource.bind(prepare),
  };
}
