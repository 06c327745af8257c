// Header fields as flat lists, [name, value, name, value, ...], as Node reads and writes them: order, case and repetitions stay.
//
// What a name means to the gateway is looked up once and kept, as the same few names come with every request.

import { starlaneError } from '../../errors.js';

/** Names and values in turn. */
export type HeaderList = string[];

/** What the gateway does with a field. */
export const FieldKind = {
  /** Passes through. */
  OTHER: 0,
  /** Concerns one connection only (RFC 9110, section 7.6.1). */
  HOP: 1,
  CONNECTION: 2,
  HOST: 3,
  CONTENT_LENGTH: 4,
  TRANSFER_ENCODING: 5,
  /** Says who the client is: only trusted proxies may set it. */
  FORWARDED: 6,
  /** Says who the caller is: only the gateway sets it; or a spelling that a backend may take for a field that it must trust. */
  FORBIDDEN: 7,
  EXPECT: 8,
  TE: 9,
  UPGRADE: 10,
  COOKIE: 11,
  REQUEST_ID: 12,
  /** Not a token (RFC 9110, section 5.1). */
  INVALID: 13,
  KEEP_ALIVE: 14,
} as const;

export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** What a value must not have: it would begin a new line, or end the text where a program in C reads it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;

const KINDS: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  ['connection', FieldKind.CONNECTION],
  ['proxy-connection', FieldKind.HOP],
  ['proxy-authorization', FieldKind.HOP],
  // Programs in the style of CGI would take it for the variable HTTP_PROXY (CVE-2016-5385).
  ['proxy', FieldKind.HOP],
  ['http2-settings', FieldKind.HOP],
  ['keep-alive', FieldKind.KEEP_ALIVE],
  ['host', FieldKind.HOST],
  ['content-length', FieldKind.CONTENT_LENGTH],
  ['transfer-encoding', FieldKind.TRANSFER_ENCODING],
  ['expect', FieldKind.EXPECT],
  ['te', FieldKind.TE],
  ['upgrade', FieldKind.UPGRADE],
  ['cookie', FieldKind.COOKIE],
  ['x-request-id', FieldKind.REQUEST_ID],
]);

/** Fields of which only the true spelling may come through: servers that fold names take other characters for a hyphen. */
const GUARDED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'x-request-id',
]);

/** As many names as a busy site has; strangers can invent any number. */
const MAX_KNOWN = 2_000;

const known = new Map<string, FieldKind>();

/** Returns what the gateway does with the field of this name. */
export function kindOf(name: string): FieldKind {
  let kind = known.get(name);
  if (kind === undefined) {
    kind = classify(name);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(name, kind);
  }
  return kind;
}

function classify(name: string): FieldKind {
  if (!TOKEN.test(name)) return FieldKind.INVALID;
  const lower = name.toLowerCase();
  const folded = lower.replace(/[^a-z0-9]/g, '-');
  if (folded.startsWith('starlane-peer-')) return FieldKind.FORBIDDEN;
  const isForwarded =
    folded.startsWith('x-forwarded-') || folded === 'x-forwarded' || folded === 'forwarded' || folded === 'x-real-ip';
  if (folded !== lower && (isForwarded || GUARDED.has(folded))) return FieldKind.FORBIDDEN;
  if (isForwarded) return FieldKind.FORWARDED;
  return KINDS.get(lower) ?? FieldKind.OTHER;
}

/** Returns whether a text can be the value of a field without ending its line. */
export function isValue(value: string): boolean {
  return !CONTROL.test(value);
}

/** Returns whether a text is a token, as methods and names of fields are. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Returns the lower-case names in the values of Connection, which concern this connection only; undefined for none but usual ones. */
export function namedByConnection(headers: HeaderList): Set<string> | undefined {
  let names: Set<string> | undefined;
  for (let index = 0; index < headers.length; index += 2) {
    if (kindOf(headers[index]) !== FieldKind.CONNECTION) continue;
    const value = headers[index + 1];
    if (value === 'keep-alive' || value === 'close') continue;
    for (const part of value.split(',')) {
      const name = part.trim().toLowerCase();
      if (name !== '' && name !== 'keep-alive' && name !== 'close') {
        names ??= new Set();
        names.add(name);
      }
    }
  }
  return names;
}

/** Returns where a field begins, whose name is spelled in lower case: the first one of several; -1 where there is none. */
export function indexOfField(headers: HeaderList, lower: string): number {
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index];
    if (name.length === lower.length && (name === lower || name.toLowerCase() === lower)) return index;
  }
  return -1;
}

/** Returns the value of a field, which is spelled in lower case; the first one of several. */
export function fieldOf(headers: HeaderList, lower: string): string | undefined {
  const index = indexOfField(headers, lower);
  return index < 0 ? undefined : headers[index + 1];
}

/** Returns the value of a cookie of the request. */
export function cookieOf(headers: HeaderList, name: string): string | undefined {
  const prefix = `${name}=`;
  for (let index = 0; index < headers.length; index += 2) {
    if (kindOf(headers[index]) !== FieldKind.COOKIE) continue;
    for (const part of headers[index + 1].split(';')) {
      const cookie = part.trim();
      if (cookie.startsWith(prefix)) return cookie.slice(prefix.length);
    }
  }
  return undefined;
}

/** Returns the text of fields, each with its line end. @throws ERR_STARLANE_MESSAGE for what is no field */
export function fieldLines(headers: HeaderList): string {
  let text = '';
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index];
    const value = headers[index + 1];
    if (kindOf(name) === FieldKind.INVALID || !isValue(value)) throw starlaneError('ERR_STARLANE_MESSAGE', 'header');
    text += `${name}: ${value}\r\n`;
  }
  return text;
}

/**
 * Returns the fields of an answer that go on to the client: without those of the circuit. `hasLength` false also drops Content-Length.
 * Fields of the names that say who the caller is do not come from backends, and the id of the request is that of the gateway.
 */
export function answerFields(headers: HeaderList, hasLength: boolean): HeaderList {
  const named = namedByConnection(headers);
  const passed: HeaderList = [];
  let mayHaveLength = hasLength;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index];
    switch (kindOf(name)) {
      case FieldKind.HOP:
      case FieldKind.CONNECTION:
      case FieldKind.REQUEST_ID:
      case FieldKind.KEEP_ALIVE:
      case FieldKind.TRANSFER_ENCODING:
      case FieldKind.UPGRADE:
      case FieldKind.INVALID:
      case FieldKind.FORBIDDEN:
      case FieldKind.TE:
        continue;
      case FieldKind.CONTENT_LENGTH:
        // One of two equal ones is enough.
        if (!mayHaveLength) continue;
        mayHaveLength = false;
        break;
      default:
        if (named?.has(name.toLowerCase())) continue;
    }
    passed.push(name, headers[index + 1]);
  }
  return passed;
}

/** Trailers that would change how the message is read or who has sent it (RFC 9110, section 6.5.1). */
const NO_TRAILERS: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'max-forwards',
  'set-cookie',
  'trailer',
  'www-authenticate',
]);

/** Returns the trailers that may go on: only fields that pass through as headers, and none that must come before the body. */
export function passedTrailers(trailers: HeaderList): HeaderList {
  const passed: HeaderList = [];
  for (let index = 0; index < trailers.length; index += 2) {
    const name = trailers[index];
    if (kindOf(name) !== FieldKind.OTHER || NO_TRAILERS.has(name.toLowerCase())) continue;
    if (isValue(trailers[index + 1])) passed.push(name, trailers[index + 1]);
  }
  return passed;
}

/** Fields that node:http2 does not take as a list, which it says by throwing. */
const SINGLE: ReadonlySet<string> = new Set(
  (
    'access-control-allow-credentials access-control-max-age access-control-request-method age authorization content-encoding ' +
    'content-language content-length content-location content-md5 content-range content-type date dnt etag expires from host if-match ' +
    'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards proxy-authorization range referer ' +
    'retry-after tk upgrade-insecure-requests user-agent x-content-type-options'
  ).split(' '),
);

/**
 * Returns the fields as the object that node:http2 takes: names in lower case, repeated ones as a list, or in one line, which means the same
 * (RFC 9110, section 5.3).
 */
export function headerObject(headers: HeaderList): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = Object.create(null);
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index].toLowerCase();
    const before = object[name];
    if (before === undefined) object[name] = headers[index + 1];
    else if (SINGLE.has(name)) object[name] = `${before as string}, ${headers[index + 1]}`;
    else if (typeof before === 'string') object[name] = [before, headers[index + 1]];
    else before.push(headers[index + 1]);
  }
  return object;
}
