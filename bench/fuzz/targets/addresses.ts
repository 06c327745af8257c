// The grammar of addresses. A part is one address as UTF-8, and as text of 16-bit units, which may hold half of a pair.

import {
  formatLinkAddress,
  formatServiceAddress,
  isServiceName,
  type LinkAddress,
  nodeIdFromBytes,
  parseLinkAddress,
  parseServiceAddress,
  type ServiceAddress,
} from '../../../lib/address.js';
import { StarlaneError } from '../../../lib/errors.js';
import type { Random } from '../../simulation/random.js';
import { must, type Outcome, type PureTarget, wayOf } from '../target.js';

const SEEDS = [
  'echo',
  'echo:80',
  ':4294967295',
  'echo:0',
  'tcp://127.0.0.1:10000',
  'tls://[::1]:65535',
  'host:1',
  ':1',
  'unix:/run/starlane.sock',
  'unix:./x',
  'tcp://[fe80::1]:7',
  'größe.日本:9',
];

export const addresses: PureTarget = {
  name: 'addresses',
  share: 15,

  generate: (random) => [Buffer.from(random.below(6) === 0 ? nodeAddress(random) : random.pick(SEEDS))],

  run(parts) {
    const ways = new Set<Outcome>();
    for (const part of parts) {
      for (const text of [part.toString('utf8'), part.toString('utf16le')]) {
        ways.add(serviceWay(text));
        ways.add(linkWay(text));
      }
    }
    return [...ways];
  },
};

function nodeAddress(random: Random): string {
  return `@${nodeIdFromBytes(random.bytes(8))}:${random.below(2 ** 32)}`;
}

function serviceWay(text: string): Outcome {
  let address: ServiceAddress;
  try {
    address = parseServiceAddress(text);
  } catch (error) {
    return refusal(error);
  }
  const again = parseServiceAddress(formatServiceAddress(address));
  must(same(address, again), `${JSON.stringify(text)} becomes another address`);
  must(formatServiceAddress(address) === text, 'an address has two spellings');
  if (address.kind === 'service') must(isServiceName(address.service), 'a name that is none');
  return address.kind;
}

function linkWay(text: string): Outcome {
  let address: LinkAddress;
  try {
    address = parseLinkAddress(text, 'tls');
  } catch (error) {
    return refusal(error);
  }
  const again = parseLinkAddress(formatLinkAddress(address));
  must(same(address, again), `${JSON.stringify(text)} becomes another address`);
  return `${address.scheme}${address.host === undefined ? '' : ' host'}`;
}

function same(one: object, other: object): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function refusal(error: unknown): Outcome {
  if (!(error instanceof StarlaneError)) throw error;
  must(error.code === 'ERR_STARLANE_ADDRESS', `it is refused with ${error.code}`);
  return wayOf(error);
}
