// The two nodes between which a socket runs, and the addresses by which sockets and servers name nodes: `@nodeId`, or, for programs that
// accept only IP addresses, an IPv4 address that represents the node in this process. A connection to such an address goes to that node.
//
// The addresses are from 198.18.0.0/15, which RFC 2544 reserves for tests and no network routes: 198.18.0.0/16 represents services
// that a program under the preload has looked up, 198.19.0.0/16 represents nodes.

import type { NodeId } from '../address.js';
import type { SocketAddressKind } from '../options/options.js';

/** How the sockets of a node name nodes. One object for all sockets of a kind. */
export interface SocketAddresses {
  readonly family: string;
  /** Returns the address of a node. */
  of(nodeId: NodeId): string;
}

/** The two nodes between which sockets run. One object for all sockets between them. */
export interface RemoteEndpoint {
  /** The id of this node. */
  readonly localId: string;
  /** The id of the node at the other end. */
  readonly peerId: string;
  /** The ids of the relays in between, nearest first; empty on a direct link. */
  readonly via: readonly string[];
  /** The node at the other end has proved that the id is its own. */
  readonly isVerified: boolean;
  /**
   * The node at the other end has signed that it opened the circuit. Without {@link isVerified}, relays may have altered what
   * followed. Default false.
   */
  readonly isSigned?: boolean;
  /** What the two send each other is encrypted from end to end. Default false. */
  readonly isSecure?: boolean;
  /** Its keys follow from ML-KEM-768 as well as from X25519. Default false. */
  readonly isQuantumSafe?: boolean;
  /** How its sockets name the two nodes. */
  readonly addresses: SocketAddresses;
  /** The common name of its certificate, if an authority of a PKI has signed one for it. */
  readonly name: string | undefined;
  /**
   * Returns what the certificate of that member says at the moment, in a network with members; see {@link certifiedOf}. A function, as
   * members renew their certificates while circuits last.
   */
  readonly certified?: (() => Certified) | undefined;
  /** The digests of the envs that it says it is in. Only for circuits to a port of the library. */
  readonly envDigests?: readonly string[] | undefined;
}

/** What an authority has certified of a node. */
export interface Certified {
  readonly name: string | undefined;
  readonly tags: readonly string[];
}

const NO_TAGS: readonly string[] = Object.freeze([]);
export const NOT_CERTIFIED: Certified = Object.freeze({ name: undefined, tags: NO_TAGS });

/** Returns what is certified of the node at the other end; nothing unless it has proved that the id is its own. */
export function certifiedOf({ isVerified, certified, name }: RemoteEndpoint): Certified {
  if (certified !== undefined) return isVerified ? certified() : NOT_CERTIFIED;
  return name === undefined ? NOT_CERTIFIED : { name, tags: NO_TAGS };
}

/** The value of `socket.peer`. */
export interface PeerInfo {
  /** The id of the node at the other end. */
  id: string;
  /** The service that was dialled; empty for a bare port. */
  service: string;
  /** The ids of the relays in between, nearest first. */
  via: string[];
  /**
   * The name in its certificate. Missing unless it is verified and has one: as a member of a network with an authority, or on a link that
   * uses certificates of your own PKI (option `tls`).
   */
  name?: string;
  /**
   * True when the circuit is encrypted from end to end with keys that follow from ML-KEM-768 as well as from X25519, as both ends run on
   * Node 24.7 or later. Else missing.
   */
  quantumSafe?: boolean;
  /** The tags in its certificate as a member. Missing unless it is verified and has some. */
  tags?: string[];
}

/** Returns a copy that the user may change. */
export function peerInfo(remote: RemoteEndpoint, service: string): PeerInfo {
  const { peerId, via, isQuantumSafe } = remote;
  const { name, tags } = certifiedOf(remote);
  const peer: PeerInfo = { id: peerId, service, via: [...via] };
  if (name !== undefined) peer.name = name;
  if (tags.length > 0) peer.tags = [...tags];
  if (isQuantumSafe === true) peer.quantumSafe = true;
  return peer;
}

/** The number of addresses of each kind at most. The least recently used node makes room for another. */
const MAX_STAND_INS = 2 ** 16 - 2;

const SERVICES = (198 << 24) | (18 << 16);
const NODES = (198 << 24) | (19 << 16);

/** By address: the name of a service, or `@nodeId`. */
const hosts = new Map<string, string>();
const services = new Map<string, string>();
const nodes = new Map<NodeId, string>();

/** Returns the address that represents a service; undefined when none is free. */
export function standInForService(service: string): string | undefined {
  const known = services.get(service);
  if (known !== undefined) return known;
  if (services.size >= MAX_STAND_INS) return undefined;
  const address = numbered(SERVICES, services.size);
  services.set(service, address);
  hosts.set(address, service);
  return address;
}

/** Returns the address that represents a node. */
export function standInForNode(nodeId: NodeId): string {
  let address = nodes.get(nodeId);
  if (address !== undefined) {
    // It becomes the most recently used one.
    nodes.delete(nodeId);
  } else {
    address = nodes.size < MAX_STAND_INS ? numbered(NODES, nodes.size) : takeOldest();
    hosts.set(address, `@${nodeId}`);
  }
  nodes.set(nodeId, address);
  return address;
}

/** Returns what an address represents: the name of a service, or `@nodeId`; undefined for every other address. */
export function hostOfStandIn(address: string): string | undefined {
  return hosts.size === 0 ? undefined : hosts.get(address.replace(/^::ffff:/i, ''));
}

const ID_ADDRESSES: SocketAddresses = Object.freeze({ family: 'Starlane', of: (nodeId: NodeId) => `@${nodeId}` });
const IPV4_ADDRESSES: SocketAddresses = Object.freeze({ family: 'IPv4', of: standInForNode });

/** Returns the addresses for a value of the option `socketAddresses`. */
export function socketAddresses(kind: SocketAddressKind): SocketAddresses {
  return kind === 'ipv4' ? IPV4_ADDRESSES : ID_ADDRESSES;
}

function takeOldest(): string {
  const [[nodeId, address]] = nodes as unknown as [[NodeId, string]];
  nodes.delete(nodeId);
  return address;
}

function numbered(network: number, index: number): string {
  const number = network + 1 + index;
  return [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255].join('.');
}
