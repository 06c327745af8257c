import { describe, expect, it } from '@jest/globals';
import { V1ProxyProtocol, V2ProxyProtocol } from 'proxy-protocol-js';
import { addressOfNode, ProxyField, proxyHeader } from '../../../lib/cli/services/publish/proxy-header.js';

const CALLER = 'h2h9zK1b0cM';
const SERVER = 'AAECAwQFBgc';

const request = {
  service: 'web',
  peer: {
    id: CALLER,
    name: 'laptop',
    verified: true,
    tags: ['blue', 'ops'],
    via: ['AAAAAAAAAAE', 'AAAAAAAAAAI'],
    env: [],
  },
};

/** Returns the fields of a header by their types. */
function fieldsOf(header: Buffer): Map<number, string> {
  const fields = new Map<number, string>();
  const end = 16 + header.readUInt16BE(14);
  for (let at = 16 + 36; at < end; ) {
    const length = header.readUInt16BE(at + 1);
    fields.set(header[at], header.subarray(at + 3, at + 3 + length).toString());
    at += 3 + length;
  }
  return fields;
}

describe('the header of the PROXY protocol', () => {
  it('has an address for each node id', () => {
    expect(addressOfNode(SERVER)).toBe('fd73:7461:726c:616e:1:203:405:607');
    expect(addressOfNode(CALLER)).not.toBe(addressOfNode(SERVER));
  });

  it('is one line in version 1', () => {
    const header = proxyHeader('v1', request, SERVER, 8080, 1024);
    expect(header.toString()).toBe(`PROXY TCP6 ${addressOfNode(CALLER)} ${addressOfNode(SERVER)} 1024 8080\r\n`);
    // The longest that version 1 allows.
    expect(header.length).toBeLessThanOrEqual(107);
    expect(V1ProxyProtocol.parse(header.toString())).toMatchObject({
      inetProtocol: 'TCP6',
      source: { ipAddress: addressOfNode(CALLER), port: 1024 },
      destination: { ipAddress: addressOfNode(SERVER), port: 8080 },
    });
  });

  it('is read by others in version 2', () => {
    const header = proxyHeader('v2', request, SERVER, 8080, 65_535);
    const parsed = V2ProxyProtocol.parse(header);
    const text = (address: number[]) =>
      Array.from({ length: 8 }, (_, at) => ((address[2 * at] << 8) | address[2 * at + 1]).toString(16)).join(':');
    const { sourceAddress, sourcePort, destinationAddress, destinationPort } = (parsed as V2ProxyProtocol)
      .proxyAddress as unknown as {
      sourceAddress: { address: number[] };
      sourcePort: number;
      destinationAddress: { address: number[] };
      destinationPort: number;
    };
    expect([text(sourceAddress.address), sourcePort]).toEqual([addressOfNode(CALLER), 65_535]);
    expect([text(destinationAddress.address), destinationPort]).toEqual([addressOfNode(SERVER), 8080]);
  });

  it('has fields for what is known of the caller', () => {
    expect(Object.fromEntries(fieldsOf(proxyHeader('v2', request, SERVER, 80)))).toEqual({
      [ProxyField.AUTHORITY]: 'web',
      [ProxyField.PEER_ID]: CALLER,
      [ProxyField.PEER_NAME]: 'laptop',
      [ProxyField.PEER_VERIFIED]: '1',
      [ProxyField.PEER_VIA]: 'AAAAAAAAAAE,AAAAAAAAAAI',
      [ProxyField.PEER_TAGS]: 'blue,ops',
    });
  });

  it('does not name a caller that has proved nothing', () => {
    const peer = { ...request.peer, verified: false, tags: [], via: [] };
    expect(Object.fromEntries(fieldsOf(proxyHeader('v2', { ...request, peer }, SERVER, 80)))).toEqual({
      [ProxyField.AUTHORITY]: 'web',
      [ProxyField.PEER_ID]: CALLER,
      [ProxyField.PEER_VERIFIED]: '0',
    });
  });

  it('has another port for each connection', () => {
    const ports = Array.from({ length: 70_000 }, () => proxyHeader('v2', request, SERVER, 80).readUInt16BE(16 + 32));
    expect([Math.min(...ports), Math.max(...ports)]).toEqual([1024, 65_535]);
    expect(new Set(ports.slice(0, 60_000)).size).toBe(60_000);
  });
});
