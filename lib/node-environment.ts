// What the environment of the process says about every node in it.

import type { NodeOptions } from './options.js';
import { secretBytes } from './options-security.js';

export interface NodeEnvironment {
  /** STARLANE_JOIN: link addresses, joined as seeds are. */
  readonly join: readonly string[];
  /** STARLANE_LISTEN: link addresses to listen at. */
  readonly listen: readonly string[];
  /** STARLANE_ENV: the default of the option `env`. */
  readonly env: readonly string[];
  /** STARLANE_SECRET: the default of the option `secret`. */
  readonly secret: string | undefined;
}

/**
 * Lists are separated by commas or white space.
 * @throws ERR_STARLANE_OPTION for a STARLANE_SECRET that is empty or too long: to go on without it would be to go on in clear
 */
export function readEnvironment(variables: NodeJS.ProcessEnv): NodeEnvironment {
  const secret = variables['STARLANE_SECRET'];
  secretBytes(secret, 'STARLANE_SECRET');
  return {
    secret,
    join: words(variables['STARLANE_JOIN']),
    listen: words(variables['STARLANE_LISTEN']),
    env: words(variables['STARLANE_ENV']),
  };
}

/** The options of a node, with what the environment adds where nothing is said. */
export function withEnvironment(options: NodeOptions, environment: NodeEnvironment): NodeOptions {
  const { env, secret } = options;
  return {
    ...options,
    env: env === undefined && environment.env.length > 0 ? environment.env : env,
    secret: secret ?? environment.secret,
  };
}

function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(/[\s,]+/).filter((word) => word !== '');
}
