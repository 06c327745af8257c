// The version of the package.

import { existsSync, readFileSync } from 'node:fs';

/** Returns the version in package.json, which is above dist/cli and lib/cli. */
export function versionOf(): string {
  for (const path of ['../package.json', '../../package.json']) {
    const url = new URL(path, import.meta.url);
    if (!existsSync(url)) continue;
    const { name, version } = JSON.parse(readFileSync(url, 'utf8')) as { name?: string; version: string };
    if (name === 'starlane') return version;
  }
  return 'unknown';
}
