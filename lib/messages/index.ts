// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
