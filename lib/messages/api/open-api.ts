// An API as an OpenAPI 3.1 document, for what is made of such documents: pages, clients of other languages, rules of gateways.

import { type Api, checkApi, isDefinition } from './definition.js';
import {
  type ApiDescription,
  type CommandDescription,
  describeApi,
  type JsonSchema,
  type ShapeDescription,
} from './description.js';

/** Options of `openApi`. */
export interface OpenApiOptions {
  /** URLs where the commands are served by HTTP, such as `https://example.org/orders`. Default none: paths are relative to the document. */
  readonly servers?: readonly string[] | undefined;
}

/** An OpenAPI document as plain JSON. */
export type OpenApiDocument = Readonly<Record<string, unknown>>;

/** What an error looks like, and with which statuses. */
const STATUSES: Readonly<Record<string, string>> = {
  400: 'The input does not fit its schema, or is no JSON. No handler ran.',
  404: 'There is no such command. No handler ran.',
  500: 'The handler has failed.',
  502: 'The outcome is not known.',
  503: 'No instance has taken the call. No handler ran.',
  504: 'No answer in time. The outcome is not known.',
};

const ERROR_SCHEMA: JsonSchema = {
  type: 'object',
  required: ['code', 'outcome', 'message'],
  properties: {
    code: { type: 'string', description: 'Such as ERR_STARLANE_SCHEMA.' },
    outcome: { type: 'string', enum: ['handled', 'not-handled', 'unknown'] },
    message: { type: 'string' },
    issues: {
      type: 'array',
      description: 'What does not fit, of ERR_STARLANE_SCHEMA.',
      items: {
        type: 'object',
        required: ['message', 'path'],
        properties: {
          message: { type: 'string' },
          path: { type: 'array', items: { type: ['string', 'number'] } },
        },
      },
    },
  },
};

/**
 * Returns an OpenAPI 3.1 document of an API, from its definition or its self-description: each command is `POST /NAME`, with its input as JSON. A
 * stream is JSON Lines (`application/jsonl`), one item a line. `apiHttpHandler` serves requests of this form.
 */
export function openApi(api: Api | ApiDescription, options: OpenApiOptions = {}): OpenApiDocument {
  const { name, short, long, version, commands } = asDescription(api);
  const paths = Object.fromEntries(
    Object.entries(commands).map(([command, of]) => [`/${command}`, { post: operation(command, of) }]),
  );
  const responses = Object.fromEntries(
    Object.entries(STATUSES).map(([status, description]) => [`E${status}`, errorResponse(description)]),
  );
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: name,
      version,
      ...(short === '' ? {} : { summary: short }),
      ...(long === '' ? {} : { description: long }),
    },
    ...(options.servers === undefined ? {} : { servers: options.servers.map((url) => ({ url })) }),
    paths,
    components: { schemas: { Error: ERROR_SCHEMA }, responses },
  };
}

/** Returns the description of a definition, or the description itself. */
export function asDescription(api: Api | ApiDescription): ApiDescription {
  checkApi(api, 'an API as a document, tools or HTTP');
  return isDefinition(api) ? describeApi(api) : api;
}

function operation(name: string, { number, description, idempotent, input, output }: CommandDescription) {
  return {
    operationId: name,
    ...(description === '' ? {} : { description }),
    'x-starlane-number': number,
    'x-starlane-idempotent': idempotent,
    requestBody: { required: input.schema !== undefined, content: contentOf(input) },
    responses: {
      200: { description: 'The output.', content: contentOf(output) },
      ...Object.fromEntries(
        Object.keys(STATUSES).map((status) => [status, { $ref: `#/components/responses/E${status}` }]),
      ),
    },
  };
}

function contentOf({ stream, schema = {} }: ShapeDescription) {
  const { $schema: _dialect, ...rest } = schema as Record<string, unknown>;
  return { [stream ? 'application/jsonl' : 'application/json']: { schema: rest } };
}

function errorResponse(description: string) {
  return { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } };
}
