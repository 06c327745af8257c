// The header of the PROXY protocol, as HAProxy and another program read it.

import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { V2ProxyProtocol } from 'proxy-protocol-js';
import { addressOfNode } from '../../../lib/cli/services/publish/proxy-header.js';
import { describeWithPrograms, ServerProgram } from '../../clients/server-program.js';
import { type Caller, callerWith } from '../../support/caller.js';
import { Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';
import { readToEnd } from '../../support/testnet.js';

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function machine(): Machine {
  const made = new Machine();
  ends.push(() => made.dispose());
  return made;
}

async function caller(token: string, name: string): Promise<Caller> {
  const made = await callerWith(token, name);
  ends.push(() => made.close());
  return made;
}

/** Starts HAProxy, which answers each request with what it knows of the caller. Returns the path of its socket. */
async function startHaproxy(): Promise<string> {
  const program = new ServerProgram();
  ends.push(() => program.stop());
  const path = join(program.folder, 'in.sock');
  const file = join(program.folder, 'haproxy.cfg');
  writeFileSync(
    file,
    `global
  log stderr format raw local0 notice
defaults
  mode http
  timeout client 10s
frontend in
  bind unix@${path} mode 666 accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[fc_pp_authority] %[path]"
`,
  );
  chmodSync(file, 0o644);
  await program.start('haproxy', ['-f', file, '-db'], { path });
  return path;
}

describeWithPrograms('the PROXY protocol', { programs: ['haproxy'], debian: 'haproxy' }, () => {
  it.each(['v1', 'v2'] as const)('names the caller for HAProxy, %s', async (version) => {
    const path = await startHaproxy();
    const here = machine();
    const command = here.start([
      'publish',
      'web',
      '--unix',
      path,
      '--proxy-protocol',
      version,
      '--listen',
      'tls://127.0.0.1:0',
    ]);
    await command.waitFor(/published/, 'stdout');
    const { stdout } = await here.run(['invite', 'laptop', '--tag', 'blue']);
    const { node } = await caller(stdout.trim(), 'laptop');
    const socket = node.dial('web', { allowHalfOpen: true });
    socket.end('GET /it HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const [, body] = (await within('the answer', readToEnd(socket))).toString().split('\r\n\r\n');
    // HAProxy shortens zeros.
    const [address, ...rest] = body.trim().split(/ +/);
    expect(new net.SocketAddress({ address, family: 'ipv6' }).address).toBe(
      new net.SocketAddress({ address: addressOfNode(node.id), family: 'ipv6' }).address,
    );
    expect(rest).toEqual(version === 'v2' ? ['web', '/it'] : ['/it']);
  });

  it('comes before everything else, in one piece', async () => {
    const server = net.createServer({ allowHalfOpen: true });
    ends.push(() => server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const here = machine();
    const { token } = await here.publish(['web', '--port', String(port), '--proxy-protocol', 'v2']);
    const { node } = await caller(token, 'laptop');
    const connected = once(server, 'connection');
    const socket = node.dial('web', { allowHalfOpen: true });
    socket.end('hello');
    const [local] = (await within('the connection', connected)) as [net.Socket];
    const received = await within('the bytes', readToEnd(local));
    local.end();
    const length = 16 + received.readUInt16BE(14);
    expect(received.subarray(length).toString()).toBe('hello');
    const { proxyAddress } = V2ProxyProtocol.parse(received) as V2ProxyProtocol;
    expect(proxyAddress).toMatchObject({ destinationPort: port });
    const fields = received.subarray(16 + 36, length).toString();
    for (const field of ['web', node.id, 'laptop', '1']) expect(fields).toContain(field);
  });
});
