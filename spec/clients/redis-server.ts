// Redis as Debian packages it, at a unix socket, without anything on disk.

import { join } from 'node:path';
import { ServerProgram } from './server-program.js';

export const REDIS = { programs: ['redis-server'], debian: 'redis-server' };

export interface RedisServer {
  /** Where it listens. */
  readonly path: string;
  stop(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const program = new ServerProgram();
  const path = join(program.folder, 'redis.sock');
  const settings = { port: '0', unixsocket: path, dir: program.folder, save: '', appendonly: 'no' };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  await program.start('redis-server', args, /Ready to accept connections|ready to accept connections/);
  return { path, stop: () => program.stop() };
}
