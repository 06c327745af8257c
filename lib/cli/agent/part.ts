// A part of the agent: apps, jobs. It serves routes, starts with the agent, and ends with it.

import type { Log } from '../log.js';
import type { Overlay } from '../run/overlay.js';
import type { AgentFolder } from './folder.js';
import type { AgentOptions } from './options.js';
import type { Route } from './routes.js';

/** What the agent gives to its parts. */
export interface AgentHost {
  readonly overlay: Overlay;
  readonly log: Log;
  readonly folder: AgentFolder;
  /** The environment of the agent. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** As they are now: a reload changes them. */
  readonly options: AgentOptions;
}

export interface AgentPart {
  readonly routes: readonly Route[];
  /** Takes up what an earlier run has left. Called before the first request. */
  start(host: AgentHost): Promise<void>;
  /** The options have changed. */
  onOptions?(): void;
  /** Ends what runs, within the time that each has, or at once when the signal is aborted. No request comes any more. */
  stop(signal: AbortSignal): Promise<void>;
  /** Plain data for `starlane status`. */
  status(): Readonly<Record<string, unknown>>;
}
