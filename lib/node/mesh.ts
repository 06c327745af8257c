// What a node gives to its parts: the control plane gets its real links, its seeds and the place of its epoch; links and circuits
// get keys and certificates.

import { formatSeedAddress, parseSeedAddress } from '../address.js';
import type { Circuits } from '../circuit/circuits.js';
import { circuitAbilities } from '../circuit/secure/security.js';
import { codeOf, starlaneError } from '../errors.js';
import { type Credentials, keyFileOf } from '../identity/credentials.js';
import { type Identity, type OwnIdentity, readEpoch, writeEpoch } from '../identity/identity.js';
import { MemberBook } from '../identity/member-book.js';
import { networkKeyOf } from '../identity/network-key.js';
import { RecordSignatures } from '../identity/signatures.js';
import type { Link } from '../link/link.js';
import type { LinkCredentials, LinkSet } from '../link/link-set.js';
import type { Resolution } from '../link/names/seed-records.js';
import { probe } from '../link/transport/address-probe.js';
import { LinkTls, type TlsMember } from '../link/transport/tls.js';
import { ControlPlane, type ControlPlaneOwner } from '../mesh/control-plane.js';
import type { BindAccessSetup } from '../mesh/directory/bind-access.js';
import type { LinkRequest, MeshEnvironment, MeshNetwork, ProbeResult } from '../mesh/ports.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import { STRONG_SECRET_BYTES, secretList } from '../options/security.js';
import { dateNow, nextTick } from '../util/runtime/real-timers.js';
import { sharedTimers } from '../util/timers.js';
import { encodeCertificateStatement } from '../wire/statements.js';
import { ENROLMENT_PORT } from './enrolment/asking.js';
import { Membership } from './enrolment/membership.js';
import { MAX_EXCHANGES } from './enrolment/reception.js';
import type { NodeEnvironment } from './environment.js';

interface NodeMeshSetup {
  readonly identity: Identity;
  readonly options: ResolvedNodeOptions;
  readonly envDigests: readonly string[];
  /** Link addresses joined at start, with their schemes. */
  readonly seeds: readonly string[];
  readonly links: LinkSet;
  readonly members: MemberBook | undefined;
  readonly owner: Omit<ControlPlaneOwner, 'onEpoch' | 'onSynced' | 'onLaterRun'> & { onWarning(error: Error): void };
}

/** Shared by all nodes in this process: they get the same records, with the same keys. */
const signatures = new RecordSignatures();

export function createControlPlane({
  identity,
  options,
  envDigests,
  seeds,
  links,
  members,
  owner,
}: NodeMeshSetup): ControlPlane {
  const { role, relay, keepAliveMs, keepAliveTimeoutMs, rejoinMinMs, rejoinMaxMs } = options;
  const file = options.credentials === undefined ? options.identity : keyFileOf(options.credentials);
  const { onWarning: warn, ...events } = owner;
  const environment: MeshEnvironment = {
    identity,
    timers: sharedTimers,
    random: Math.random,
    verify: (record) => signatures.verify(record),
    isVerified: (record) => signatures.isKnown(record),
    warn,
  };
  return new ControlPlane({
    environment,
    network: new LinkNetwork(links),
    options: {
      role,
      abilities: circuitAbilities(),
      relay: relay !== false,
      envDigests,
      seeds,
      backOff: { minMs: rejoinMinMs, maxMs: rejoinMaxMs },
      keepAliveMs,
      keepAliveTimeoutMs,
      firstEpoch: firstEpochOf(file, dateNow()),
      maxServicesPerNode: options.maxServicesPerPeer,
      maxNodes: options.maxNodes,
      maxInstances: options.maxInstances,
      recordQueueBytes: options.recordQueueBytes,
      access: bindAccess(options, environment, members),
      members,
    },
    owner: {
      ...events,
      onSynced: (link) => links.onSynced(link as Link),
      onLaterRun: (link, { addresses, links: [neighbour] }) => {
        const where =
          addresses[0] ?? (neighbour === undefined ? 'an unknown address' : `a link to ${neighbour.peerId}`);
        links.onLaterRun(link as Link, where);
      },
      onEpoch: (epoch) => {
        if (typeof file !== 'string') return;
        try {
          writeEpoch(file, epoch);
        } catch (error) {
          // The next run gets it from the network. Mounted secrets cannot be written to, which needs no warning.
          if (!READ_ONLY.has(codeOf(error) ?? '')) warn(error as Error);
        }
      },
    },
  });
}

function bindAccess(
  options: ResolvedNodeOptions,
  environment: MeshEnvironment,
  members: MemberBook | undefined,
): BindAccessSetup | undefined {
  const { allow, env, handshakeTimeoutMs: timeoutMs, maxPendingDecisions: maxPending } = options;
  if (allow === undefined) return undefined;
  return { allow, env, environment, timeoutMs, maxPending, members };
}

/** Codes of node:fs for a place at which this process may not write. */
const READ_ONLY: ReadonlySet<string> = new Set(['EROFS', 'EACCES', 'EPERM']);

const EPOCHS_SINCE_MS = Date.UTC(2020);
const MAX_CLOCK_EPOCH = 0xff00_0000;

/**
 * Returns the epoch of the first records of a run, which must be above that of the last run: one more than the epoch in the file, or the
 * seconds since 2020 if that is more. Without a file, other nodes may remember the version of records that they have dropped, and would
 * ignore a node that comes back with a lower one. Epochs only need to grow, so a clock that ran backwards does no harm: the node then
 * learns its epoch from the network, see own-records.ts.
 */
export function firstEpochOf(identity: ResolvedNodeOptions['identity'], nowMs: number): number {
  // No other node knows it.
  if (identity === undefined) return 1;
  const kept = typeof identity === 'string' ? readEpoch(identity) : 0;
  const seconds = Math.floor((nowMs - EPOCHS_SINCE_MS) / 1_000);
  return Math.max(kept + 1, Math.min(seconds, MAX_CLOCK_EPOCH));
}

/**
 * Returns the seeds of a node, with their schemes. An invalid one in the environment goes to `onError` in the next tick; unlike an invalid
 * option, it does not throw.
 */
export function seedsOf(
  { seeds }: ResolvedNodeOptions,
  { join }: NodeEnvironment,
  credentials: Credentials | undefined,
  scheme: 'tcp' | 'tls',
  onError: (error: Error) => void,
): string[] {
  const known = new Set(
    [...seeds, ...(credentials?.seeds ?? [])].map((seed) => formatSeedAddress(parseSeedAddress(seed, scheme))),
  );
  for (const address of join) {
    try {
      known.add(formatSeedAddress(parseSeedAddress(address, scheme)));
    } catch (error) {
      nextTick(() => onError(error as Error));
    }
  }
  return [...known];
}

class LinkNetwork implements MeshNetwork {
  constructor(private readonly set: LinkSet) {}

  dial(address: string, request: LinkRequest): Promise<Link> {
    return this.set.dial(this.set.parse(address), request);
  }

  async resolve(address: string): Promise<Resolution> {
    try {
      return await this.set.resolve(address);
    } catch (error) {
      this.set.lastFailure = error as Error;
      throw error;
    }
  }

  get lastFailure(): Error | undefined {
    return this.set.lastFailure;
  }

  probe(address: string, timeoutMs: number): Promise<ProbeResult> {
    return probe(address, timeoutMs, this.set.via);
  }

  get listenAddresses(): readonly string[] {
    return this.set.listenAddresses;
  }

  get ownAddresses(): readonly string[] {
    return this.set.ownAddresses;
  }

  links(): Iterable<Link> {
    return this.set.values();
  }
}

/**
 * Returns the keys of the network and the certificates.
 * @throws ERR_STARLANE_OPTION when certificate and key do not belong together
 */
export function createCredentials(
  secret: unknown,
  { tls, maxNodes }: ResolvedNodeOptions,
  identity: OwnIdentity,
  credentials: Credentials | undefined,
): LinkCredentials {
  const networkKeys = secretList(secret).map(networkKeyOf);
  const hasTls = tls !== undefined || networkKeys.length > 0 || credentials !== undefined;
  const members = credentials === undefined ? undefined : memberBookOf(credentials, networkKeys.length > 0, maxNodes);
  let member: TlsMember | undefined;
  if (credentials !== undefined && members !== undefined) {
    const { certificate, authorities } = credentials;
    member = { book: members, certificate, authorities };
  }
  return { networkKeys, tls: hasTls ? new LinkTls(tls, identity, member) : undefined, members };
}

function memberBookOf(credentials: Credentials, acceptsSecret: boolean, maxMembers: number): MemberBook {
  const { authorityKeys, certificate, statements } = credentials;
  const own = encodeCertificateStatement(certificate);
  return new MemberBook({
    authorities: authorityKeys,
    statements: [...statements, own],
    acceptsSecret,
    now: dateNow,
    maxMembers,
  });
}

/** Returns the warning for a weak secret. */
export function secretWarning(secret: unknown): Error | undefined {
  const bytes = Math.min(STRONG_SECRET_BYTES, ...secretList(secret).map(({ length }) => length));
  if (bytes >= STRONG_SECRET_BYTES) return undefined;
  return starlaneError('ERR_STARLANE_WEAK_SECRET', `${bytes} bytes instead of ${STRONG_SECRET_BYTES} or more`);
}

interface MembershipParts {
  readonly identity: Identity;
  readonly links: LinkSet;
  readonly mesh: ControlPlane;
  readonly circuits: Circuits;
  onWarning(error: Error): void;
}

/**
 * Returns the membership of a node with credentials.
 * @param authority the option of that name
 * @throws ERR_STARLANE_AUTHORITY
 */
export function createMembership(
  credentials: Credentials | undefined,
  authority: string | undefined,
  book: MemberBook | undefined,
  { identity, links, mesh, circuits, onWarning }: MembershipParts,
): Membership | undefined {
  if (credentials === undefined || book === undefined) return undefined;
  const membership = new Membership({
    identity,
    credentials,
    authorityFile: authority ?? credentials.authorityFile,
    book,
    timers: sharedTimers,
    now: dateNow,
    random: Math.random,
    dial: (address, timeoutMs) => circuits.dial(address, { timeoutMs }, undefined),
    isReachable: (nodeId) => mesh.routing.isReachable(nodeId),
    ownAddresses: () => links.listenAddresses,
    *neighbourAddresses() {
      for (const { peerAddresses } of links.values()) yield peerAddresses;
    },
    onAuthorities: (certificates) => links.addAuthorities(certificates).catch(onWarning),
    onWarning,
  });
  links.onEnrolment = (socket, remote) => membership.reception.onJoiner(socket, remote);
  circuits.serve(ENROLMENT_PORT, MAX_EXCHANGES, (socket) =>
    membership.reception.onMember(socket, socket.peer?.id ?? ''),
  );
  return membership;
}
