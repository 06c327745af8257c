// What sockets and servers give as addresses: `@nodeId`, or an IPv4 address that stands for the node in this process, for programs
// that take nothing else for one. Such an address leads back: whoever connects to it connects to that node.
//
// The addresses are from 198.18.0.0/15, which RFC 2544 keeps for tests and no network routes: 198.18.0.0/16 stands for services
// that a program under the preload has looked up, 198.19.0.0/16 for nodes.

import type { NodeId } from '../address.js';
import type { SocketAddressKind } from '../options/options.js';

/** How sockets of a node name nodes. One object for all sockets of a kind. */
export interface SocketAddresses {
  readonly family: string;
  of(nodeId: NodeId): string;
}

/** The two nodes between which sockets run. One object for all sockets between them. */
export interface RemoteEndpoint {
  /** The id of this node. */
  readonly localId: string;
  /** The id of the node at the other end. */
  readonly peerId: string;
  /** Ids of the nodes in between, nearest first; empty on a direct link. */
  readonly via: readonly string[];
  /** The node at the other end has proved that the id is its own. */
  readonly isVerified: boolean;
  /** What goes between the two is encrypted from end to end. Default false. */
  readonly isSecure?: boolean;
  /** How its sockets name the two nodes. */
  readonly addresses: SocketAddresses;
  /** The name in its certificate, where there is one that was signed for it. */
  readonly name: string | undefined;
}

/** What `socket.peer` tells. */
export interface PeerInfo {
  /** The node at the other end. */
  id: string;
  /** The service that was dialled; empty when it was a bare port. */
  service: string;
  /** The nodes in between, nearest first. */
  via: string[];
  /** The common name of its certificate; not there unless the link to it is one of an own PKI. */
  name?: string;
}

export function peerInfo(remote: RemoteEndpoint, service: string): PeerInfo {
  const { peerId, via, name } = remote;
  const peer: PeerInfo = { id: peerId, service, via: [...via] };
  if (name !== undefined) peer.name = name;
  return peer;
}

/** Hosts of each kind kept, at most. Of nodes, the one not asked for in the longest time makes room. */
const MAX_STAND_INS = 2 ** 16 - 2;

const SERVICES = (198 << 24) | (18 << 16);
const NODES = (198 << 24) | (19 << 16);

/** By address: the name of a service, or `@nodeId`. */
const hosts = new Map<string, string>();
const services = new Map<string, string>();
const nodes = new Map<NodeId, string>();

/** The address that stands for a service; undefined when there are no more of them. */
export function standInForService(service: string): string | undefined {
  const known = services.get(service);
  if (known !== undefined) return known;
  if (services.size >= MAX_STAND_INS) return undefined;
  const address = numbered(SERVICES, services.size);
  services.set(service, address);
  hosts.set(address, service);
  return address;
}

/** The address that stands for a node. */
export function standInForNode(nodeId: NodeId): string {
  let address = nodes.get(nodeId);
  if (address !== undefined) {
    // The last one in the order of use again.
    nodes.delete(nodeId);
  } else {
    address = nodes.size < MAX_STAND_INS ? numbered(NODES, nodes.size) : takeOldest();
    hosts.set(address, `@${nodeId}`);
  }
  nodes.set(nodeId, address);
  return address;
}

/** What an address stands for: the name of a service, or `@nodeId`; undefined for every other address. */
export function hostOfStandIn(address: string): string | undefined {
  return hosts.size === 0 ? undefined : hosts.get(address.replace(/^::ffff:/i, ''));
}

const ID_ADDRESSES: SocketAddresses = Object.freeze({ family: 'Starlane', of: (nodeId: NodeId) => `@${nodeId}` });
const IPV4_ADDRESSES: SocketAddresses = Object.freeze({ family: 'IPv4', of: standInForNode });

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
