// MariaDB as Debian packages it, with fresh tables, at a unix socket.

import { join } from 'node:path';
import { ServerProgram } from './server-program.js';

export const MARIADB = { programs: ['mariadbd', 'mariadb-install-db'], debian: 'mariadb-server' };

export interface MariadbServer {
  /** Where it listens. */
  readonly path: string;
  stop(): Promise<void>;
}

/** Its superuser is root, without a password; it has an empty database test. */
export async function startMariadb(): Promise<MariadbServer> {
  const program = new ServerProgram();
  const path = join(program.folder, 'mariadb.sock');
  const data = join(program.folder, 'data');
  const common = ['--no-defaults', `--datadir=${data}`];
  await program.run('mariadb-install-db', [...common, '--auth-root-authentication-method=normal']);
  await program.start(
    'mariadbd',
    [
      ...common,
      `--socket=${path}`,
      `--pid-file=${join(program.folder, 'pid')}`,
      '--skip-networking',
      '--skip-name-resolve',
      '--max-allowed-packet=64M',
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-buffer-pool-size=32M',
      '--local-infile=1',
    ],
    /ready for connections/,
  );
  return { path, stop: () => program.stop('SIGKILL') };
}
