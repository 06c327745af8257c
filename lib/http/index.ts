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
export { type Metrics, type MetricsOptions, type MetricsRegistry, metrics } from './metrics/metrics.js';
export { type HttpTarget, type ServiceOptions, serviceAddress } from './service-dialer.js';
