// The messages of SOCKS5 (RFC 1928), its passwords (RFC 1929), and SOCKS4 with 4a: bytes in, messages out.
//
// Not by @pondwader/socks5-server: it waits for the next byte without a deadline, puts what follows a message behind what has arrived since, answers
// other versions and commands with a closed or a cut off reply, and an error in a callback ends the process.

import { isIPv4 } from 'node:net';

export const Method = { NONE: 0x00, PASSWORD: 0x02, NOT_ACCEPTABLE: 0xff } as const;
export const Command = { CONNECT: 1, BIND: 2, UDP_ASSOCIATE: 3 } as const;

/** Replies of SOCKS5. */
export const Reply = {
  SUCCEEDED: 0x00,
  FAILURE: 0x01,
  NOT_ALLOWED: 0x02,
  NETWORK_UNREACHABLE: 0x03,
  HOST_UNREACHABLE: 0x04,
  REFUSED: 0x05,
  TTL_EXPIRED: 0x06,
  COMMAND_NOT_SUPPORTED: 0x07,
  ADDRESS_NOT_SUPPORTED: 0x08,
} as const;

const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const;
const SOCKS4_GRANTED = 0x5a;
const SOCKS4_REJECTED = 0x5b;
/** No message is longer: a SOCKS4 request has the longest, with two texts that a zero ends. */
const MAX_TEXT_BYTES = 255;

/** A message, and how many bytes it has. Undefined: more bytes are needed. */
export type Parsed<T> = (T & { readonly length: number }) | undefined;

/** Thrown for bytes that are no SOCKS. */
export class Malformed extends Error {
  constructor(
    message: string,
    /** The reply that says so, where the protocol has one. */
    readonly reply?: number,
  ) {
    super(message);
  }
}

export interface Request {
  readonly command: number;
  readonly host: string;
  readonly port: number;
}

/** Reads the methods that the client offers. @throws Malformed */
export function parseGreeting(bytes: Buffer): Parsed<{ readonly methods: Buffer }> {
  if (bytes.length < 2) return undefined;
  const length = 2 + bytes[1];
  if (bytes[1] === 0) throw new Malformed('the client offers no method');
  return bytes.length < length ? undefined : { methods: bytes.subarray(2, length), length };
}

/** Reads name and password. @throws Malformed */
export function parsePassword(bytes: Buffer): Parsed<{ readonly user: string; readonly password: string }> {
  if (bytes.length < 2) return undefined;
  if (bytes[0] !== 1) throw new Malformed('the version of the password message is not 1');
  const passwordAt = 2 + bytes[1];
  if (bytes.length <= passwordAt) return undefined;
  const length = passwordAt + 1 + bytes[passwordAt];
  if (bytes.length < length) return undefined;
  return {
    user: bytes.toString('utf8', 2, passwordAt),
    password: bytes.toString('utf8', passwordAt + 1, length),
    length,
  };
}

/** Reads a request of SOCKS5. @throws Malformed */
export function parseRequest(bytes: Buffer): Parsed<Request> {
  if (bytes.length < 5) return undefined;
  if (bytes[0] !== 5) throw new Malformed('the version of the request is not 5');
  const [, command, , type, first] = bytes;
  let addressLength: number;
  if (type === AddressType.IPV4) addressLength = 4;
  else if (type === AddressType.IPV6) addressLength = 16;
  else if (type === AddressType.NAME) addressLength = 1 + first;
  else throw new Malformed(`address type ${type}`, Reply.ADDRESS_NOT_SUPPORTED);
  if (type === AddressType.NAME && first === 0) throw new Malformed('an empty name', Reply.FAILURE);
  const length = 4 + addressLength + 2;
  if (bytes.length < length) return undefined;
  const address = bytes.subarray(4, 4 + addressLength);
  const host = type === AddressType.NAME ? address.toString('utf8', 1) : shownIp(address);
  return { command, host, port: bytes.readUInt16BE(length - 2), length };
}

/** Reads a request of SOCKS4 or 4a. @throws Malformed */
export function parseRequest4(bytes: Buffer): Parsed<Request> {
  const userEnd = endOf(bytes, 8);
  if (userEnd === undefined) return undefined;
  const command = bytes[1];
  const port = bytes.readUInt16BE(2);
  const address = bytes.subarray(4, 8);
  // 0.0.0.x with x other than zero: the name follows (SOCKS4a).
  const isName = address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] !== 0;
  if (!isName) return { command, host: shownIp(address), port, length: userEnd + 1 };
  const nameEnd = endOf(bytes, userEnd + 1);
  if (nameEnd === undefined) return undefined;
  if (nameEnd === userEnd + 1) throw new Malformed('an empty name');
  return { command, host: bytes.toString('utf8', userEnd + 1, nameEnd), port, length: nameEnd + 1 };
}

/** Returns where the zero is that ends a text. @throws Malformed for a text that is too long */
function endOf(bytes: Buffer, from: number): number | undefined {
  const end = bytes.length > from ? bytes.indexOf(0, from) : -1;
  if ((end < 0 ? bytes.length : end) - from > MAX_TEXT_BYTES) throw new Malformed('a text is too long');
  return end < 0 ? undefined : end;
}

export function methodReply(method: number): Buffer {
  return Buffer.of(5, method);
}

export function passwordReply(isRight: boolean): Buffer {
  return Buffer.of(1, isRight ? 0 : 1);
}

/** Returns the answer to a request. The bound address means nothing to clients of CONNECT. */
export function reply(code: number): Buffer {
  return Buffer.of(5, code, 0, AddressType.IPV4, 0, 0, 0, 0, 0, 0);
}

export function reply4(isGranted: boolean): Buffer {
  return Buffer.of(0, isGranted ? SOCKS4_GRANTED : SOCKS4_REJECTED, 0, 0, 0, 0, 0, 0);
}

const REPLIES: Readonly<Record<string, number>> = {
  ENOTFOUND: Reply.HOST_UNREACHABLE,
  EHOSTUNREACH: Reply.HOST_UNREACHABLE,
  EAI_AGAIN: Reply.HOST_UNREACHABLE,
  ENETUNREACH: Reply.NETWORK_UNREACHABLE,
  ECONNREFUSED: Reply.REFUSED,
  EACCES: Reply.NOT_ALLOWED,
  ETIMEDOUT: Reply.TTL_EXPIRED,
};

/** Returns the reply for the code of an error. */
export function replyFor(code: string | undefined): number {
  return (code === undefined ? undefined : REPLIES[code]) ?? Reply.FAILURE;
}

function shownIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_none, index) => bytes.readUInt16BE(index * 2).toString(16));
  const text = groups.join(':');
  // An IPv4 address in the clothes of IPv6.
  const mapped = /^0:0:0:0:0:ffff:/.test(text) ? bytes.subarray(12).join('.') : '';
  return isIPv4(mapped) ? mapped : text;
}
