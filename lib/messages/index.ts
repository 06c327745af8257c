// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export {
  Broadcast,
  type BroadcastEvents,
  type BroadcastGap,
  type BroadcastHandler,
  type BroadcastMessage,
  type BroadcastSlow,
  type BroadcastStats,
  broadcast,
} from './broadcast/broadcast.js';
export type { BroadcastData } from './broadcast/content.js';
export type { BroadcastOptions } from './broadcast/options.js';
export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
