import { once } from 'node:events';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from '@jest/globals';
import { probe, reachableAddresses, resolveAddresses } from '../../../lib/link/transport/address-probe.js';
import { socketPath } from '../../support/testnet.js';

const TIMEOUT_MS = 5_000;

describe('a probe', () => {
  it('finds a listener, and sends it nothing', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const accepted = once(server, 'connection');
    expect(await probe(`tcp://127.0.0.1:${port}`, TIMEOUT_MS)).toBe('open');
    const [socket] = await accepted;
    socket.resume();
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
    server.close();
    await once(server, 'close');
    expect(await probe(`tcp://127.0.0.1:${port}`, TIMEOUT_MS)).toBe('refused');
  });

  it('finds nothing at a unix socket that does not exist', async () => {
    expect(await probe(`unix:${socketPath()}`, TIMEOUT_MS)).toBe('refused');
  });

  it('takes an address that never answers for silent', async () => {
    // 192.0.2.0/24 is for documentation (RFC 5737): either nothing answers, or the machine has no way there.
    expect(['silent', 'refused']).toContain(await probe('tcp://192.0.2.1:9', 50));
  });
});

describe('the addresses behind a name', () => {
  it('are those of the host, each with the port', async () => {
    const found = await resolveAddresses('tcp://localhost:7', TIMEOUT_MS);
    expect(found.length).toBeGreaterThan(0);
    for (const address of found) expect(['tcp://127.0.0.1:7', 'tcp://[::1]:7']).toContain(address);
  });

  it.each(['tcp://127.0.0.1:7', 'tcp://[::1]:7', 'tls://example.org:7', 'unix:/tmp/x'])(
    'are %s itself',
    async (address) => {
      expect(await resolveAddresses(address, TIMEOUT_MS)).toEqual([address]);
    },
  );
});

describe('addresses to publish', () => {
  it('are the listening ones', () => {
    const listening = ['tcp://127.0.0.1:1', 'tls://example.org:2', 'unix:/tmp/x'];
    expect(reachableAddresses(listening)).toEqual(listening);
  });

  it.each(['tcp://:5', 'tcp://0.0.0.0:5', 'tcp://[::]:5'])('are those of the machine instead of %s', (address) => {
    const own = Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map((each) => each.address),
    );
    const told = reachableAddresses([address]);
    expect(told.length).toBeGreaterThan(0);
    for (const each of told) {
      const host = /^tcp:\/\/\[?(.+?)\]?:5$/.exec(each)?.[1];
      expect(own).toContain(host);
      if (address.includes('0.0.0.0')) expect(host).toMatch(/^[\d.]+$/);
    }
  });
});
