// What the environment of the process says about every node in it.

import { starlaneError } from './errors.js';
import type { NodeOptions } from './options.js';

export interface NodeEnvironment {
  /** STARLANE_JOIN: link addresses, joined as seeds are. */
  readonly join: readonly string[];
  /** STARLANE_LISTEN: link addresses to listen at. */
  readonly listen: readonly string[];
  /** STARLANE_ENV: the default of the option `env`. */
  readonly env: readonly string[];
}

/**
 * Lists are separated by commas or white space.
 * @throws ERR_STARLANE_OPTION for STARLANE_SECRET: to go on without it would be to go on in clear
 */
export function readEnvironment(variables: NodeJS.ProcessEnv): NodeEnvironment {
  if (variables['STARLANE_SECRET']) {
    throw starlaneError('ERR_STARLANE_OPTION', 'STARLANE_SECRET: this version knows no network secrets yet');
  }
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
