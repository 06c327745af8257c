// Which network a command is about, and the options of a node for it.

import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseSeedAddress } from '../../address.js';
import { codeOf } from '../../errors.js';
import { readCredentials } from '../../identity/credentials.js';
import { networkIdOf } from '../../identity/member-certificate.js';
import { enrol, type MemberInfo } from '../../members/index.js';
import type { NodeOptions, NodeRole } from '../../options/options.js';
import { decodeToken } from '../../wire/token.js';
import { ExitCode, Failure, usage } from '../failure.js';
import type { ValuesOf } from '../flags.js';
import { Home } from '../home.js';
import type { NODE_FLAGS } from './node-flags.js';

export type NodeValues = ValuesOf<typeof NODE_FLAGS>;
type Environment = Readonly<Record<string, string | undefined>>;

const TOKEN = /^starlane\d+\./;
export const DEFAULT_TIMEOUT_MS = 10_000;
const ENROL_MS = 30_000;

/** The network of a command. */
export interface ChosenNetwork {
  readonly home: Home;
  /** The folder of credentials, there or not; undefined for a network without members. */
  readonly credentials: string | undefined;
  readonly token: string | undefined;
  /** What identifies the node on this machine, for its control socket. */
  readonly key: string;
  /** Link addresses to join, without the token. */
  readonly seeds: readonly string[];
}

/**
 * Finds the network: that of `--credentials`, else that of the token, else, without a secret or certificates of one's own, the one that was
 * used last.
 * @throws Failure
 */
export function chooseNetwork(values: NodeValues, environment: Environment): ChosenNetwork {
  const home = new Home(environment);
  const join = values.join ?? [];
  const tokens = join.filter((text) => TOKEN.test(text));
  const seeds = join.filter((text) => !TOKEN.test(text));
  if (tokens.length > 1) throw usage('--join: must hold one token at most');
  for (const seed of seeds) checkSeed(seed);
  const [token] = tokens;
  let credentials = values.credentials === undefined ? undefined : resolve(values.credentials);
  if (credentials === undefined && token !== undefined) credentials = home.credentialsOf(decodeToken(token).networkId);
  if (credentials === undefined && !hasOwnSecurity(values, environment)) credentials = home.defaultCredentials;
  const isPlain = credentials === undefined && !hasOwnSecurity(values, environment);
  const secured = isPlain ? seeds.find((seed) => seed.includes('tls://')) : undefined;
  if (secured !== undefined)
    throw usage(`--join ${secured}: needs a token, --credentials, or the secret of the network`);
  const key = credentials ?? (values.identity === undefined ? `process ${process.pid}` : resolve(values.identity));
  return { home, credentials, token, key, seeds };
}

/** @throws Failure */
function checkSeed(seed: string): void {
  try {
    parseSeedAddress(seed, 'tls');
  } catch {
    throw usage(`--join: ${JSON.stringify(seed)} is neither a token nor an address such as tls://host:7400`);
  }
}

/** Whether the node has a secret, certificates of one's own, or says that it is to have none of them. */
export function hasOwnSecurity({ secretFile, identity, insecure }: NodeValues, environment: Environment): boolean {
  const isSet = (name: string) => environment[name] !== undefined && environment[name] !== '';
  return (
    secretFile !== undefined ||
    identity !== undefined ||
    insecure === true ||
    ['STARLANE_SECRET', 'STARLANE_SECRET_FILE', 'STARLANE_TLS_CERT'].some(isSet)
  );
}

/** Whether any program that can connect to a node of this network can join it. */
export function isUnprotected(
  { credentials }: ChosenNetwork,
  { secretFile, insecure }: NodeValues,
  { environment }: { environment: Environment },
): boolean {
  if (credentials !== undefined || secretFile !== undefined || insecure === true) return false;
  return ['STARLANE_SECRET', 'STARLANE_SECRET_FILE', 'STARLANE_TLS_CERT'].every((name) => !environment[name]);
}

/** Whether there is a folder of credentials. */
export function isThere(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Returns a name for this machine that a certificate may have. */
export function machineName(values: Pick<NodeValues, 'name'>): string {
  return values.name ?? hostname().slice(0, 64);
}

/**
 * Makes this machine a member if there is a token and the folder of credentials is not there yet. A token for the network of a folder that
 * is there is not used up: this machine is a member already.
 * @throws Failure, or what `enrol` throws
 */
export async function enrolIfNeeded(network: ChosenNetwork, values: NodeValues): Promise<boolean> {
  const { credentials, token, home } = network;
  if (credentials === undefined || token === undefined) return false;
  const { networkId } = decodeToken(token);
  if (isThere(credentials)) {
    if (!readCredentials(credentials).authorityKeys.some((key) => networkIdOf(key) === networkId)) {
      throw new Failure(`${credentials}: belongs to another network than the token`, ExitCode.REFUSED);
    }
    return false;
  }
  home.make();
  await becomeMember(token, credentials, values);
  if (values.credentials === undefined) home.setDefault(networkId);
  return true;
}

/**
 * Enrols this machine, under its host name if the token leaves the name open and nothing else is asked for.
 * @throws what `enrol` throws
 */
export async function becomeMember(token: string, credentials: string, values: NodeValues): Promise<MemberInfo> {
  const { via, noProxy, timeout: timeoutMs = ENROL_MS } = values;
  const options = { credentials, timeoutMs, via, noProxy };
  try {
    return await enrol(token, { ...options, name: machineName(values) });
  } catch (error) {
    if (values.name !== undefined || codeOf(error) !== 'ERR_STARLANE_MEMBER_NAME') throw error;
    return enrol(token, options);
  }
}

/** Returns the options of a node of this network. The environment of the process adds what is missing. @throws Failure */
export function nodeOptionsOf(network: ChosenNetwork, values: NodeValues): NodeOptions {
  const { credentials, seeds } = network;
  const { env, role, relay, advertise, identity, insecure, via, noProxy } = values;
  if (credentials !== undefined && !isThere(credentials)) {
    throw new Failure(
      `${credentials}: there are no credentials; make them with starlane init or starlane join TOKEN`,
      ExitCode.NOT_FOUND,
    );
  }
  return {
    credentials,
    secret: values.secretFile === undefined ? undefined : secretOf(values.secretFile),
    identity: credentials === undefined ? identity : undefined,
    seeds: seeds.length > 0 ? [...seeds] : undefined,
    env: env === undefined ? undefined : [...env],
    role: role as NodeRole | undefined,
    relay,
    advertise: advertise === undefined ? undefined : [...advertise],
    resilience: resilienceOf(values.resilience),
    insecure,
    via,
    noProxy: noProxy === undefined ? undefined : [...noProxy],
  };
}

/** Returns the option `resilience` with the defaults of these parts. */
function resilienceOf(parts: readonly string[] | undefined): NodeOptions['resilience'] {
  if (parts === undefined) return undefined;
  const has = (part: string) => (parts.includes(part) ? true : undefined);
  return {
    retryBudget: has('retry-budget'),
    circuitBreaker: has('circuit-breaker'),
    outlierEjection: has('outlier-ejection'),
    hedge: has('hedge'),
  };
}

function secretOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw usage(`--secret-file: ${path} cannot be read (${codeOf(error)})`);
  }
}

/** Returns the link addresses that the credentials know. */
export function seedsOf({ credentials }: ChosenNetwork): readonly string[] {
  return credentials === undefined || !isThere(credentials) ? [] : readCredentials(credentials).seeds;
}

/** Returns the name of this machine as a member, and the id of its network; undefined without credentials. */
export function membershipOf({ credentials }: ChosenNetwork): { name: string; networkId: string } | undefined {
  if (credentials === undefined || !isThere(credentials)) return undefined;
  const { member, authorityKeys } = readCredentials(credentials);
  const newest = authorityKeys[authorityKeys.length - 1];
  return { name: member.name, networkId: networkIdOf(newest) };
}

/** Whether a node with these credentials can issue certificates. */
export function isIssuer(credentials: string | undefined): boolean {
  return credentials !== undefined && isThere(credentials) && readCredentials(credentials).authorityFile !== undefined;
}

/** Returns the failure for a command that needs a network where there is none. */
export function noNetwork(): Failure {
  return new Failure(
    'there is no network yet: make one with starlane publish or starlane init, or join one with --join TOKEN',
    ExitCode.NOT_FOUND,
  );
}
