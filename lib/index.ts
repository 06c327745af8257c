// What users of the package see.

// TypeScript 6 and later load no types of Node unless someone asks for them, and these are made of them.
/// <reference types="node" preserve="true" />

export type { LinkAddress, NodeId, ServiceAddress } from './address.js';
export type { BindOptions, DialOptions } from './circuit/circuit-options.js';
export type { BindHandler } from './circuit/server-handler.js';
export {
  type CodedError,
  ERRORS,
  type ErrorCode,
  type NetError,
  type NetErrorCode,
  StarlaneError,
  type StarlaneErrorCode,
} from './errors.js';
export type { JoinOptions } from './link/joiner.js';
export type { Link } from './link/link.js';
export type { LinkListener } from './link/link-listener.js';
export type { LinkDirection, LinkInfo } from './link/link-owner.js';
export type { LinkPurpose } from './link/link-purpose.js';
export type { RouteInfo } from './mesh/route.js';
export type { RouteMap, RouteMapEvents } from './mesh/route-map.js';
export { hash, nearest, random, type Selector, type SelectorOption } from './mesh/selector.js';
export type { ServiceInfo } from './mesh/service.js';
export type { ServiceMap, ServiceMapEvents } from './mesh/service-map.js';
export type { WaitOptions } from './mesh/service-waits.js';
export { createNode, Node } from './node.js';
export type { NodeEvents } from './node-events.js';
export type { NodeStats } from './node-stats.js';
export type { NodeLimits, NodeOptions, NodeRole, TlsFiles } from './options.js';
export type {
  Allow,
  AllowDirection,
  AllowFunction,
  AllowPeer,
  AllowRequest,
  AllowRule,
} from './options-allow.js';
export type { PeerInfo } from './socket/far-end.js';
export { type DropInfo, Server, type ServerAddress, type ServerEvents, type ServerOptions } from './socket/server.js';
export { Socket, type SocketOptions } from './socket/socket.js';
