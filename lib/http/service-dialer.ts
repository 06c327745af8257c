// From the host of a URL to the service that is dialled.
//
// A URL changes its host before anyone sees it (WHATWG URL Standard, host parsing): it is lower-cased, what is not ASCII
// becomes punycode, and a host whose last label is a number is an IPv4 address. `http://Web/` is for `web`, and
// `http://müller/` for `xn--mller-kva`. A service meant for URLs is bound by such a name, or the option `address` translates.

import type { DialOptions } from '../circuit/options.js';
import { starlaneError } from '../errors.js';
import { type Selector, toSelector } from '../mesh/directory/selector.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';

/** What a request is for, as its URL or its options say. */
export interface HttpTarget {
  /** The host without its port. */
  readonly hostname: string;
  /** 80 or 443 if none is said. */
  readonly port: number;
  readonly protocol: 'http:' | 'https:';
}

/** How the sockets of an agent or a connector are dialled. */
export interface ServiceOptions {
  /**
   * Where a request goes: any address that `node.dial` takes. Default {@link serviceAddress}. Called for each socket, not
   * for each request: requests for the same host and port share sockets.
   */
  address?: ((target: HttpTarget) => string) | undefined;
  /** Options for each dial: `timeoutMs` (default the node's `dialTimeoutMs`), `selector`, `highWaterMark`, `secure`. */
  dial?: Pick<DialOptions, 'timeoutMs' | 'selector' | 'highWaterMark' | 'secure'> | undefined;
}

/** @internal The ports that URLs leave out. */
export const USUAL_PORT = { 'http:': 80, 'https:': 443 } as const;

/**
 * The address that is dialled unless the option `address` says otherwise: the name alone for the usual port of the protocol,
 * as `node.httpDial` has it, else `name:port`. The name alone finds the service at whatever port it is bound, at its usual
 * one if it has several. `@nodeId`, which no URL can hold, keeps its port.
 */
export function serviceAddress({ hostname, port, protocol }: HttpTarget): string {
  return port === USUAL_PORT[protocol] && !hostname.startsWith('@') ? hostname : `${hostname}:${port}`;
}

/** Dials the service that a request is for. */
export class ServiceDialer {
  private readonly address: (target: HttpTarget) => string;
  private readonly selector: Selector;

  /** @throws ERR_STARLANE_OPTION */
  constructor(
    private readonly node: Node,
    private readonly options: ServiceOptions,
  ) {
    const { address = serviceAddress, dial } = options;
    if (typeof address !== 'function') throw optionError('address: a function is needed');
    const selector = toSelector(dial?.selector);
    if (selector === undefined)
      throw optionError("dial.selector: 'random', 'nearest', hash(key) or a function is needed");
    this.address = address;
    this.selector = selector;
  }

  /** Whose services are dialled. */
  get nodeId(): string {
    return this.node.id;
  }

  /** @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION, or what the option `address` throws */
  dial(target: HttpTarget): Socket {
    const address = this.address(target);
    // An address with a port has decided already.
    const selector = address.includes(':') ? this.selector : preferring(USUAL_PORT[target.protocol], this.selector);
    return this.node.dial(address, { ...this.options.dial, selector });
  }
}

/** A name may be bound at 80 and at 443 for the two protocols, or at other ports for something else. */
function preferring(usualPort: number, selector: Selector): Selector {
  return (instances) => {
    const usual = instances.filter(({ port }) => port === usualPort || port === 0);
    return selector(usual.length > 0 ? usual : instances);
  };
}

function optionError(reason: string): Error {
  return starlaneError('ERR_STARLANE_OPTION', reason);
}
