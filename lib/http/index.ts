// What users of `starlane/http` see.

/// <reference types="node" preserve="true" />

export { type AgentOptions, agent } from './agent.js';
export {
  type ConnectCallback,
  type Connector,
  type ConnectorOptions,
  type ConnectRequest,
  connector,
} from './connector.js';
export type { GatewayStats } from './gateway/counters.js';
export type { TrustProxy } from './gateway/forwarded.js';
export type { Gateway, GatewayAccess, GatewayAddress, GatewayCloseOptions, GatewayEvents } from './gateway/gateway.js';
export { gateway } from './gateway/open.js';
export type {
  GatewayAcme,
  GatewayCertificate,
  GatewayLimits,
  GatewayListener,
  GatewayOptions,
  GatewayRule,
  GatewayServices,
  GatewayTarget,
  GatewayTls,
} from './gateway/options.js';
export { type Metrics, type MetricsOptions, type MetricsRegistry, metrics } from './metrics/metrics.js';
export { type Monitor, type MonitorOptions, monitor } from './monitor/monitor.js';
export { type HttpTarget, type ServiceOptions, serviceAddress } from './service-dialer.js';
