// The proxy through which a node reaches the network, and the hosts that it reaches without it: the options `via` and `noProxy`.

import { BlockList, isIP } from 'node:net';
import { optionError } from '../errors.js';

export type ProxyScheme = 'http' | 'https' | 'socks5';

export interface ProxyCredentials {
  readonly user: string;
  readonly password: string;
}

/** The ports that count where the URL names none; 1080 is that of RFC 1928. */
const PORTS: Readonly<Record<ProxyScheme, number>> = { http: 80, https: 443, socks5: 1080 };

/** socks5h is what curl calls socks5 with names that the proxy resolves, which is what socks5 means here. */
const SCHEMES: ReadonlyMap<string, ProxyScheme> = new Map([
  ['http:', 'http'],
  ['https:', 'https'],
  ['socks5:', 'socks5'],
  ['socks5h:', 'socks5'],
]);

/** RFC 1929 has one byte for the length of each. The passwords of RFC 7617 may be longer, but no proxy needs it. */
const MAX_CREDENTIAL_BYTES = 255;
const MAX_URL_LENGTH = 2_048;
const MAX_EXCEPTIONS = 1_024;

const HOST = /^[^\p{Cc}\p{Cs}\p{White_Space}/?#@:[\]\\%]+$/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 7617 and RFC 1929 leave no room for them
const CONTROL = /[\x00-\x1f\x7f]/;

const FORMS = 'must be http://, https:// or socks5:// with host and port, as in http://user:password@proxy:3128';

/** A proxy. Its credentials do not show up when it is printed. */
export class Via {
  readonly #credentials: ProxyCredentials | undefined;

  /** @internal Use {@link resolveVia}. */
  constructor(
    readonly scheme: ProxyScheme,
    readonly host: string,
    readonly port: number,
    credentials: ProxyCredentials | undefined,
    private readonly exceptions: NoProxy,
  ) {
    this.#credentials = credentials;
  }

  /** The URL without the credentials. */
  get url(): string {
    return `${this.scheme}://${this.host.includes(':') ? `[${this.host}]` : this.host}:${this.port}`;
  }

  get credentials(): ProxyCredentials | undefined {
    return this.#credentials;
  }

  /** Returns whether the option `noProxy` excepts a host. */
  excepts(host: string, port: number): boolean {
    return this.exceptions.has(host, port);
  }
}

/**
 * Returns the proxy of the options `via` and `noProxy`. Errors never contain the value of `via`, which may have a password.
 * @throws ERR_STARLANE_OPTION
 */
export function resolveVia(via: unknown, noProxy?: unknown): Via | undefined {
  const exceptions = resolveNoProxy(noProxy);
  if (via === undefined) {
    if (noProxy !== undefined && exceptions.size > 0) throw optionError('noProxy', 'needs the option via');
    return undefined;
  }
  if (typeof via !== 'string' || via.length > MAX_URL_LENGTH) throw optionError('via', FORMS);
  const url = parsed(via);
  const scheme = SCHEMES.get(url.protocol);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const isHost = isIP(host) === 6 || HOST.test(host);
  const isBare = (url.pathname === '' || url.pathname === '/') && url.search === '' && url.hash === '';
  if (scheme === undefined || !isHost || !isBare) throw optionError('via', FORMS);
  const port = url.port === '' ? PORTS[scheme] : Number(url.port);
  if (port === 0) throw optionError('via', 'the port must be from 1 to 65535');
  return new Via(scheme, host, port, credentialsOf(url, scheme), exceptions);
}

/** Not with the error of URL as the cause: it has the whole text in it. */
function parsed(text: string): URL {
  if (!URL.canParse(text)) {
    throw optionError('via', `${FORMS}; in a password, special characters must be percent-encoded`);
  }
  return new URL(text);
}

function credentialsOf(url: URL, scheme: ProxyScheme): ProxyCredentials | undefined {
  if (url.username === '' && url.password === '') return undefined;
  let user: string;
  let password: string;
  try {
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw optionError('via', 'user and password must be percent-encoded UTF-8');
  }
  for (const [name, text] of Object.entries({ user, password })) {
    if (CONTROL.test(text)) throw optionError('via', `the ${name} must not have control characters`);
    if (Buffer.byteLength(text) > MAX_CREDENTIAL_BYTES) {
      throw optionError('via', `the ${name} must not have more than ${MAX_CREDENTIAL_BYTES} bytes`);
    }
  }
  if (user === '') throw optionError('via', 'a password needs a user');
  if (scheme !== 'socks5' && user.includes(':')) throw optionError('via', 'the user must not have a colon (RFC 7617)');
  return { user, password };
}

/**
 * Hosts that are reached without the proxy, in the spelling of NO_PROXY: `*`, a name, which stands for all names below it as well, with or
 * without a dot or `*.` in front, an address, a range such as 10.0.0.0/8; each with `:port` if only that is meant.
 */
export class NoProxy {
  private isAll = false;
  /** Names with the port that is excepted; undefined: every port. */
  private readonly names: Array<{ readonly name: string; readonly port: number | undefined }> = [];
  private readonly addresses: Array<{ readonly list: BlockList; readonly port: number | undefined }> = [];

  get size(): number {
    return this.names.length + this.addresses.length + (this.isAll ? 1 : 0);
  }

  /** Returns whether the entry is valid. */
  add(entry: string): boolean {
    if (entry === '*') {
      this.isAll = true;
      return true;
    }
    const match = /^(?:\[([^\]]+)\]|([^:[\]]+|[^[\]]*:[^[\]]*:[^[\]]*?))(?::(\d{1,5}))?$/.exec(entry);
    const host = match?.[1] ?? match?.[2];
    if (match === null || host === undefined) return false;
    const port = match[3] === undefined ? undefined : Number(match[3]);
    if (port !== undefined && (port === 0 || port > 65_535)) return false;
    const list = rangeOf(host);
    if (match[1] !== undefined && list === undefined) return false;
    if (list !== undefined) this.addresses.push({ list, port });
    else {
      const name = normal(host.replace(/^\*?\./, ''));
      if (!HOST.test(name) || name.includes('*')) return false;
      this.names.push({ name, port });
    }
    return true;
  }

  has(host: string, port: number): boolean {
    if (this.isAll) return true;
    const version = isIP(host);
    if (version !== 0) {
      const family = version === 4 ? 'ipv4' : 'ipv6';
      return this.addresses.some((one) => fits(one.port, port) && one.list.check(host, family));
    }
    const name = normal(host);
    return this.names.some((one) => fits(one.port, port) && (name === one.name || name.endsWith(`.${one.name}`)));
  }
}

function fits(wanted: number | undefined, port: number): boolean {
  return wanted === undefined || wanted === port;
}

function normal(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

/** Returns the addresses that an entry means; undefined when it is no address and no range. */
function rangeOf(text: string): BlockList | undefined {
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return undefined;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  if (prefix === undefined) list.addAddress(address, family);
  else {
    const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (!(bits <= (version === 4 ? 32 : 128))) return undefined;
    list.addSubnet(address, bits, family);
  }
  return list;
}

/** Returns the words of a list that is separated by commas or white space. */
function entriesOf(list: unknown): unknown[] {
  if (list === undefined) return [];
  if (typeof list === 'string') return list.split(/[\s,]+/).filter((word) => word !== '');
  if (Array.isArray(list)) return list;
  throw optionError('noProxy', 'must be a list of hosts');
}

function resolveNoProxy(list: unknown): NoProxy {
  const exceptions = new NoProxy();
  const entries = entriesOf(list);
  if (entries.length > MAX_EXCEPTIONS) throw optionError('noProxy', `at most ${MAX_EXCEPTIONS} hosts`);
  for (const [index, entry] of entries.entries()) {
    if (typeof entry === 'string' && exceptions.add(entry)) continue;
    throw optionError(`noProxy[${index}]`, 'must be *, a host name, an address, or a range such as 10.0.0.0/8');
  }
  return exceptions;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** Where curl looks for the proxy of a connection that is encrypted from end to end, in its order. */
const PROXY_VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];

/**
 * Returns the proxy that the variables of the machine name, for `via: 'environment'`: the URL, which may lack its scheme, and the entries of
 * NO_PROXY that mean something here.
 */
export function machineProxy(variables: Variables): { via: string | undefined; noProxy: string[] } {
  const name = PROXY_VARIABLES.find((one) => (variables[one] ?? '') !== '');
  const text = name === undefined ? undefined : variables[name];
  const via = text === undefined || text.includes('://') ? text : `http://${text}`;
  if (via === undefined) return { via, noProxy: [] };
  const words = entriesOf(variables['no_proxy'] ?? variables['NO_PROXY'] ?? '') as string[];
  const scratch = new NoProxy();
  return { via, noProxy: words.filter((word) => scratch.add(word)).slice(0, MAX_EXCEPTIONS) };
}
