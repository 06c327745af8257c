// The client of a SOCKS proxy: version 5 (RFC 1928), with user and password (RFC 1929). The proxy resolves names.
//
//   client  05 methods...            01 user password       05 CONNECT target
//   proxy            05 method               01 status               05 reply bound-address

import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { domainToASCII } from 'node:url';
import type { ProxyCredentials } from '../../options/via.js';
import { authError, type Dialogue, NOT_YET, proxyError, type Step, type Target, TargetRefused } from './dialogue.js';

const VERSION = 5;
const AUTH_VERSION = 1;

const Method = { NONE: 0, PASSWORD: 2, NO_ACCEPTABLE: 0xff } as const;
const CONNECT = 1;
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const;

const REFUSED = 5;
const REPLIES: ReadonlyMap<number, string> = new Map([
  [1, 'it has failed'],
  [2, 'it does not allow this host or port'],
  [3, 'it cannot reach the network of the host'],
  [4, 'it cannot reach the host'],
  [REFUSED, 'nothing listens at the host and port'],
  [6, 'the host is too far away'],
  [7, 'it does not offer CONNECT'],
  [8, 'it does not know this kind of address'],
]);

type State = 'method' | 'auth' | 'reply';

export class SocksConnect implements Dialogue {
  private received: Buffer = Buffer.alloc(0);
  private state: State = 'method';

  constructor(
    private readonly target: Target,
    private readonly credentials: ProxyCredentials | undefined,
  ) {}

  begin(): Buffer {
    const methods = this.credentials === undefined ? [Method.NONE] : [Method.NONE, Method.PASSWORD];
    return Buffer.from([VERSION, methods.length, ...methods]);
  }

  push(bytes: Buffer): Step {
    // Bounded: each state has an answer or fails within a few hundred bytes, and then nothing is kept.
    this.received = this.received.length === 0 ? bytes : Buffer.concat([this.received, bytes]);
    switch (this.state) {
      case 'method':
        return this.onMethod();
      case 'auth':
        return this.onAuth();
      case 'reply':
        return this.onReply();
    }
  }

  private onMethod(): Step {
    if (this.received[0] !== VERSION) throw unlike(this.received);
    const answer = this.take(2);
    if (answer === undefined) return NOT_YET;
    const [, method] = answer;
    if (method === Method.NONE) return this.ask();
    if (method === Method.PASSWORD && this.credentials !== undefined) {
      this.state = 'auth';
      return this.say(
        Buffer.concat([
          Buffer.from([AUTH_VERSION]),
          lengthAnd(this.credentials.user),
          lengthAnd(this.credentials.password),
        ]),
      );
    }
    if (method !== Method.NO_ACCEPTABLE) throw proxyError(`it chose a method that was not offered (${method})`);
    throw authError(
      this.credentials === undefined ? 'it wants a user and a password' : 'it takes no user and password',
    );
  }

  private onAuth(): Step {
    const answer = this.take(2);
    if (answer === undefined) return NOT_YET;
    if (answer[1] !== 0) throw authError('wrong user or password');
    return this.ask();
  }

  private onReply(): Step {
    if (this.received[0] !== VERSION) throw unlike(this.received);
    const [, reply, , type, nameLength] = this.received;
    if (reply === undefined) return NOT_YET;
    // Some proxies close right after the reply of a refusal, without an address.
    if (reply !== 0) {
      const what = `${REPLIES.get(reply) ?? 'it refuses the connection'} (SOCKS reply ${reply})`;
      throw proxyError(what, reply === REFUSED ? new TargetRefused() : undefined);
    }
    if (type === undefined) return NOT_YET;
    const addressBytes = addressLength(type, nameLength);
    if (addressBytes === undefined) throw proxyError(`its answer has an unknown kind of address (${type})`);
    const length = 4 + addressBytes + 2;
    if (this.received.length < length) return NOT_YET;
    return { isOpen: true, rest: this.received.subarray(length) };
  }

  private ask(): Step {
    this.state = 'reply';
    const { host, port } = this.target;
    return this.say(
      Buffer.concat([Buffer.from([VERSION, CONNECT, 0]), addressOf(host), Buffer.from([port >> 8, port & 0xff])]),
    );
  }

  /** Goes on with what has arrived already, which a proxy may only send after it was asked: then it is at fault. */
  private say(send: Buffer): Step {
    if (this.received.length > 0) throw proxyError('it answers before it was asked');
    return { isOpen: false, send };
  }

  private take(count: number): Buffer | undefined {
    if (this.received.length < count) return undefined;
    const taken = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return taken;
  }
}

function unlike(received: Buffer): Error {
  const what = received.toString('latin1', 0, 5) === 'HTTP/' ? ', but as an HTTP proxy' : '';
  return proxyError(`it does not answer as a SOCKS proxy of version 5${what}`);
}

/** The bytes of an address; undefined for a type that does not exist. */
function addressLength(type: number, nameLength: number | undefined): number | undefined {
  if (type === AddressType.IPV4) return 4;
  if (type === AddressType.IPV6) return 16;
  if (type === AddressType.NAME) return 1 + (nameLength ?? 0);
  return undefined;
}

function addressOf(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([AddressType.IPV4, ...host.split('.').map(Number)]);
  if (isIPv6(host)) return Buffer.concat([Buffer.from([AddressType.IPV6]), ipv6Bytes(host)]);
  return Buffer.concat([Buffer.from([AddressType.NAME]), lengthAnd(domainToASCII(host) || host)]);
}

function ipv6Bytes(host: string): Buffer {
  // Node writes it in its shortest form, with no part in decimal but for addresses that stand for IPv4.
  const { address } = new SocketAddress({ address: host, family: 'ipv6' });
  const text = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = new Array<number>(8 - front.length - back.length).fill(0);
  return Buffer.from([...front, ...zeros, ...back].flatMap((group) => [group >> 8, group & 0xff]));
}

function lengthAnd(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
