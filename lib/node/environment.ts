// Options of nodes from the environment of the process: those that a deployment sets rather than a program.

import { readFileSync } from 'node:fs';
import { codeOf, optionError, starlaneError } from '../errors.js';
import { LIMITS, type NodeLimits } from '../options/limits.js';
import type { NodeOptions, NodeRole, SocketAddressKind, TlsFiles } from '../options/options.js';
import { secretBytes } from '../options/security.js';
import { machineProxy } from '../options/via.js';

/** Each field is the default of the option of that name, unless described otherwise; undefined where nothing is set. */
export interface NodeEnvironment {
  /** STARLANE_JOIN: link addresses, joined as seeds are. */
  readonly join: readonly string[];
  /** STARLANE_LISTEN: link addresses to listen at. */
  readonly listen: readonly string[];
  /** STARLANE_ENV. */
  readonly env: readonly string[];
  /**
   * STARLANE_SECRET, or the text of the file STARLANE_SECRET_FILE without the end of its last line. With STARLANE_OLD_SECRET or
   * STARLANE_OLD_SECRET_FILE it is a list, with the old secret last.
   */
  readonly secret: string | readonly string[] | undefined;
  /** STARLANE_IDENTITY: the path of a file. Only for one node of the process at a time. */
  readonly identity: string | undefined;
  /** STARLANE_CREDENTIALS: the path of a folder. Only for one node of the process at a time. */
  readonly credentials: string | undefined;
  /** STARLANE_ROLE. */
  readonly role: NodeRole | undefined;
  /** STARLANE_ADVERTISE: link addresses. */
  readonly advertise: readonly string[];
  /** STARLANE_SOCKET_ADDRESSES: id or ipv4. */
  readonly socketAddresses: SocketAddressKind | undefined;
  /** STARLANE_RELAY: true or false. */
  readonly relay: boolean | undefined;
  /** STARLANE_INSECURE: true or false. */
  readonly insecure: boolean | undefined;
  /** The files STARLANE_TLS_CERT, STARLANE_TLS_KEY and, if set, STARLANE_TLS_CA. */
  readonly tls: TlsFiles | undefined;
  /** STARLANE_VIA. */
  readonly via: string | undefined;
  /** STARLANE_NO_PROXY. */
  readonly noProxy: readonly string[];
  /** What `via: 'environment'` means: HTTPS_PROXY or ALL_PROXY, and NO_PROXY. */
  readonly machineProxy: { readonly via: string | undefined; readonly noProxy: readonly string[] };
  /** STARLANE_ and the name of a limit, as in STARLANE_DIAL_TIMEOUT_MS. */
  readonly limits: Partial<NodeLimits>;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** The longest file that a variable may name. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads the environment, and the files that it names. Lists are separated by commas or white space.
 * @throws ERR_STARLANE_OPTION, with the name of the variable, for a value that its option does not take and for a file that cannot be
 * read: without its secret, the node would send everything in clear
 */
export function readEnvironment(variables: Variables): NodeEnvironment {
  return {
    join: words(variables['STARLANE_JOIN']),
    listen: words(variables['STARLANE_LISTEN']),
    env: words(variables['STARLANE_ENV']),
    secret: readSecrets(variables),
    identity: readText(variables, 'STARLANE_IDENTITY'),
    credentials: readText(variables, 'STARLANE_CREDENTIALS'),
    // Checked later, with the option.
    role: readText(variables, 'STARLANE_ROLE') as NodeRole | undefined,
    advertise: words(variables['STARLANE_ADVERTISE']),
    socketAddresses: readText(variables, 'STARLANE_SOCKET_ADDRESSES') as SocketAddressKind | undefined,
    relay: readFlag(variables, 'STARLANE_RELAY'),
    insecure: readFlag(variables, 'STARLANE_INSECURE'),
    tls: readTls(variables),
    ...readProxy(variables),
    limits: readLimits(variables),
  };
}

/** Reads what the environment says of proxies. It is checked later, with the options. */
export function readProxy(variables: Variables): Pick<NodeEnvironment, 'via' | 'noProxy' | 'machineProxy'> {
  return {
    via: readText(variables, 'STARLANE_VIA'),
    noProxy: words(variables['STARLANE_NO_PROXY']),
    machineProxy: machineProxy(variables),
  };
}

/** Returns the variable for a limit: STARLANE_MAX_LINKS for `maxLinks`. */
export function limitVariable(name: string): string {
  return `STARLANE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Returns the options of a node, with those of the environment where the program sets none. */
export function withEnvironment(options: NodeOptions, environment: NodeEnvironment): NodeOptions {
  const { env, advertise, socketAddresses, relay, insecure, role, limits, secret, tls, identity, credentials } =
    environment;
  // Either of the two is the identity, so that what the program says replaces both.
  const isNamed = options.credentials !== undefined || options.identity !== undefined;
  const defaults: NodeOptions = {
    ...limits,
    env: env.length > 0 ? env : undefined,
    advertise: advertise.length > 0 ? advertise : undefined,
    role,
    socketAddresses,
    // A client relays nothing, whatever is set for all nodes of the process.
    relay: (options.role ?? role) === 'client' ? undefined : relay,
    insecure,
    secret,
    tls: options.credentials === undefined ? tls : undefined,
    identity: isNamed ? undefined : identity,
    credentials: isNamed || options.tls !== undefined ? undefined : credentials,
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given), ...viaOf(options, environment) };
}

/** Returns the proxy of a program, or else of the environment, with its exceptions. */
export function viaOf(
  options: Pick<NodeOptions, 'via' | 'noProxy'>,
  { via, noProxy, machineProxy: machine }: Pick<NodeEnvironment, 'via' | 'noProxy' | 'machineProxy'>,
): Pick<NodeOptions, 'via' | 'noProxy'> {
  const chosen = options.via ?? via;
  const isMachine = chosen === 'environment';
  const named = isMachine ? machine.via : chosen;
  // Exceptions of the environment are for whatever proxy there is, and do no harm without one.
  if (named === undefined && (isMachine || options.noProxy === undefined))
    return { via: undefined, noProxy: undefined };
  const exceptions = noProxy.length > 0 || !isMachine ? noProxy : machine.noProxy;
  return { via: named, noProxy: options.noProxy ?? exceptions };
}

/** Identity files that the environment has given to nodes of this process. */
const takenIdentities = new Set<string>();

/**
 * Takes the identity of the environment for a node. Returns undefined if another node of the process has it, as two nodes must not have
 * one identity.
 */
export function takeIdentity({ identity }: NodeEnvironment): string | undefined {
  if (identity === undefined || takenIdentities.has(identity)) return undefined;
  takenIdentities.add(identity);
  return identity;
}

/** Folders of credentials that nodes of this process use. */
const takenCredentials = new Set<string>();

/** Takes a folder of credentials for a node. @throws ERR_STARLANE_CREDENTIALS when another node of the process has it */
export function takeCredentials(folder: string): void {
  if (takenCredentials.has(folder)) {
    const what = 'another node of this process uses it, and two nodes must not have one identity';
    throw starlaneError('ERR_STARLANE_CREDENTIALS', `${folder}: ${what}`);
  }
  takenCredentials.add(folder);
}

/** Called when the node that has taken it is closed, or is not used. */
export function releaseCredentials(folder: string): void {
  takenCredentials.delete(folder);
}

/** Called when the node that has taken it is closed, or is not used. */
export function releaseIdentity(identity: string): void {
  takenIdentities.delete(identity);
}

function readText(variables: Variables, name: string): string | undefined {
  const text = variables[name];
  return text === undefined || text === '' ? undefined : text;
}

function readFlag(variables: Variables, name: string): boolean | undefined {
  const text = readText(variables, name);
  if (text === undefined) return undefined;
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw optionError(name, 'must be true, false, 1 or 0');
}

function readSecrets(variables: Variables): string | readonly string[] | undefined {
  const secret = readSecret(variables, 'STARLANE_SECRET');
  const old = readSecret(variables, 'STARLANE_OLD_SECRET');
  if (old === undefined) return secret;
  if (secret === undefined) throw optionError('STARLANE_OLD_SECRET', 'STARLANE_SECRET is not set');
  return [secret, old];
}

/** Returns the value of a variable, or the text of the file that the variable of this name with `_FILE` names. */
function readSecret(variables: Variables, name: string): string | undefined {
  const secret = variables[name];
  secretBytes(secret, name);
  const file = `${name}_FILE`;
  const path = readText(variables, file);
  if (path === undefined) return secret;
  if (secret !== undefined) throw optionError(file, `${name} is set as well`);
  const text = readFile(file, path).replace(/\r?\n$/, '');
  secretBytes(text, file);
  return text;
}

function readTls(variables: Variables): TlsFiles | undefined {
  const [cert, key, ca] = ['STARLANE_TLS_CERT', 'STARLANE_TLS_KEY', 'STARLANE_TLS_CA'].map((name) => {
    const path = readText(variables, name);
    return path === undefined ? undefined : readFile(name, path);
  });
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined) throw optionError('STARLANE_TLS_CERT', 'must be the path of a certificate');
  if (key === undefined) throw optionError('STARLANE_TLS_KEY', 'must be the path of a key');
  return ca === undefined ? { cert, key } : { cert, key, ca };
}

function readLimits(variables: Variables): Partial<NodeLimits> {
  const limits: Partial<NodeLimits> = {};
  for (const [name, [, min, max]] of LIMITS) {
    const variable = limitVariable(name);
    const text = readText(variables, variable);
    if (text === undefined) continue;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw optionError(variable, `must be an integer from ${min} to ${max}`);
    limits[name] = value;
  }
  return limits;
}

function readFile(name: string, path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw optionError(name, `${path} cannot be read (${codeOf(error)})`, error);
  }
  if (text.length > MAX_FILE_BYTES) throw optionError(name, `${path} has more than ${MAX_FILE_BYTES} bytes`);
  return text;
}

function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(/[\s,]+/).filter((word) => word !== '');
}
