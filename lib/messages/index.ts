// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export type { Inbox } from './inbox.js';
export type { Call, CommandHandler, Message, MessageHandler } from './message.js';
export { Messages, type MessagesEvents, messages } from './messages.js';
export type { CommandOptions, InboxOptions, MessagesOptions, SendOptions } from './options.js';
export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
export type { MessagesStats, Receipt } from './post.js';
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
