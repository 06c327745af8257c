// What is known of an app besides its files: on disk, and read again when the agent starts.

import { readState, writeState } from '../folder.js';

export interface KeptVersion {
  readonly number: number;
  readonly version: string;
  /** SHA-256 of the manifest, in hex. */
  readonly digest: string;
  readonly signer: string;
  readonly bytes: number;
  readonly installedMs: number;
}

export interface AppState {
  /** The highest number that was ever taken: older bundles are refused, also after the app was removed. */
  readonly highest: number;
  readonly versions: readonly KeptVersion[];
  /** The number of the version that runs, or would run. */
  readonly current: number | undefined;
  /** The one before it. */
  readonly previous: number | undefined;
  /** A version that is being tried: if the agent ends meanwhile, the previous one runs again. */
  readonly trial: boolean;
  /** Whether it is to run. */
  readonly wanted: boolean;
  /** The process group that runs it, to end what a killed agent has left. */
  readonly group: ProcessMark | undefined;
}

/** A process that is not mixed up with a later one that has the same id. */
export interface ProcessMark {
  readonly pid: number;
  /** When it was started, as the system counts; undefined where it does not say. */
  readonly started: string | undefined;
}

export const NEW_APP: AppState = {
  highest: 0,
  versions: [],
  current: undefined,
  previous: undefined,
  trial: false,
  wanted: false,
  group: undefined,
};

/** Returns the state of an app; that of a new one where none is kept. */
export function readAppState(path: string): AppState {
  const value = readState(path);
  if (typeof value !== 'object' || value === null) return NEW_APP;
  return { ...NEW_APP, ...(value as Partial<AppState>) };
}

export function writeAppState(path: string, state: AppState): void {
  writeState(path, state);
}
