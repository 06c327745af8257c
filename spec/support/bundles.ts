// Bundles for specs of agents: apps of a few lines, signed by a key that was made for them, and their parts as bytes.

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeHead } from '../../lib/cli/agent/bundle/head.js';
import type { Manifest } from '../../lib/cli/agent/bundle/manifest.js';
import { headerOf, padding } from '../../lib/cli/agent/bundle/tar-header.js';
import { fileEntry, folderEntry } from '../../lib/cli/agent/bundle/unpack.js';
import type { HostClient } from '../../lib/cli/agent/host-client.js';
import { SigningKey } from '../../lib/cli/agent/signer.js';

/** Returns a key without a file. */
export function newKey(): SigningKey {
  const folder = mkdtempSync(join(tmpdir(), 'starlane-key-'));
  try {
    return SigningKey.create(join(folder, 'key.pem'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export type Contents = Readonly<Record<string, string | Buffer>>;

export function manifestOf(files: Contents, more: Partial<Manifest> = {}): Manifest {
  return {
    format: 1,
    app: 'web',
    number: 1,
    version: '1.0.0',
    createdMs: Date.now(),
    expiresMs: Date.now() + 60_000,
    command: [process.execPath, 'main.mjs'],
    env: {},
    services: [],
    health: { withinMs: 10_000, intervalMs: 50, timeoutMs: 2_000, rise: 1, fall: 2, settleMs: 0 },
    stopMs: 2_000,
    folders: [],
    files: Object.entries(files).map(([path, content]) => ({
      path,
      size: Buffer.byteLength(content),
      mode: 0o644,
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
    ...more,
  };
}

/** Returns the tar behind the head, whatever the manifest says. */
export function tarBytes(files: Contents, manifest: Manifest): Buffer {
  const parts = manifest.folders.map((path) => headerOf(folderEntry(path)));
  for (const file of manifest.files) {
    const content = Buffer.from(files[file.path] ?? '');
    parts.push(headerOf(fileEntry(file)), content, Buffer.alloc(padding(content.length)));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

export interface TestBundle {
  readonly manifest: Manifest;
  readonly head: Buffer;
  readonly tar: Buffer;
  readonly digest: string;
}

export function bundleOf(files: Contents, key: SigningKey, more: Partial<Manifest> = {}): TestBundle {
  const manifest = manifestOf(files, more);
  const digest = createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
  return { manifest, head: encodeHead(manifest, key), tar: tarBytes(files, manifest), digest };
}

const TIMEOUT_MS = 30_000;

/** Sends a bundle to a host. */
export async function send(client: HostClient, { manifest, head, tar, digest }: TestBundle): Promise<unknown> {
  const path = `/v1/apps/${manifest.app}/versions`;
  const { state, next } = (await client.ask({ method: 'POST', path, body: head, timeoutMs: TIMEOUT_MS })) as {
    state: string;
    next: number;
  };
  if (state === 'installed') return state;
  return client.ask({ method: 'PUT', path: `${path}/${digest}?from=${next}`, body: tar, timeoutMs: TIMEOUT_MS });
}

/** Runs a version that a host has. */
export function activate(client: HostClient, number?: number, app = 'web', restore = true): Promise<unknown> {
  const query = new URLSearchParams({
    restore: String(restore),
    ...(number === undefined ? {} : { number: String(number) }),
  });
  return client.ask({ method: 'POST', path: `/v1/apps/${app}/activate?${query}`, timeoutMs: TIMEOUT_MS });
}

/** An HTTP server that answers with its version, and prints that it runs. */
export const SERVER = `
import { createServer } from 'node:http';
console.log('runs as ' + process.env.APP_VERSION);
createServer((request, response) => {
  response.statusCode = process.env.FAILS === 'true' ? 500 : 200;
  response.end(process.env.APP_VERSION);
}).listen(process.env.PORT, '127.0.0.1');
`;
