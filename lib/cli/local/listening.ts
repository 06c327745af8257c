// Listens at an address of this machine, with failures that say what to do.

import { once } from 'node:events';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { dirname } from 'node:path';
import { codeOf } from '../../errors.js';
import { codedError, ExitCode, Failure } from '../failure.js';
import { ANY_HOST, type LocalAddress, shownAddress } from './address.js';
import { isSocket, listenAlone } from './stale-socket.js';

const LAST_PRIVILEGED_PORT = 1023;

/** Unix sockets to be removed when the process ends before they are closed. */
const paths = new Set<string>();
process.once('exit', () => {
  for (const path of paths) rmSync(path, { force: true });
});

/**
 * Listens, and returns where: port 0 has become a real one. A unix socket is for this user only (mode 0600), and one that a killed process
 * has left behind is removed.
 * @throws Failure
 */
export async function listen(server: Server, at: LocalAddress): Promise<LocalAddress> {
  try {
    if (at.path === undefined) {
      server.listen({ host: at.host === ANY_HOST ? undefined : at.host, port: at.port });
      await once(server, 'listening');
      return { host: at.host, port: (server.address() as AddressInfo).port };
    }
    await listenAtPath(server, at.path);
    return at;
  } catch (error) {
    throw explained(error, at);
  }
}

/** Stops listening; what is open goes on. */
export function stopListening(server: Server, at: LocalAddress | undefined): void {
  server.close();
  if (at?.path !== undefined) paths.delete(at.path);
}

async function listenAtPath(server: Server, path: string): Promise<void> {
  if (!(await listenAlone(path, () => listenThere(server, path)))) throw codedError('EADDRINUSE', `${path} is in use`);
}

async function listenThere(server: Server, path: string): Promise<void> {
  // The file is made within the call: nobody else can open it between its making and a change of its mode.
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
  if (process.platform !== 'win32') chmodSync(path, 0o600);
  paths.add(path);
}

function explained(error: unknown, at: LocalAddress): unknown {
  const { host, port, path } = at;
  const where = path ?? shownAddress(at);
  const failure = (message: string, exitCode: number) => new Failure(message, exitCode);
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      if (path === undefined) {
        const of = host === '127.0.0.1' || host === ANY_HOST ? '' : ` of ${host}`;
        return failure(`port ${port}${of} is in use`, ExitCode.BUSY);
      }
      return failure(isSocket(path) ? `${path} is in use` : `${path} exists, and is no socket`, ExitCode.BUSY);
    case 'EACCES':
    case 'EPERM':
      // libuv says so for a missing folder as well.
      if (path !== undefined && !existsSync(dirname(path)))
        return failure(`${where}: there is no such folder`, ExitCode.NOT_FOUND);
      if (port !== undefined && port <= LAST_PRIVILEGED_PORT)
        return failure(`port ${port} needs the rights of an administrator; take one from 1024 on`, ExitCode.REFUSED);
      return failure(`${where}: no permission to listen there`, ExitCode.REFUSED);
    case 'EADDRNOTAVAIL':
      return failure(`${host} is no address of this machine`, ExitCode.USAGE);
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failure(`${host}: no such host`, ExitCode.NOT_FOUND);
    case 'ENOENT':
      return failure(`${where}: there is no such folder`, ExitCode.NOT_FOUND);
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return path === undefined ? error : failure(`${path}: the path is too long for a socket`, ExitCode.USAGE);
    default:
      return error;
  }
}
