// A Node with ML-KEM-768: this one, or that of STARLANE_NODE_24, since most specs run on the oldest Node that is supported.

import { execFileSync } from 'node:child_process';
import type { Obstacle } from './obstacle.js';

const VARIABLE = 'STARLANE_NODE_24';

/** The path of a Node with ML-KEM-768, or why there is none. */
export function newerNode(): { readonly path: string; readonly obstacle: Obstacle | undefined } {
  const path = process.env[VARIABLE] || process.execPath;
  let has = '';
  try {
    const program = 'process.stdout.write(typeof process.getBuiltinModule("crypto").encapsulate)';
    has = execFileSync(path, ['--eval', program], { encoding: 'utf8' });
  } catch (error) {
    has = (error as Error).message;
  }
  if (has === 'function') return { path, obstacle: undefined };
  const reason = `Node 24.7 or later is needed: npm install --prefix DIR node@24, then ${VARIABLE}=DIR/node_modules/node/bin/node`;
  return { path, obstacle: { reason, isMissing: true } };
}
