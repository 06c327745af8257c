import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { carrier as direct } from '../../carriers/net.mjs';
import { within } from '../../deadline.mjs';

const EXIT_DEADLINE_MS = 5_000;
const FIRST_FD = 3;

/** The path of haproxy, looked for where Debian puts servers too; undefined when it is not there. */
export function findHaproxy() {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => path.join(folder, 'haproxy')).find((file) => existsSync(file));
}

/**
 * As Debian's haproxy forwards TCP with nothing tuned, on one thread as the others run.
 *
 * @param {number[]} targets ports, each reached through the listening socket that is inherited in its place
 */
function configure(targets) {
  const proxies = targets.map(
    (port, i) => `listen proxy${i}\n  bind fd@${FIRST_FD + i}\n  server target 127.0.0.1:${port}\n`,
  );
  return `global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
${proxies.join('')}`;
}

/** haproxy in mode tcp. @type {import('./carrier.mjs').RelayedCarrier} */
export const carrier = {
  ...direct,
  name: 'haproxy',

  async startRelay({ host, ports }) {
    const services = Object.keys(ports);
    const targets = services.flatMap((service) => ports[service]);
    const folder = mkdtempSync(path.join(os.tmpdir(), 'starlane-haproxy-'));
    const config = path.join(folder, 'haproxy.cfg');
    writeFileSync(config, configure(targets));
    // Listened at here and inherited: haproxy has no way to say which port it was given.
    const fronts = await Promise.all(targets.map(listenForAnother));
    const fds = fronts.map((front) => /** @type {any} */ (front)._handle.fd);
    const child = spawn(/** @type {string} */ (findHaproxy()), ['-db', '-f', config], {
      stdio: ['ignore', 'ignore', 'pipe', ...fds],
    });
    let output = '';
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    const exited = once(child, 'close');
    await once(child, 'spawn');
    const frontPorts = fronts.map((front) => /** @type {net.AddressInfo} */ (front.address()).port);
    for (const front of fronts) front.close();
    return {
      address: {
        host,
        ports: Object.fromEntries(services.map((service) => [service, frontPorts.splice(0, ports[service].length)])),
      },
      pid: /** @type {number} */ (child.pid),
      failed: exited.then(() => {
        throw new Error(`haproxy ended: ${output}`);
      }),
      async stop() {
        child.kill('SIGKILL');
        await within(exited, EXIT_DEADLINE_MS, 'end of haproxy');
        rmSync(folder, { recursive: true });
      },
    };
  },
};

/** @returns {Promise<net.Server>} */
async function listenForAnother() {
  const server = net.createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  return server;
}
