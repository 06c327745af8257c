// What a command does with a node for as long as it runs: publish a service, forward a port, serve a page.

import type { Log } from '../log.js';
import type { Overlay } from './overlay.js';

export interface TaskHost {
  readonly overlay: Overlay;
  readonly log: Log;
  /** Ends everything with this error, as when a program that was to be published cannot be started. */
  fail(error: Error): void;
}

/** A task as the command line or the file asks for it: values of flags are plain data. */
export interface NodeWork {
  /** The name of the command. */
  readonly command: string;
  readonly key: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Task {
  /** For logs and `starlane status`: `publish web`. Unique in a process. */
  readonly title: string;
  /** Set where it needs the node itself, and not only what it offers: then the process with the node does it. */
  readonly nodeWork?: NodeWork | undefined;
  /** Resolves when it works. @throws Failure, or an error with a code such as EADDRINUSE */
  start(host: TaskHost): Promise<void>;
  /**
   * Takes over the values of another task with the same title, without losing a stream.
   * Returns false where that cannot be done: then this one is stopped and the other one started.
   */
  update?(next: Task): Promise<boolean>;
  /** Takes no more work, and resolves when what is under way has ended, or was ended because the signal is aborted. */
  stop(signal: AbortSignal): Promise<void>;
  /** Plain data for `starlane status`. */
  status(): Readonly<Record<string, unknown>>;
}
