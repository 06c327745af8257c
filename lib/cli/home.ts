// Where the command keeps things: networks that this user has joined, and the control sockets of nodes that run.
//
//   <home>/networks/<network id>      a folder of credentials for each network
//   <home>/network                    the id of the one that commands use when nothing names another
//   <run>/<hash>.sock                 the control socket of a node, by its credentials
//
// <home> is STARLANE_HOME, else $XDG_DATA_HOME/starlane, else ~/.local/share/starlane (XDG Base Directory Specification).

import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { codeOf } from '../errors.js';
import { writeSynced } from '../identity/credentials.js';
import { ExitCode, Failure } from './failure.js';

type Environment = Readonly<Record<string, string | undefined>>;

const NETWORK_ID = /^[\w-]{22}$/;
/** What Linux allows for the path of a socket is 107 bytes; macOS has 103. */
const MAX_SOCKET_PATH_BYTES = 103;

export class Home {
  readonly folder: string;

  constructor(private readonly environment: Environment) {
    const { STARLANE_HOME, XDG_DATA_HOME } = environment;
    if (STARLANE_HOME) this.folder = resolve(STARLANE_HOME);
    else if (XDG_DATA_HOME) this.folder = join(resolve(XDG_DATA_HOME), 'starlane');
    else this.folder = join(homedir(), '.local', 'share', 'starlane');
  }

  /** The folder of credentials for a network, whether it is there or not. */
  credentialsOf(networkId: string): string {
    return join(this.folder, 'networks', networkId);
  }

  /** The folder of credentials of the network that is used when nothing names another; undefined if there is none. */
  get defaultCredentials(): string | undefined {
    let text: string;
    try {
      text = readFileSync(join(this.folder, 'network'), 'utf8').trim();
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
      throw error;
    }
    if (!NETWORK_ID.test(text)) throw new Failure(`${join(this.folder, 'network')}: must hold the id of a network`);
    return this.credentialsOf(text);
  }

  /** Makes a network the default. */
  setDefault(networkId: string): void {
    this.make();
    writeSynced(join(this.folder, 'network'), `${networkId}\n`);
  }

  /** Makes the folder for networks, which nobody else may read. */
  make(): void {
    mkdirSync(join(this.folder, 'networks'), { recursive: true, mode: 0o700 });
  }

  /** Returns the path of the control socket for a node, by what identifies it. Makes its folder. */
  controlSocket(identity: string): string {
    const name = createHash('sha256').update(identity).digest('hex').slice(0, 16);
    return join(this.runFolder, `${name}.sock`);
  }

  /** The folder of control sockets, which nobody else may enter. @throws Failure */
  get runFolder(): string {
    const { STARLANE_RUN, XDG_RUNTIME_DIR } = this.environment;
    let folder: string;
    if (STARLANE_RUN) folder = resolve(STARLANE_RUN);
    else if (XDG_RUNTIME_DIR) folder = join(resolve(XDG_RUNTIME_DIR), 'starlane');
    else folder = join(this.folder, 'run');
    // A deep home: the folder for temporary files has a short path, and its name is not for others to take, see below.
    if (Buffer.byteLength(folder) + '/0123456789abcdef.sock'.length > MAX_SOCKET_PATH_BYTES) {
      const unique = createHash('sha256').update(folder).digest('hex').slice(0, 8);
      folder = join(tmpdir(), `starlane-${userInfo().uid}-${unique}`);
    }
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stat = lstatSync(folder);
    const { uid } = userInfo();
    if (!stat.isDirectory() || (uid >= 0 && stat.uid !== uid)) {
      throw new Failure(`${folder}: must be a folder of this user`, ExitCode.REFUSED);
    }
    if ((stat.mode & 0o077) !== 0) chmodSync(folder, 0o700);
    return folder;
  }
}
