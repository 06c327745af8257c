// What users of APIs see, by way of `starlane/messages`.

export type { ApiClientOptions, CallOptions } from './caller.js';
export {
  type ApiClient,
  apiClient,
  type ClientMethods,
  type Method,
  type Output,
  type UntypedClient,
  type UntypedOutput,
} from './client.js';
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
} from './definition.js';
export type { ApiDescription, CommandDescription, JsonSchema, ShapeDescription } from './description.js';
export type { HandlerCall } from './handler-call.js';
export { type ApiHttpOptions, apiHttpHandler } from './http-handler.js';
export { type McpOptions, type McpTool, mcpServer, mcpTools, type ToolClient, type ToolResult, type ToolServer } from './mcp.js';
export { type OpenApiDocument, type OpenApiOptions, openApi } from './open-api.js';
export { type ApiServer, type Handlers, type ServeOptions, serveApi } from './serve.js';
export type { StandardSchema } from './standard-schema.js';
export { SchemaError, type SchemaIssue } from './validation.js';
