// What a request is for: its host and its path, checked. A request that two programs could read differently is refused.

import { FieldKind, type HeaderList, isValue, kindOf } from '../headers.js';
import { BadRequest } from './inbound.js';

export interface Target {
  readonly authority: string;
  readonly path: string;
}

/** A host with an optional port (RFC 3986): a name, an IPv4 address, or an IPv6 address in brackets. */
const AUTHORITY = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9._])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/** What a request target may consist of: no space, no control character, nothing beyond ASCII, no fragment. */
const PATH = /^\/[\x21\x22\x24-\x7e]*$/;

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

/** @throws BadRequest */
export function checkAuthority(authority: string): string {
  if (!AUTHORITY.test(authority)) throw new BadRequest(400, 'the host is not valid');
  return authority;
}

/** @throws BadRequest */
export function checkPath(path: string, method: string, maxBytes: number): string {
  if (path.length > maxBytes) throw new BadRequest(414, 'the path is too long');
  if (PATH.test(path) || (path === '*' && method === 'OPTIONS')) return path;
  throw new BadRequest(400, 'the path is not valid');
}

/**
 * Returns the target of a request of HTTP/1 (RFC 9112, section 3.2). A host in the request line must be that of the header.
 * @throws BadRequest
 */
export function targetOf(method: string, url: string, headers: HeaderList, maxBytes: number): Target {
  if (url.length > maxBytes) throw new BadRequest(414, 'the path is too long');
  let host: string | undefined;
  for (let index = 0; index < headers.length; index += 2) {
    if (kindOf(headers[index]) !== FieldKind.HOST) continue;
    if (host !== undefined) throw new BadRequest(400, 'more than one Host');
    host = headers[index + 1];
  }
  if (host !== undefined && host !== '') checkAuthority(host);
  if (url.startsWith('/') || url === '*') return { authority: host ?? '', path: checkPath(url, method, maxBytes) };
  const match = ABSOLUTE.exec(url);
  if (match === null) throw new BadRequest(400, 'the path is not valid');
  const [, authority, rest] = match;
  checkAuthority(authority);
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase())
    throw new BadRequest(400, 'the host of the request line is not that of the header');
  const path = rest.startsWith('/') ? rest : `/${rest}`;
  return { authority, path: checkPath(path, method, maxBytes) };
}

/** Checks the length and transfer coding of a request of HTTP/1 (RFC 9112, section 6). Node has refused most of what is wrong already. @throws BadRequest */
export function lengthOf(headers: HeaderList, isHttp11: boolean): { length: number | undefined; isChunked: boolean } {
  let length: number | undefined;
  let isChunked = false;
  for (let index = 0; index < headers.length; index += 2) {
    const value = headers[index + 1];
    switch (kindOf(headers[index])) {
      case FieldKind.CONTENT_LENGTH:
        if (length !== undefined || !/^\d{1,15}$/.test(value)) throw new BadRequest(400, 'Content-Length');
        length = Number(value);
        break;
      case FieldKind.TRANSFER_ENCODING:
        if (isChunked || !isHttp11) throw new BadRequest(400, 'Transfer-Encoding');
        if (value.toLowerCase() !== 'chunked') throw new BadRequest(501, 'a transfer coding other than chunked');
        isChunked = true;
        break;
      case FieldKind.INVALID:
        throw new BadRequest(400, 'the name of a header');
      default:
        if (!isValue(value)) throw new BadRequest(400, 'the value of a header');
    }
  }
  if (isChunked && length !== undefined) throw new BadRequest(400, 'Content-Length and Transfer-Encoding');
  return { length, isChunked };
}
