// Mosquitto as Debian packages it, at a unix socket, without anything on disk.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServerProgram } from './server-program.js';

export const MOSQUITTO = { programs: ['mosquitto'], debian: 'mosquitto' };

export interface MosquittoServer {
  /** Where it listens. */
  readonly path: string;
  stop(): Promise<void>;
}

export async function startMosquitto(): Promise<MosquittoServer> {
  const program = new ServerProgram();
  const path = join(program.folder, 'mosquitto.sock');
  const settings = join(program.folder, 'mosquitto.conf');
  const lines = [
    `listener 0 ${path}`,
    'allow_anonymous true',
    'persistence false',
    'log_dest stderr',
    'max_inflight_messages 0',
  ];
  writeFileSync(settings, lines.join('\n'));
  await program.start('mosquitto', ['-c', settings], /version [\d.]+ running/);
  return { path, stop: () => program.stop() };
}
