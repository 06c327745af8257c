// What a backend reads about the caller: X-Forwarded-* and Forwarded (RFC 7239), and who the caller is in the mesh.

import { BlockList, isIP } from 'node:net';
import { optionError } from '../../errors.js';
import type { HeaderList } from './headers.js';
import type { Caller } from './inbound/inbound.js';

/** Which callers may say for whom they ask. */
export type TrustProxy = boolean | string | readonly string[];

export class Trust {
  private readonly list: BlockList | boolean;

  /** @throws ERR_STARLANE_OPTION */
  constructor(option: TrustProxy | undefined) {
    if (option === undefined || typeof option === 'boolean') this.list = option ?? false;
    else this.list = blockList(typeof option === 'string' ? [option] : option);
  }

  /** Returns whether what the caller says about others is believed. Nodes of the mesh and unix sockets have no address. */
  includes(caller: Caller): boolean {
    const { list } = this;
    if (typeof list === 'boolean') return list;
    return caller.address !== undefined && this.includesAddress(caller.address);
  }

  /** Whether only some callers are trusted. */
  get isPartial(): boolean {
    return typeof this.list !== 'boolean';
  }

  includesAddress(address: string): boolean {
    const { list } = this;
    if (typeof list === 'boolean') return list;
    const kind = isIP(address);
    return kind !== 0 && list.check(address, kind === 6 ? 'ipv6' : 'ipv4');
  }
}

/** @throws ERR_STARLANE_OPTION */
function blockList(entries: readonly string[]): BlockList {
  if (!Array.isArray(entries)) throw optionError('trustProxy', 'must be true, false, or a list of addresses and CIDRs');
  const list = new BlockList();
  for (const entry of entries) {
    const [address, prefix, ...more] = String(entry).split('/');
    const kind = isIP(address);
    const bits = kind === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (kind === 0 || more.length > 0 || length < 0 || length > bits)
      throw optionError('trustProxy', `'${entry}' is no address and no CIDR`);
    list.addSubnet(address, length, kind === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** Returns an IP address without a zone, and an IPv4 address without the prefix that a socket for both families puts before it. */
export function plainAddress(address: string | undefined): string | undefined {
  if (address?.startsWith('::ffff:') && address.includes('.')) return address.slice(7);
  return address?.includes('%') ? address.slice(0, address.indexOf('%')) : address;
}

export interface ForwardedInput {
  readonly caller: Caller;
  /** What came with the request, from a caller that is trusted; else empty. */
  readonly trusted: HeaderList;
  readonly host: string;
  /** What was cut off the path. */
  readonly prefix: string;
}

/** Returns the fields about the caller as lines: those that came from a trusted caller, with this one added. */
export function forwardedLines({ caller, trusted, host, prefix }: ForwardedInput): string {
  const { address, isSecure, peerId } = caller;
  const proto = isSecure ? 'https' : 'http';
  if (trusted.length === 0) {
    let lines = `X-Forwarded-Proto: ${proto}\r\n`;
    if (address !== undefined) lines = `X-Forwarded-For: ${address}\r\nX-Real-IP: ${address}\r\n${lines}`;
    if (host !== '') lines += `X-Forwarded-Host: ${host}\r\n`;
    if (prefix !== '') lines += `X-Forwarded-Prefix: ${prefix}\r\n`;
    return `${lines}Forwarded: ${element(address, peerId, host, proto)}\r\n`;
  }
  const said = new Map<string, string>();
  for (let index = 0; index < trusted.length; index += 2) {
    const name = trusted[index].toLowerCase();
    const before = said.get(name);
    said.set(name, before === undefined ? trusted[index + 1] : `${before}, ${trusted[index + 1]}`);
  }
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') said.set(name, said.has(name) ? `${said.get(name)}, ${value}` : value);
  };
  const fill = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '' && !said.has(name)) said.set(name, value);
  };
  add('x-forwarded-for', address);
  add('forwarded', element(address, peerId, host, proto));
  fill('x-real-ip', address);
  fill('x-forwarded-proto', proto);
  fill('x-forwarded-host', host);
  if (prefix !== '') said.set('x-forwarded-prefix', `${said.get('x-forwarded-prefix') ?? ''}${prefix}`);
  let lines = '';
  for (const [name, value] of said) lines += `${name}: ${value}\r\n`;
  return lines;
}

/** Returns an element of Forwarded. A node of the mesh has an identifier instead of an address (RFC 7239, section 6.3). */
function element(address: string | undefined, peerId: string | undefined, host: string, proto: string): string {
  const who =
    address === undefined
      ? peerId === undefined
        ? 'unknown'
        : `_${peerId}`
      : address.includes(':')
        ? `"[${address}]"`
        : address;
  return `for=${who}${host === '' ? '' : `;host="${host}"`};proto=${proto}`;
}

/** Returns the fields that say who the caller is; empty for one that has shown nothing. */
export function identityLines({ peerId, peerName, isVerified }: Caller): string {
  if (peerId === undefined && peerName === undefined) return '';
  let lines = `Starlane-Peer-Verified: ${isVerified}\r\n`;
  if (peerId !== undefined) lines += `Starlane-Peer-Id: ${peerId}\r\n`;
  if (peerName !== undefined) lines += `Starlane-Peer-Name: ${encodedName(peerName)}\r\n`;
  return lines;
}

/** Returns a name as visible ASCII: percent signs and all other characters are percent-encoded as UTF-8. */
function encodedName(name: string): string {
  return name.replace(/[^\x20-\x24\x26-\x7e]/gu, (text) =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
