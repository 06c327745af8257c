// The kinds of Duplex that a session can run over, each as two connected ends.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { memberTls } from './certificates.js';
import { duplexPair } from './duplex-pair.js';

export interface Ends {
  near: Duplex;
  far: Duplex;
}

export interface Transport {
  readonly name: string;
  connect(): Promise<Ends>;
}

/** The first connection of a server that takes no other. */
async function firstConnection(server: Server, event: string, dial: () => Socket, connected: string): Promise<Ends> {
  await once(server, 'listening');
  const accepted = once(server, event) as Promise<[Duplex]>;
  const near = dial();
  const [[far]] = await Promise.all([accepted, once(near, connected)]);
  server.close();
  return { near, far };
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

export const TRANSPORTS: readonly Transport[] = [
  {
    name: 'an in-memory pair',
    connect: async () => {
      const [near, far] = duplexPair();
      return { near, far };
    },
  },
  {
    name: 'TCP',
    connect: () => {
      const server = createServer().listen(0, '127.0.0.1');
      return firstConnection(server, 'connection', () => connect(portOf(server), '127.0.0.1'), 'connect');
    },
  },
  {
    name: 'TLS',
    connect: async () => {
      const { key, cert } = await memberTls();
      const server = createTlsServer({ key, cert }).listen(0, '127.0.0.1');
      const dial = () => tlsConnect({ port: portOf(server), host: '127.0.0.1', servername: 'localhost', ca: cert });
      return firstConnection(server, 'secureConnection', dial, 'secureConnect');
    },
  },
  {
    name: 'a unix socket',
    connect: async () => {
      const folder = mkdtempSync(join(tmpdir(), 'starlane-spec-'));
      const path = process.platform === 'win32' ? join('\\\\.\\pipe', basename(folder)) : join(folder, 'link');
      try {
        const server = createServer().listen(path);
        return await firstConnection(server, 'connection', () => connect(path), 'connect');
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },
];
