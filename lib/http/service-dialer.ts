// Dials the service that a request is for.

import { starlaneError } from '../errors.js';
import { type Selector, toSelector } from '../mesh/directory/selector.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';
import { type HttpTarget, type ServiceOptions, serviceAddress, USUAL_PORT } from './target.js';

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
