// The client of an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), with Basic credentials (RFC 7617).
//
// Not node:http, which would load its parser and agents into every node behind a proxy for one line and a few headers, has no bound of its own
// for the time that a proxy takes, and gives no error for what a proxy says in its headers.

import { domainToASCII } from 'node:url';
import type { ProxyCredentials } from '../../options/via.js';
import { authError, type Dialogue, NOT_YET, proxyError, type Step, type Target } from './dialogue.js';

/** All headers of all answers of the proxy together, in bytes: as many as Node's own client takes. */
const MAX_HEAD_BYTES = 16 * 1024;
/** Interim answers (RFC 9110, section 15.2) that are skipped. */
const MAX_INTERIM = 8;
/** Text of the proxy in errors, in characters. */
const MAX_SHOWN = 80;

const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?: (.*))?$/;

export class HttpConnect implements Dialogue {
  private received: Buffer = Buffer.alloc(0);
  /** Bytes of heads that were read before. */
  private readBytes = 0;
  private interim = 0;

  constructor(
    private readonly target: Target,
    private readonly credentials: ProxyCredentials | undefined,
  ) {}

  begin(): Buffer {
    const { host, port } = this.target;
    const authority = `${host.includes(':') ? `[${host}]` : asciiOf(host)}:${port}`;
    const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
    if (this.credentials !== undefined) {
      const { user, password } = this.credentials;
      lines.push(`Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`);
    }
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  }

  push(bytes: Buffer): Step {
    this.received = this.received.length === 0 ? bytes : Buffer.concat([this.received, bytes]);
    for (;;) {
      checkStart(this.received);
      const end = endOfHead(this.received);
      const headBytes = end < 0 ? this.received.length : end;
      if (this.readBytes + headBytes > MAX_HEAD_BYTES)
        throw proxyError(`its answer has more than ${MAX_HEAD_BYTES} bytes`);
      if (end < 0) return NOT_YET;
      const head = this.received.toString('latin1', 0, end);
      this.received = this.received.subarray(end);
      this.readBytes += end;
      if (this.isFinal(head)) return { isOpen: true, rest: this.received };
      if (++this.interim > MAX_INTERIM) throw proxyError('it sends interim answers without end');
    }
  }

  /** Returns whether the tunnel is open; false for an interim answer. @throws when the proxy refuses */
  private isFinal(head: string): boolean {
    const [first = '', ...headers] = head.split(/\r?\n/);
    const match = STATUS_LINE.exec(first);
    if (match === null) throw proxyError(`it does not answer as an HTTP proxy (${JSON.stringify(printable(first))})`);
    const status = Number(match[1]);
    if (status >= 200 && status < 300) return true;
    if (status < 200 && status !== 101) return false;
    const reason = printable(match[2] ?? '');
    const said = reason === '' ? `${status}` : `${status} ${reason}`;
    if (status === 407) throw authError(this.authDetail(said, headers));
    throw proxyError(`${MEANINGS.get(status) ?? 'it refuses the connection'} (${said})`);
  }

  private authDetail(said: string, headers: readonly string[]): string {
    const schemes = headers.flatMap((header) => /^proxy-authenticate:\s*([\w-]+)/i.exec(header)?.[1] ?? []);
    const offered = [...new Set(schemes)].map(printable).join(', ');
    if (schemes.length > 0 && !schemes.some((scheme) => scheme.toLowerCase() === 'basic')) {
      return `it wants ${printable(offered)}, and this node knows Basic only (${said})`;
    }
    const what = this.credentials === undefined ? 'it wants a user and a password' : 'wrong user or password';
    return `${what} (${said})`;
  }
}

/** What a status means for a CONNECT. */
const MEANINGS: ReadonlyMap<number, string> = new Map([
  [400, 'it does not accept the request'],
  [403, 'it does not allow this host or port'],
  [404, 'it does not find the host'],
  [405, 'it does not offer CONNECT'],
  [429, 'it has too many requests'],
  [500, 'it has failed'],
  [501, 'it does not offer CONNECT'],
  [502, 'it cannot reach the host'],
  [503, 'it cannot reach the host, or is overloaded'],
  [504, 'the host does not answer it'],
]);

/** Fails at the first byte that cannot be of an answer, so that there is no wait for what speaks another protocol. */
function checkStart(received: Buffer): void {
  const start = received.toString('latin1', 0, 7);
  if (!'HTTP/1.'.startsWith(start)) {
    throw proxyError(
      `it does not answer as an HTTP proxy (${JSON.stringify(printable(received.toString('latin1', 0, MAX_SHOWN)))})`,
    );
  }
}

/** Returns where the body begins; -1 while the head is not complete. Lines may end without CR (RFC 9112, section 2.2). */
function endOfHead(received: Buffer): number {
  for (let at = received.indexOf(10); at >= 0; at = received.indexOf(10, at + 1)) {
    if (received[at + 1] === 10) return at + 2;
    if (received[at + 1] === 13 && received[at + 2] === 10) return at + 3;
  }
  return -1;
}

function asciiOf(host: string): string {
  // The name of nothing, such as one with an underscore that no rule allows, goes to the proxy as it is.
  return domainToASCII(host) || host;
}

function printable(text: string): string {
  const clean = text.replace(/[^\x20-\x7e]/g, '?').trim();
  return clean.length > MAX_SHOWN ? `${clean.slice(0, MAX_SHOWN)}...` : clean;
}
