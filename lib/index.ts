// What users of the package see.

// The types below use those of Node, which TypeScript 6 and later do not load by default.
/// <reference types="node" preserve="true" />

export type { LinkAddress, NodeId, ServiceAddress } from './address.js';
export type { Prepare } from './circuit/accept/preparation.js';
export { Destination, failover, type Share, split } from './circuit/dial/destination.js';
export type { DrainOptions } from './circuit/drain.js';
export type { BindOptions, DialOptions } from './circuit/options.js';
export {
  type CodedError,
  ERRORS,
  type ErrorCode,
  type NetError,
  type NetErrorCode,
  StarlaneError,
  type StarlaneErrorCode,
} from './errors.js';
export type { MemberRights } from './identity/member-certificate.js';
export type { JoinOptions } from './link/joiner.js';
export type { Link, LinkDirection, LinkInfo } from './link/link.js';
export type { LinkPurpose } from './link/link-purpose.js';
export type { LinkListener } from './link/transport/listen.js';
export { hash, nearest, priority, random, type Selector, type SelectorOption } from './mesh/directory/selector.js';
export type { ServiceInfo } from './mesh/directory/service.js';
export type { ServiceMap, ServiceMapEvents } from './mesh/directory/service-map.js';
export type { WaitOptions } from './mesh/directory/service-waits.js';
export type { RouteInfo, RouteMap, RouteMapEvents } from './mesh/routing/route-map.js';
export type { InviteOptions } from './node/enrolment/invite-options.js';
export type { MemberInfo } from './node/enrolment/member-info.js';
export type { ListedMember, ReplaceOptions } from './node/enrolment/membership.js';
export type { NodeEvents } from './node/node.js';
export { createNode, Node } from './node/node.js';
export type { NodeAnswer, ServiceAnswer } from './node/queries/answers.js';
export { findNodes, findServices, type NodeQuery, type ServiceQuery } from './node/queries/lists/find.js';
export type { QueryOptions } from './node/queries/request.js';
export type { NodeStats } from './node/stats.js';
export type {
  Allow,
  AllowDirection,
  AllowFunction,
  AllowPeer,
  AllowRequest,
  AllowRule,
  RelayRule,
} from './options/allow.js';
export type { NodeLimits, NodeOptions, NodeRole, TlsFiles } from './options/options.js';
export type {
  CircuitBreakerOptions,
  HedgeOptions,
  OutlierEjectionOptions,
  ResilienceOptions,
  RetryBudgetOptions,
} from './options/resilience.js';
export type { PeerInfo } from './socket/endpoints.js';
export { type DropInfo, Server, type ServerAddress, type ServerEvents, type ServerOptions } from './socket/server.js';
export type { BindHandler } from './socket/server-handler.js';
export { Socket, type SocketOptions } from './socket/socket.js';
export type { AcceptEvent, DialEvent, DrainEvent, LinkEvent, RelayEvent } from './util/diagnostics.js';
