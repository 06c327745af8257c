// Who may see the page: the token, the sessions that a login makes, and the names under which the page may be asked for.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { RecentMap } from '../../util/recent-map.js';
import { TokenBucket } from '../../util/token-bucket.js';

/** Sessions that may be open; a login beyond that ends the one that was not used for the longest time. */
const MAX_SESSIONS = 256;
const SESSION_MS = 12 * 60 * 60_000;
/** Wrong tokens from one address: a token of 256 bits is not guessed, one that a person chose might be. */
const GUESSES = { perS: 0.2, burst: 10 };
const MAX_GUESSERS = 1_024;

const TOKEN_BYTES = 32;
const SESSION_BYTES = 32;

export function randomToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

export interface AccessOptions {
  /** Undefined where no token is needed. */
  readonly token: string | undefined;
  /** Of clients that may only ask a part; undefined for none. */
  readonly guestToken?: string | undefined;
  /** Host names that are accepted; undefined for any. Names that lead to this machine are always accepted. */
  readonly hosts: readonly string[] | undefined;
  readonly isSecure: boolean;
  now(): number;
}

export class Access {
  private readonly digest: Buffer | undefined;
  private readonly guestDigest: Buffer | undefined;
  /** From the digest of a cookie to when it was made. */
  private readonly sessions = new RecentMap<string, number>(MAX_SESSIONS);
  /** By address. */
  private readonly guesses = new RecentMap<string, TokenBucket>(MAX_GUESSERS);
  private cookie = 'starlane';

  constructor(private readonly options: AccessOptions) {
    this.digest = options.token === undefined ? undefined : sha256(options.token);
    this.guestDigest = options.guestToken === undefined ? undefined : sha256(options.guestToken);
  }

  /** Whether a token is needed. */
  get isGuarded(): boolean {
    return this.digest !== undefined;
  }

  /** Cookies do not know ports: two monitors on one machine need two names. */
  set port(port: number) {
    // The prefix makes the browser refuse the cookie unless it is for this host alone, and came over TLS.
    this.cookie = `${this.options.isSecure ? '__Host-' : ''}starlane-${port}`;
  }

  /** Whether the host is one that this page has, and not the name of somebody else that leads here (DNS rebinding). */
  isHostAllowed({ headers }: IncomingMessage): boolean {
    const { hosts } = this.options;
    if (hosts === undefined) return true;
    const name = hostNameOf(headers.host ?? '');
    return name !== undefined && (isLoopbackName(name) || hosts.includes(name));
  }

  /** Whether the request has the cookie of a session, or the token as `Authorization: Bearer`. */
  isAuthorized(request: IncomingMessage): boolean {
    if (this.digest === undefined) return true;
    const id = this.sessionOf(request);
    if (id !== undefined && this.isLive(id)) return true;
    const bearer = bearerOf(request);
    return bearer !== undefined && this.accepts(bearer, request) === 'yes';
  }

  /** Whether the request has the token of guests. A wrong one counts when it is compared with that of readers. */
  isGuest(request: IncomingMessage): boolean {
    const bearer = this.guestDigest === undefined ? undefined : bearerOf(request);
    return bearer !== undefined && timingSafeEqual(sha256(bearer), this.guestDigest as Buffer);
  }

  /** Compares in constant time. Returns 'later' when too many wrong tokens came from the address. */
  accepts(token: string, { socket }: IncomingMessage): 'yes' | 'no' | 'later' {
    if (this.digest === undefined) return 'no';
    const now = this.options.now();
    const address = socket.remoteAddress ?? '';
    const guesses = this.guesses.get(address) ?? new TokenBucket(GUESSES);
    if (!guesses.canTake(now)) return 'later';
    if (timingSafeEqual(sha256(token), this.digest)) return 'yes';
    guesses.take(now);
    this.guesses.set(address, guesses);
    return 'no';
  }

  /** Begins a session. Returns the value of Set-Cookie. */
  begin(): string {
    const value = randomBytes(SESSION_BYTES).toString('base64url');
    this.sessions.set(keyOf(value), this.options.now());
    return `${this.cookie}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${SESSION_MS / 1_000}${this.suffix}`;
  }

  /** Ends the session of a request. Returns the value of Set-Cookie. */
  end(request: IncomingMessage): string {
    const id = this.sessionOf(request);
    if (id !== undefined) this.sessions.delete(id);
    return `${this.cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0${this.suffix}`;
  }

  private get suffix(): string {
    return this.options.isSecure ? '; Secure' : '';
  }

  private isLive(id: string): boolean {
    const since = this.sessions.get(id);
    if (since === undefined) return false;
    if (this.options.now() - since < SESSION_MS) return true;
    this.sessions.delete(id);
    return false;
  }

  private sessionOf({ headers }: IncomingMessage): string | undefined {
    for (const pair of (headers.cookie ?? '').split(';')) {
      const at = pair.indexOf('=');
      if (at > 0 && pair.slice(0, at).trim() === this.cookie) return keyOf(pair.slice(at + 1).trim());
    }
    return undefined;
  }
}

function bearerOf({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

/** Returns the name in a Host header without the port, in lower case; undefined when it is none. */
function hostNameOf(host: string): string | undefined {
  return /^(\[[\da-f:.]+\]|[^\s:[\]/@]+)(?::\d{1,5})?$/i
    .exec(host)?.[1]
    ?.toLowerCase()
    .replace(/^\[|\]$/g, '');
}

/** Whether a name or address always means this machine. */
export function isLoopbackName(name: string): boolean {
  if (isIP(name) === 4) return name.startsWith('127.');
  return name === '::1' || name === 'localhost' || name.endsWith('.localhost');
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Sessions are found by a digest, so that the time of a look-up says nothing about their values. */
function keyOf(value: string): string {
  return sha256(value).toString('base64');
}
