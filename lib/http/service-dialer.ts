// Dials the service that the host of a URL names.
//
// The URL parser changes the host (WHATWG URL Standard, host parsing): it is lower-cased, characters beyond ASCII become punycode, and a
// host whose last label is a number is an IPv4 address. `http://Web/` is for `web`, and `http://müller/` for `xn--mller-kva`. Bind a
// service for URLs by such a name, or translate with the option `address`.

import type { Destination } from '../circuit/dial/destination.js';
import type { DialOptions } from '../circuit/options.js';
import { optionError } from '../errors.js';
import { type Selector, toSelector, withKeyOf } from '../mesh/directory/selector.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';

/** The target of a request, from its URL or its options. */
export interface HttpTarget {
  /** The host without its port. */
  readonly hostname: string;
  /** 80 or 443 if the URL has none. */
  readonly port: number;
  readonly protocol: 'http:' | 'https:';
}

/** Options for dialling the sockets of an agent or a connector. */
export interface ServiceOptions {
  /**
   * Returns the address to dial: any that `node.dial` takes. Default {@link serviceAddress}. Called for each socket, not
   * for each request: requests for the same host and port share sockets.
   */
  address?: ((target: HttpTarget) => string | Destination) | undefined;
  /** Options for each dial: `timeoutMs` (default the node's `dialTimeoutMs`), `selector`, `highWaterMark`, `secure`, `resilience`. */
  dial?: Pick<DialOptions, 'timeoutMs' | 'selector' | 'highWaterMark' | 'secure' | 'resilience'> | undefined;
}

/** @internal The ports that URLs leave out. */
export const USUAL_PORT = { 'http:': 80, 'https:': 443 } as const;

/**
 * Returns the address that is dialled without the option `address`: the name alone for the usual port of the protocol, as
 * `node.httpDial` does, else `name:port`. The name alone finds the service at any port where it is bound, at the usual one of
 * the protocol if it has several. `@nodeId`, which no URL can contain, keeps its port.
 */
export function serviceAddress({ hostname, port, protocol }: HttpTarget): string {
  return port === USUAL_PORT[protocol] && !hostname.startsWith('@') ? hostname : `${hostname}:${port}`;
}

/** Dials the service that a request is for. */
export class ServiceDialer {
  private readonly address: (target: HttpTarget) => string | Destination;
  private readonly selector: Selector;

  /** @throws ERR_STARLANE_OPTION */
  constructor(
    private readonly node: Node,
    private readonly options: ServiceOptions,
  ) {
    const { address = serviceAddress, dial } = options;
    if (typeof address !== 'function') throw optionError('address', 'must be a function');
    const selector = toSelector(dial?.selector);
    if (selector === undefined)
      throw optionError('dial.selector', "must be 'random', 'nearest', hash(key) or a function");
    this.address = address;
    this.selector = selector;
  }

  /** The id of the node that dials. */
  get nodeId(): string {
    return this.node.id;
  }

  /** @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION, or what the option `address` throws */
  dial(target: HttpTarget): Socket {
    const address = this.address(target);
    // An address with a port has chosen the port already.
    const selector = String(address).includes(':')
      ? this.selector
      : preferring(USUAL_PORT[target.protocol], this.selector);
    return this.node.dial(address, { ...this.options.dial, selector });
  }
}

/** Returns a selector that prefers instances at the usual port, as a name can be bound at 80 and at 443 for the two protocols. */
function preferring(usualPort: number, selector: Selector): Selector {
  return withKeyOf(selector, (instances) => {
    const usual = instances.filter(({ port }) => port === usualPort || port === 0);
    return selector(usual.length > 0 ? usual : instances);
  });
}
