// The virtual ports of what this folder offers. They are bound like those of any server, by name and port, so that names, envs, weights and
// the rules of `allow` apply; they lie above the ports that nodes with credentials reserve.

/** Messages, commands and APIs. */
export const MESSAGE_PORT = 16;
/** Subscriptions of topics. */
export const TOPIC_PORT = 17;
/** Trees of broadcasts. */
export const BROADCAST_PORT = 18;
