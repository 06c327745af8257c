// The header of the PROXY protocol, with which a load balancer says for whom it connects
// (haproxy/doc/proxy-protocol.txt, versions 1 and 2). Pure.

import { isIP } from 'node:net';
import { starlaneError } from '../../../errors.js';

export interface ProxyHeader {
  /** Bytes of the header: what follows is the connection. */
  readonly length: number;
  /** The client; undefined where the proxy speaks for itself, as in a health check. */
  readonly address: string | undefined;
  readonly port: number | undefined;
}

const SIGNATURE_2 = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const MAX_BYTES_1 = 107;
/** Of version 2. It may have more than addresses, but nothing that is needed here. */
const MAX_BYTES_2 = 4_096;
const LINE_1 = /^PROXY (?:(TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5})|UNKNOWN(?: .*)?)$/;

const HEAD_2_BYTES = 16;
const TCP4 = 0x11;
const TCP6 = 0x21;

/** Returns the header at the start of `bytes`; undefined where more bytes are needed. @throws ERR_STARLANE_MESSAGE */
export function readProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  const length = Math.min(bytes.length, SIGNATURE_2.length);
  if (bytes.compare(SIGNATURE_2, 0, length, 0, length) === 0)
    return bytes.length < HEAD_2_BYTES ? undefined : readVersion2(bytes);
  return readVersion1(bytes);
}

function readVersion1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.indexOf('\r\n', 0, 'latin1');
  if (end < 0 || end + 2 > MAX_BYTES_1) {
    if (bytes.length >= MAX_BYTES_1 || !'PROXY '.startsWith(bytes.toString('latin1', 0, 6))) throw bad();
    return undefined;
  }
  const match = LINE_1.exec(bytes.toString('latin1', 0, end));
  if (match === null) throw bad();
  const [, family, address, , port] = match;
  if (family === undefined) return { length: end + 2, address: undefined, port: undefined };
  if (isIP(address) !== (family === 'TCP4' ? 4 : 6) || Number(port) > 65_535) throw bad();
  return { length: end + 2, address, port: Number(port) };
}

function readVersion2(bytes: Buffer): ProxyHeader | undefined {
  const version = bytes[12] >> 4;
  const command = bytes[12] & 0xf;
  const family = bytes[13];
  const length = HEAD_2_BYTES + bytes.readUInt16BE(14);
  if (version !== 2 || command > 1 || length > MAX_BYTES_2) throw bad();
  if (bytes.length < length) return undefined;
  if (command === 1 && family === TCP4 && length >= HEAD_2_BYTES + 12) {
    return { length, address: bytes.subarray(16, 20).join('.'), port: bytes.readUInt16BE(24) };
  }
  if (command === 1 && family === TCP6 && length >= HEAD_2_BYTES + 36) {
    const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(16 + 2 * index).toString(16));
    return { length, address: groups.join(':'), port: bytes.readUInt16BE(48) };
  }
  return { length, address: undefined, port: undefined };
}

function bad(): Error {
  return starlaneError('ERR_STARLANE_MESSAGE', 'no header of the PROXY protocol');
}
