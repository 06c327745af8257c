// Options of `invite`, checked.

import { formatLinkAddress, parseLinkAddress } from '../../address.js';
import { optionError } from '../../errors.js';
import { DEFAULT_LIFETIME_MS, MAX_LIFETIME_MS } from '../../identity/authority.js';
import { ALL_RIGHTS, type MemberRights, nameFault, offersFault, tagsFault } from '../../identity/member-certificate.js';
import { MAX_TOKEN_ADDRESSES } from '../../wire/token.js';
import { MAX_USES } from './invitations.js';

const DAY_MS = 86_400_000;
const DEFAULT_EXPIRY_MS = 15 * 60_000;
const MAX_EXPIRY_MS = 30 * DAY_MS;
/** X.509 counts in seconds, and a certificate must be renewed in time. */
export const MIN_LIFETIME_MS = 10_000;

export interface InviteOptions {
  /**
   * The name of the member, 1 to 64 bytes: rules of `allow` may refer to it. With an asterisk, the joiner chooses what stands there; if it
   * does not, that is its node id.
   */
  name: string;
  /** For rules: up to 16. Default none. */
  tags?: readonly string[] | undefined;
  /** What the member may do. Default: relay, and offer any service. */
  rights?: Partial<MemberRights> | undefined;
  /** How many machines may join with the token, 1 to 1000. Default 1. */
  uses?: number | undefined;
  /** How long the token is good, in ms, up to 30 days. Default 15 minutes. */
  expiresInMs?: number | undefined;
  /** How long a certificate of the member is valid, in ms, 10 s to 397 days. It is renewed in time. Default 30 days. */
  lifetimeMs?: number | undefined;
  /**
   * Where the joiner finds the network: up to 8 link addresses of tls, of any members. Default: where this node and some of its neighbours
   * can be reached.
   */
  addresses?: readonly string[] | undefined;
}

export interface CheckedInvite {
  readonly name: string;
  readonly tags: readonly string[];
  readonly rights: MemberRights;
  readonly uses: number;
  readonly expiresInMs: number;
  readonly lifetimeMs: number;
  readonly addresses: readonly string[] | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  'name',
  'tags',
  'rights',
  'uses',
  'expiresInMs',
  'lifetimeMs',
  'addresses',
]);
const RIGHTS: ReadonlySet<string> = new Set(['relay', 'offer', 'issue']);

/** @throws ERR_STARLANE_OPTION */
export function checkInvite(options: InviteOptions): CheckedInvite {
  if (typeof options !== 'object' || options === null) throw optionError('invite', 'must be an object of options');
  for (const option of Object.keys(options)) {
    if (!OPTIONS.has(option)) throw optionError(option, 'unknown option of invite');
  }
  const { name, tags = [], uses = 1, expiresInMs = DEFAULT_EXPIRY_MS, lifetimeMs = DEFAULT_LIFETIME_MS } = options;
  const fault = nameFault(name);
  if (fault !== undefined) throw optionError('name', fault);
  const tagFault = Array.isArray(tags) ? tagsFault(tags) : 'must be a list';
  if (tagFault !== undefined) throw optionError('tags', tagFault);
  checkNumber('uses', uses, 1, MAX_USES);
  checkNumber('expiresInMs', expiresInMs, 1, MAX_EXPIRY_MS);
  checkNumber('lifetimeMs', lifetimeMs, MIN_LIFETIME_MS, MAX_LIFETIME_MS);
  return {
    name,
    tags: [...tags],
    rights: checkRights(options.rights),
    uses,
    expiresInMs,
    lifetimeMs,
    addresses: options.addresses === undefined ? undefined : checkAddresses(options.addresses),
  };
}

function checkNumber(option: string, value: unknown, min: number, max: number): void {
  if (!(Number.isInteger(value) && (value as number) >= min && (value as number) <= max)) {
    throw optionError(option, `must be an integer from ${min} to ${max}`);
  }
}

/** @throws ERR_STARLANE_OPTION */
export function checkRights(rights: unknown): MemberRights {
  if (rights === undefined) return { relay: true, offer: ALL_RIGHTS.offer, issue: false };
  if (typeof rights !== 'object' || rights === null) throw optionError('rights', 'must be an object');
  for (const right of Object.keys(rights))
    if (!RIGHTS.has(right)) throw optionError('rights', `unknown right ${right}`);
  const { relay = true, offer = ALL_RIGHTS.offer, issue = false } = rights as Partial<MemberRights>;
  if (typeof relay !== 'boolean') throw optionError('rights.relay', 'must be true or false');
  if (typeof issue !== 'boolean') throw optionError('rights.issue', 'must be true or false');
  const fault = Array.isArray(offer) ? offersFault(offer) : 'must be a list of names of services';
  if (fault !== undefined) throw optionError('rights.offer', fault);
  return { relay, offer: [...offer], issue };
}

function checkAddresses(addresses: unknown): readonly string[] {
  if (!Array.isArray(addresses) || addresses.length < 1 || addresses.length > MAX_TOKEN_ADDRESSES) {
    throw optionError('addresses', `must be a list of 1 to ${MAX_TOKEN_ADDRESSES} link addresses`);
  }
  return addresses.map((text: unknown, index) => {
    const address = linkAddressOf(text, `addresses[${index}]`);
    if (address.scheme !== 'tls' || address.host === undefined || address.port === 0) {
      throw optionError(`addresses[${index}]`, 'must be a link address of tls with host and port');
    }
    return formatLinkAddress(address);
  });
}

function linkAddressOf(text: unknown, option: string): ReturnType<typeof parseLinkAddress> {
  try {
    return parseLinkAddress(text as string, 'tls');
  } catch (error) {
    throw optionError(option, 'must be a link address', error);
  }
}
