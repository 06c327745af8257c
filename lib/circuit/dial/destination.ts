// Several services that a dial may go to: by priority (failover), by weight (split), or both. The command line writes them as
//
//   web-v2,web-v1              web-v1 only while web-v2 has no instance that can be dialled
//   web-v1=90,web-v2=10        90 % of the dials go to web-v1
//   web-v1=90,web-v2=10,web    both, and web only while neither can be dialled
//   a=90,b=10;c=50,d=50        two splits, one after the other
//   0.kafka                    one instance by its name

import { formatServiceAddress, parseServiceAddress } from '../../address.js';
import { starlaneError } from '../../errors.js';

/** The most services of one destination. */
const MAX_SERVICES = 64;
const MAX_WEIGHT = 1_000_000;

/** A service of a destination. */
export interface Share {
  /** `name` or `name:port`; the name may be that of an instance, as in `0.kafka`. */
  readonly address: string;
  /** Its share of the dials, relative to the others of its group. 0: only when no other can be dialled. */
  readonly weight: number;
}

/** Several services, which `dial` takes in place of an address. Made by {@link failover} and {@link split}. */
export class Destination {
  /** @internal Use {@link failover} and {@link split}. @throws ERR_STARLANE_ADDRESS */
  constructor(
    /** In the order of their priority: a group is dialled only while those before it have no instance that can be. */
    readonly groups: ReadonlyArray<readonly Share[]>,
  ) {
    const shares = groups.flat();
    if (shares.length === 0) throw addressError('a destination needs a service');
    if (shares.length > MAX_SERVICES) throw addressError(`at most ${MAX_SERVICES} services in a destination`);
    const known = new Set(shares.map(({ address }) => address));
    if (known.size < shares.length) throw addressError(`${formatted(groups)}: a service twice`);
    Object.freeze(groups);
    for (const group of groups) {
      Object.freeze(group);
      for (const share of group) Object.freeze(share);
    }
    Object.freeze(this);
  }

  /** Returns the text that the command line takes, which is also the `address` of errors. */
  toString(): string {
    return formatted(this.groups);
  }
}

/**
 * Returns a destination with priorities: the second one is dialled only while the first has no instance that can be dialled, and so on.
 * @param destinations names (`name`, `name:port`, `instance.name`), or what {@link split} returns
 * @throws ERR_STARLANE_ADDRESS
 */
export function failover(...destinations: ReadonlyArray<string | Destination>): Destination {
  return new Destination(
    destinations.flatMap((one) => (one instanceof Destination ? one.groups : [[shareOf(one, 1)]])),
  );
}

/**
 * Returns a destination that spreads dials over services in proportion to their weights. With the selector `hash(key)`, a key stays with
 * its service as long as that can be dialled and no weight changes. What is left without an instance leaves its share to the others.
 * @param weights from names (`name`, `name:port`, `instance.name`) to integers from 0 to 1000000. 0: only when no other can be dialled
 * @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_ARGUMENT
 */
export function split(weights: Readonly<Record<string, number>>): Destination {
  if (typeof weights !== 'object' || weights === null) {
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'split: an object from names to weights is needed');
  }
  return new Destination([Object.entries(weights).map(([address, weight]) => shareOf(address, weight))]);
}

/**
 * Reads what a person writes to name a destination: an address that `dial` takes, or services between commas. Those with a weight that
 * stand side by side are one group, any other is a group of its own, and a semicolon ends a group. Names that contain a comma, a semicolon
 * or an equals sign cannot be written.
 * @throws ERR_STARLANE_ADDRESS
 */
export function parseDestination(text: string): string | Destination {
  if (typeof text !== 'string' || !/[,;=]/.test(text)) {
    parseServiceAddress(text);
    return text;
  }
  const groups: Share[][] = [];
  let open: Share[] | undefined;
  for (const part of text.split(/([,;])/)) {
    if (part === ';') open = undefined;
    if (part === ',' || part === ';') continue;
    const [address, weight, ...rest] = part.split('=').map((one) => one.trim());
    if (rest.length > 0 || (weight !== undefined && !/^(0|[1-9]\d{0,6})$/.test(weight))) {
      throw addressError(
        `${JSON.stringify(part.trim())}: a weight is an integer from 0 to ${MAX_WEIGHT}, as in web=90`,
      );
    }
    const share = shareOf(address, weight === undefined ? 1 : Number(weight));
    if (weight !== undefined && open !== undefined) open.push(share);
    else {
      const group = [share];
      groups.push(group);
      open = weight === undefined ? undefined : group;
    }
  }
  return new Destination(groups);
}

function shareOf(address: string, weight: number): Share {
  const where = parseServiceAddress(address);
  if (where.kind !== 'service') throw addressError(`${address}: one of several has to be the name of a service`);
  if (where.port === 0) throw addressError(`${address}: port 0 cannot be dialled`);
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw starlaneError(
      'ERR_STARLANE_ARGUMENT',
      `the weight of ${address}: must be an integer from 0 to ${MAX_WEIGHT}`,
    );
  }
  return { address: formatServiceAddress(where), weight };
}

function formatted(groups: ReadonlyArray<readonly Share[]>): string {
  let text = '';
  for (const [index, group] of groups.entries()) {
    if (index > 0) text += group.length > 1 && groups[index - 1].length > 1 ? ';' : ',';
    text +=
      group.length === 1 ? group[0].address : group.map(({ address, weight }) => `${address}=${weight}`).join(',');
  }
  return text;
}

function addressError(detail: string): Error {
  return starlaneError('ERR_STARLANE_ADDRESS', detail);
}
