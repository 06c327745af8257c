// The header of the PROXY protocol (haproxy.org, proxy-protocol.txt), with which a local server learns who has dialled.
//
// Callers have node ids instead of addresses. An IPv6 address stands for each: the prefix fd73:7461:726c:616e::/64 of RFC 4193 (unique local;
// its bytes after fd spell "starlan"), and the 64 bits of the node id. So logs and rules of a server can tell callers apart. Version 2 also
// says in fields of its own what is known of the caller.

import { isIPv6 } from 'node:net';
import { nodeIdToBytes } from '../../../address.js';
import type { AllowRequest } from '../../../options/allow.js';

export type ProxyVersion = 'v1' | 'v2';

const PREFIX = Buffer.from('fd737461726c616e', 'hex');
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const PROXY_COMMAND = 0x21;
const TCP_OVER_IPV6 = 0x21;

/** Types of fields. Those from 0xe0 to 0xef are for applications. docs/command.md lists them. */
export const ProxyField = {
  /** PP2_TYPE_AUTHORITY: the service. */
  AUTHORITY: 0x02,
  PEER_ID: 0xe0,
  /** The name in its certificate; missing if none is proved. */
  PEER_NAME: 0xe1,
  /** `1` if it has proved its node id, else `0`. */
  PEER_VERIFIED: 0xe2,
  /** The ids of the nodes in between, nearest first, with commas. */
  PEER_VIA: 0xe3,
  /** The tags in its certificate, with commas. */
  PEER_TAGS: 0xe4,
} as const;

/** Returns the IPv6 address that stands for a node. */
export function addressOfNode(nodeId: string): string {
  const groups: string[] = [];
  const bytes = addressBytes(nodeId);
  for (let at = 0; at < bytes.length; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  const text = groups.join(':');
  // Each has to be a valid one, as servers close connections with a header that they cannot read.
  return isIPv6(text) ? text : '::';
}

let lastPort = 1023;

/** Returns a port for a caller, 1024 to 65535, so that a log tells connections apart. */
function nextPort(): number {
  lastPort = lastPort === 65_535 ? 1024 : lastPort + 1;
  return lastPort;
}

/**
 * Returns the header for a connection.
 * @param nodeId of this node
 * @param port of the local server; 0 for a unix socket
 */
export function proxyHeader(
  version: ProxyVersion,
  { peer, service }: Pick<AllowRequest, 'peer' | 'service'>,
  nodeId: string,
  port: number,
  callerPort = nextPort(),
): Buffer {
  if (version === 'v1') {
    return Buffer.from(`PROXY TCP6 ${addressOfNode(peer.id)} ${addressOfNode(nodeId)} ${callerPort} ${port}\r\n`);
  }
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(callerPort, 0);
  ports.writeUInt16BE(port, 2);
  const fields = [
    field(ProxyField.AUTHORITY, service),
    field(ProxyField.PEER_ID, peer.id),
    field(ProxyField.PEER_NAME, peer.verified ? (peer.name ?? '') : ''),
    field(ProxyField.PEER_VERIFIED, peer.verified ? '1' : '0'),
    field(ProxyField.PEER_VIA, peer.via.join(',')),
    field(ProxyField.PEER_TAGS, peer.tags.join(',')),
  ];
  const content = Buffer.concat([addressBytes(peer.id), addressBytes(nodeId), ports, ...fields]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(content.length);
  return Buffer.concat([SIGNATURE, Buffer.from([PROXY_COMMAND, TCP_OVER_IPV6]), length, content]);
}

function addressBytes(nodeId: string): Buffer {
  return Buffer.concat([PREFIX, nodeIdToBytes(nodeId)]);
}

function field(type: number, text: string): Buffer {
  if (text === '') return Buffer.alloc(0);
  // 255 bytes are enough for each, and keep the header well within the one segment that it has to come in.
  const value = Buffer.from(text).subarray(0, 255);
  return Buffer.concat([Buffer.from([type, 0, value.length]), value]);
}
