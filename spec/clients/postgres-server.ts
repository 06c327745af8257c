// PostgreSQL as Debian packages it, with a fresh database.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFor } from '../support/certificates.js';
import { freePort, ServerProgram } from './server-program.js';

export const POSTGRES = { programs: ['initdb', 'postgres'], debian: 'postgresql' };

export interface PostgresServer {
  /** Where it listens. Not at a unix socket: there it offers no TLS. */
  readonly host: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** Its superuser is postgres, without a password. It offers TLS with a certificate for the service postgres. */
export async function startPostgres(): Promise<PostgresServer> {
  const program = new ServerProgram();
  const host = '127.0.0.1';
  const port = await freePort(host);
  const data = join(program.folder, 'data');
  const { cert, key } = await certificateFor('postgres');
  const certFile = join(program.folder, 'cert.pem');
  const keyFile = join(program.folder, 'key.pem');
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key, { mode: 0o600 });
  program.giveAway(certFile);
  program.giveAway(keyFile);
  await program.run('initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']);
  const settings = {
    listen_addresses: host,
    port,
    unix_socket_directories: '',
    fsync: 'off',
    ssl: 'on',
    ssl_cert_file: certFile,
    ssl_key_file: keyFile,
    // So that a backend in the middle of a query learns that its client is gone.
    client_connection_check_interval: 50,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  await program.start('postgres', ['-D', data, ...args], /ready to accept connections/);
  return { host, port, stop: () => program.stop('SIGQUIT') };
}
