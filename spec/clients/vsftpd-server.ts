// vsftpd as Debian packages it, with an empty folder for anonymous users.

import { mkdirSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { join } from 'node:path';
import { certificateFor } from '../support/certificates.js';
import { freePort, ServerProgram } from './server-program.js';

export const VSFTPD = { programs: ['vsftpd'], debian: 'vsftpd' };

export interface VsftpdServer {
  readonly host: string;
  readonly port: number;
  /** Where all data connections go: it is in passive mode. */
  readonly dataPort: number;
  stop(): Promise<void>;
}

/** Its certificate is for the service ftp. */
export async function startVsftpd(): Promise<VsftpdServer> {
  const program = new ServerProgram();
  const host = '127.0.0.1';
  const [port, dataPort] = [await freePort(host), await freePort(host)];
  const root = join(program.folder, 'root');
  const certFile = join(program.folder, 'cert.pem');
  const settingsFile = join(program.folder, 'vsftpd.conf');
  const { cert, key } = await certificateFor('ftp');
  const settings = {
    listen: 'YES',
    listen_address: host,
    listen_port: port,
    background: 'NO',
    // Not root, so there are no users of the system, only anonymous ones.
    run_as_launching_user: 'YES',
    anonymous_enable: 'YES',
    no_anon_password: 'YES',
    local_enable: 'NO',
    ftp_username: 'nobody',
    anon_root: root,
    secure_chroot_dir: root,
    allow_writeable_chroot: 'YES',
    write_enable: 'YES',
    anon_upload_enable: 'YES',
    anon_mkdir_write_enable: 'YES',
    anon_other_write_enable: 'YES',
    anon_umask: '022',
    port_enable: 'NO',
    pasv_min_port: dataPort,
    pasv_max_port: dataPort,
    seccomp_sandbox: 'NO',
    ssl_enable: 'YES',
    allow_anon_ssl: 'YES',
    require_ssl_reuse: 'NO',
    ssl_ciphers: 'HIGH',
    rsa_cert_file: certFile,
    vsftpd_log_file: join(program.folder, 'vsftpd.log'),
  };
  mkdirSync(root);
  writeFileSync(certFile, key + cert, { mode: 0o600 });
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(settingsFile, lines.join(''));
  for (const path of [root, certFile, settingsFile]) program.giveAway(path);
  await program.start('vsftpd', [settingsFile], { host, port } satisfies net.TcpNetConnectOpts);
  return { host, port, dataPort, stop: () => program.stop() };
}
