// What an agent keeps on disk, and that it is the only one there.
//
//   <folder>/apps/<app>/      versions, state, logs and data of an app
//   <folder>/incoming/        bundles that are being received; emptied at the start
//   <folder>/jobs/            what jobs have printed
//   <folder>/lock.sock        is listened at by the agent that has the folder
//
// <folder> is that of the option, else <home>/agent/<hash of the network>.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from '../../errors.js';
import { syncFolder, writeSynced } from '../../identity/credentials.js';
import { ExitCode, Failure } from '../failure.js';
import type { Home } from '../home.js';
import { listenAlone } from '../local/stale-socket.js';

/** What macOS allows for the path of a socket. */
const MAX_SOCKET_PATH_BYTES = 103;
const PRIVATE = { recursive: true, mode: 0o700 } as const;

export class AgentFolder {
  readonly apps: string;
  readonly incoming: string;
  readonly jobs: string;
  private lock: Server | undefined;

  constructor(
    readonly path: string,
    private readonly home: Home,
  ) {
    this.apps = join(path, 'apps');
    this.incoming = join(path, 'incoming');
    this.jobs = join(path, 'jobs');
  }

  /** Returns the folder of the option, else one in the home that follows from what identifies the node. */
  static of(home: Home, network: string, option: string | undefined): AgentFolder {
    if (option !== undefined) return new AgentFolder(resolve(option), home);
    const name = network.startsWith('process ')
      ? 'plain'
      : createHash('sha256').update(network).digest('hex').slice(0, 16);
    return new AgentFolder(join(home.folder, 'agent', name), home);
  }

  /** Makes the folder, and takes it for this process. @throws Failure when another process has it */
  async take(): Promise<void> {
    const { path } = this;
    try {
      for (const folder of [path, this.apps, this.jobs]) mkdirSync(folder, PRIVATE);
      const { mode, uid } = statSync(path);
      const own = process.getuid?.() ?? uid;
      if (uid !== own || (mode & 0o022) !== 0)
        throw new Failure(`${path}: must be a folder of this user that others cannot write to`, ExitCode.REFUSED);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure(`${path}: cannot be made (${codeOf(error)})`, ExitCode.FAILURE, { cause: error });
    }
    // A socket and not a file: that of a process that was killed is not taken for one that runs.
    const near = join(path, 'lock.sock');
    const socket = Buffer.byteLength(near) <= MAX_SOCKET_PATH_BYTES ? near : this.home.controlSocket(`agent ${path}`);
    const lock = createServer((taken) => taken.destroy());
    const listen = async () => {
      lock.listen(socket);
      await once(lock, 'listening');
    };
    if (!(await listenAlone(socket, listen))) throw new Failure(`another agent uses ${path}`, ExitCode.BUSY);
    lock.unref();
    this.lock = lock;
    rmSync(this.incoming, { recursive: true, force: true });
    mkdirSync(this.incoming, PRIVATE);
  }

  release(): void {
    this.lock?.close();
    this.lock = undefined;
  }
}

/** Writes a value so that after a crash there is the old one or the new one. @throws as node:fs */
export function writeState(path: string, value: unknown): void {
  writeSynced(`${path}.new`, `${JSON.stringify(value)}\n`);
  renameSync(`${path}.new`, path);
  syncFolder(dirname(path));
}

/** Returns the value; undefined when there is none, or no JSON. */
export function readState(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
