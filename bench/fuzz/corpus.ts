// Inputs that are kept: one a file, a line of hex for each part. Their names say the target and a number.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Parts } from './target.js';

const SUFFIX = '.hex';

/** What is kept for a target. */
export function readCorpus(folder: string, target: string): Buffer[][] {
  return namesOf(folder, target).map((name) => parse(readFileSync(join(folder, name), 'utf8')));
}

/** Returns the name of the file. `note` says why it is kept. */
export function keep(folder: string, target: string, parts: Parts, note: string): string {
  const text = format(parts);
  const name = `${fileName(target)}-${createHash('sha256').update(text).digest('hex').slice(0, 8)}${SUFFIX}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), `# ${note.replace(/[^ -~]/g, '?')}\n${text}`);
  return name;
}

export function format(parts: Parts): string {
  return parts.map((part) => `${part.length === 0 ? '-' : part.toString('hex')}\n`).join('');
}

export function parse(text: string): Buffer[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => Buffer.from(line === '-' ? '' : line, 'hex'));
}

function namesOf(folder: string, target: string): string[] {
  const pattern = new RegExp(`^${fileName(target)}-[0-9a-f]{8}\\${SUFFIX}$`);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => pattern.test(name))
    .sort();
}

function fileName(target: string): string {
  return target.replaceAll(' ', '-');
}
