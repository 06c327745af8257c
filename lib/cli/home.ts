// Where the command keeps things: networks that this user has joined, and the control sockets of nodes that run.
//
//   <home>/networks/<network id>      a folder of credentials for each network
//   <home>/network                    the id of the one that commands use when nothing names another
//   <run>/<hash>.sock                 the control socket of a node, by its credentials; <run> is STARLANE_RUN, else <home>/run
//
// <home> is STARLANE_HOME, else $XDG_DATA_HOME/starlane, else ~/.local/share/starlane (XDG Base Directory Specification).

import { createHash } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
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
    makeFolder(join(this.folder, 'networks'));
  }

  /** Returns the path of the control socket for a node, by what identifies it. Makes its folder. */
  controlSocket(identity: string): string {
    const name = createHash('sha256').update(identity).digest('hex').slice(0, 16);
    return join(this.runFolder, `${name}.sock`);
  }

  /**
   * The folder of control sockets, which nobody else may enter. It follows from the home and not from the session, so that cron, a system
   * service and a login of one user find the same node; only a home that cannot be written gives way to the session.
   * @throws Failure
   */
  get runFolder(): string {
    const { STARLANE_RUN, XDG_RUNTIME_DIR } = this.environment;
    if (STARLANE_RUN) return ownFolder(short(resolve(STARLANE_RUN)));
    try {
      return ownFolder(short(join(this.folder, 'run')));
    } catch (error) {
      const isReadOnly = ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '');
      if (!isReadOnly || !XDG_RUNTIME_DIR) throw error;
      return ownFolder(short(join(resolve(XDG_RUNTIME_DIR), 'starlane')));
    }
  }
}

/** Returns the folder, or one with a short path for it: in that for temporary files, where its name is not for others to take, see below. */
function short(folder: string): string {
  if (Buffer.byteLength(folder) + '/0123456789abcdef.sock'.length <= MAX_SOCKET_PATH_BYTES) return folder;
  const unique = createHash('sha256').update(folder).digest('hex').slice(0, 8);
  return join(tmpdir(), `starlane-${userInfo().uid}-${unique}`);
}

function ownFolder(folder: string): string {
  makeFolder(folder);
  const stat = lstatSync(folder);
  const { uid } = userInfo();
  if (!stat.isDirectory() || (uid >= 0 && stat.uid !== uid)) {
    throw new Failure(`${folder}: must be a folder of this user`, ExitCode.REFUSED);
  }
  if ((stat.mode & 0o077) !== 0) chmodSync(folder, 0o700);
  return folder;
}

/** Makes a folder and those above it. The option `recursive` of mkdir never returns where nothing can be made, as in /proc. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    const above = dirname(folder);
    if (codeOf(error) !== 'ENOENT' || above === folder || existsSync(above)) throw error;
    makeFolder(above);
    mkdirSync(folder, { mode: 0o700 });
  }
}
