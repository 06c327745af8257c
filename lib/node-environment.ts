// What the environment of the process says about every node in it.

import type { NodeOptions } from './options.js';

export interface NodeEnvironment {
  /** STARLANE_JOIN: link addresses, joined as seeds are. */
  readonly join: readonly string[];
  /** STARLANE_LISTEN: link addresses to listen at. */
  readonly listen: readonly string[];
  /** STARLANE_ENV: the default of the option `env`. */
  readonly env: readonly string[];
}

/** Lists are separated by commas or white space. */
export function readEnvironment(variables: NodeJS.ProcessEnv): NodeEnvironment {
  return {
    join: words(variables['STARLANE_JOIN']),
    listen: words(variables['STARLANE_LISTEN']),
    env: words(variables['STARLANE_ENV']),
  };
}

/** The options of a node, with what the environment adds where nothing is said. */
export function withEnvironment(options: NodeOptions, environment: NodeEnvironment): NodeOptions {
  if (options.env !== undefined || environment.env.length === 0) return options;
  return { ...options, env: environment.env };
}

function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(/[\s,]+/).filter((word) => word !== '');
}
