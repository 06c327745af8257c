// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export type { ApiClientOptions, CallOptions } from './api/caller.js';
export {
  type ApiClient,
  apiClient,
  type ClientMethods,
  type UntypedClient,
  type UntypedOutput,
} from './api/client.js';
export {
  type Api,
  type ApiTexts,
  type Command,
  type Commands,
  type CommandTexts,
  defineApi,
  type Given,
  type Got,
  type Shape,
  type Streamed,
  stream,
} from './api/definition.js';
export type { ApiDescription, CommandDescription, JsonSchema, ShapeDescription } from './api/description.js';
export type { HandlerCall } from './api/handler-call.js';
export { type ApiHttpOptions, apiHttpHandler } from './api/http-handler.js';
export {
  type McpOptions,
  type McpTool,
  mcpServer,
  mcpTools,
  type ToolClient,
  type ToolResult,
  type ToolServer,
} from './api/mcp.js';
export { type OpenApiDocument, type OpenApiOptions, openApi } from './api/open-api.js';
export { type ApiServer, type Handlers, type ServeOptions, serveApi } from './api/serve.js';
export type { StandardSchema } from './api/standard-schema.js';
export { SchemaError, type SchemaIssue } from './api/validation.js';
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
export { type ExportServiceOptions, exportService } from './export/export-service.js';
export type { ServiceExport, ServiceExportEvents, ServiceExportStats } from './export/service-export.js';
export {
  type ExportTopicOptions,
  exportTopic,
  type TopicExport,
  type TopicExportEvents,
  type TopicExportStats,
} from './export/topic-export.js';
export type { Inbox } from './inbox.js';
export type { Call, CommandHandler, Message, MessageHandler } from './message.js';
export { Messages, type MessagesEvents, messages } from './messages.js';
export type { CommandOptions, InboxOptions, MessagesOptions, SendOptions } from './options.js';
export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
export type { MessagesStats, Receipt } from './post.js';
export type { TopicData, TopicHeaders } from './topics/codec/message-writer.js';
export type { TopicMessage } from './topics/message.js';
export type {
  FlushOptions,
  PublishOptions,
  RequestManyOptions,
  RequestOptions,
  SubscribeOptions,
  TopicsOptions,
} from './topics/options.js';
export type { FullPolicy } from './topics/outlet.js';
export type { Subscription, SubscriptionEvents, TopicHandler } from './topics/subscriber/subscription.js';
export { type SlowSubscriber, type Topics, type TopicsEvents, topics } from './topics/topics.js';
