// The first argument of what this folder offers: programs without types may pass something else, such as the options of a node.

import { starlaneError } from '../errors.js';
import type { Node } from '../node/node.js';

/** Returns whether a value is a node, also one that another copy of the library has made. */
export function isNode(value: unknown): value is Node {
  return typeof (value as Partial<Node> | null | undefined)?.bind === 'function';
}

/** @param call what the user has called, for the error @throws ERR_STARLANE_ARGUMENT for what is no node */
export function checkNode(node: unknown, call: string): void {
  if (isNode(node)) return;
  throw starlaneError('ERR_STARLANE_ARGUMENT', `${call}: the first argument must be a node, from createNode()`);
}
