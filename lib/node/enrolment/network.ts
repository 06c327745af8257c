// Begins a network: its authority, and its first member.

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { optionError } from '../../errors.js';
import { Authority, DEFAULT_LIFETIME_MS, MAX_LIFETIME_MS } from '../../identity/authority.js';
import { writeCredentials } from '../../identity/credentials.js';
import { ALL_RIGHTS, nameFault, rawKeyOf, readCertificate } from '../../identity/member-certificate.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { MIN_LIFETIME_MS } from './invite-options.js';
import { type MemberInfo, memberInfo } from './member-info.js';

export interface NetworkOptions {
  /** The name of the first member, 1 to 64 bytes. */
  name: string;
  /** How long its certificate is valid, in ms, 10 s to 397 days. It is renewed in time. Default 30 days. */
  lifetimeMs?: number | undefined;
}

/** What `createNetwork` returns. */
export interface CreatedNetwork {
  /** The id of the network, 22 characters, which follows from the key of its authority. */
  readonly networkId: string;
  /** The first member. */
  readonly member: MemberInfo;
}

/**
 * Makes a network: a folder of credentials for its first member, which has all rights, with the key of the authority in `authority.key`.
 * @throws ERR_STARLANE_CREDENTIALS when the folder is there already or cannot be written, ERR_STARLANE_OPTION
 */
export function createNetwork(folder: string, options: NetworkOptions): CreatedNetwork {
  if (typeof folder !== 'string' || folder === '') throw optionError('folder', 'must be a path');
  if (typeof options !== 'object' || options === null)
    throw optionError('createNetwork', 'must be an object of options');
  for (const option of Object.keys(options)) {
    if (option !== 'name' && option !== 'lifetimeMs') throw optionError(option, 'unknown option of createNetwork');
  }
  const { name, lifetimeMs = DEFAULT_LIFETIME_MS } = options;
  const fault = nameFault(name);
  if (fault !== undefined) throw optionError('name', fault);
  if (!(Number.isInteger(lifetimeMs) && lifetimeMs >= MIN_LIFETIME_MS && lifetimeMs <= MAX_LIFETIME_MS)) {
    throw optionError('lifetimeMs', `must be an integer from ${MIN_LIFETIME_MS} to ${MAX_LIFETIME_MS}`);
  }
  const authorityPem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  const authority = new Authority(createPrivateKey(authorityPem));
  const { privateKey } = generateKeyPairSync('ed25519');
  const publicKey = rawKeyOf(createPublicKey(privateKey)) as Buffer;
  const certificate = authority.issue({ publicKey, name, rights: ALL_RIGHTS, lifetimeMs }, dateNow());
  const content = { key: privateKey, certificate, authorities: [authority.certificate], seeds: [], statements: [] };
  writeCredentials(folder, content, { 'authority.key': authorityPem });
  return { networkId: authority.networkId, member: memberInfo(readCertificate(certificate, [authority.publicKey])) };
}
