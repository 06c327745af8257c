// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
export type { TopicMessage } from './topics/message.js';
export type {
  FlushOptions,
  PublishOptions,
  RequestManyOptions,
  RequestOptions,
  SubscribeOptions,
  TopicsOptions,
} from './topics/options.js';
export type { Subscription, SubscriptionEvents, TopicHandler } from './topics/subscriber/subscription.js';
export { type SlowSubscriber, type Topics, type TopicsEvents, topics } from './topics/topics.js';
