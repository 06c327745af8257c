// What is known of an app besides its files: on disk, and read again when the agent starts.

import { existsSync } from 'node:fs';
import { starlaneError } from '../../../errors.js';
import { readState, writeState } from '../folder.js';
import type { ProcessIdentity } from '../process-identity.js';

export interface KeptVersion {
  readonly number: number;
  readonly version: string;
  /** SHA-256 of the manifest, in hex. */
  readonly digest: string;
  readonly signer: string;
  readonly bytes: number;
  readonly installedMs: number;
}

/** What a failed deployment goes back to. */
export type Before = Pick<AppState, 'current' | 'previous' | 'wanted'>;

export interface AppState {
  /** The highest number that was ever taken: older bundles are refused, also after the app was removed. */
  readonly highest: number;
  readonly versions: readonly KeptVersion[];
  /** The number of the version that runs, or would run. */
  readonly current: number | undefined;
  /** The one before it. */
  readonly previous: number | undefined;
  /** What was before a version that is being tried: if the agent ends meanwhile, it is so again. */
  readonly trial: Before | undefined;
  /** Whether it is to run. */
  readonly wanted: boolean;
  /** The process group that runs it, to end what a killed agent has left. */
  readonly group: ProcessIdentity | undefined;
}

export const NEW_APP: AppState = {
  highest: 0,
  versions: [],
  current: undefined,
  previous: undefined,
  trial: undefined,
  wanted: false,
  group: undefined,
};

/**
 * Returns the state of an app; that of a new one where none is kept.
 * @throws ERR_STARLANE_DEPLOY when there is one that cannot be read: the host would take old bundles again
 */
export function readAppState(path: string): AppState {
  const value = readState(path);
  if (value === undefined && !existsSync(path)) return NEW_APP;
  const state = { ...NEW_APP, ...(value as Partial<AppState> | undefined) };
  if (!Number.isSafeInteger(state.highest) || state.highest < 1 || !Array.isArray(state.versions))
    throw starlaneError('ERR_STARLANE_DEPLOY', `${path} is damaged`);
  return state;
}

export function writeAppState(path: string, state: AppState): void {
  writeState(path, state);
}
