// The tasks of a process: what is new is started, what is gone is stopped, what has changed is changed in place where that can be done.

import { ExitCode, Failure, lineOf } from '../failure.js';
import type { Task, TaskHost } from './task.js';

/** How long streams of a task that a reload removes may go on. */
const STOP_MS = 60_000;

export class TaskSet {
  private readonly tasks = new Map<string, Task>();
  /** Tasks of other commands. */
  private readonly guests = new Map<string, Task>();
  /** One change at a time. */
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly taskHost: TaskHost) {}

  /**
   * Changes the tasks to these. When one cannot be started, the others go on.
   * @throws the first error of a start, after all have been tried
   */
  replace(next: readonly Task[]): Promise<void> {
    const change = this.last.then(() => this.change(next));
    this.last = change.catch(() => {});
    return change;
  }

  /**
   * Starts a task for another command, beside those of this one.
   * @throws Failure when there is one with its title; what its start fails with
   */
  async host(task: Task, onFailed: (error: Error) => void): Promise<void> {
    if (this.tasks.has(task.title) || this.guests.has(task.title)) {
      throw new Failure(`${task.title} is already done by the process with the node`, ExitCode.BUSY);
    }
    this.guests.set(task.title, task);
    try {
      await task.start({ ...this.taskHost, fail: onFailed });
    } catch (error) {
      this.guests.delete(task.title);
      throw error;
    }
  }

  /** Ends a task of another command, which has gone. */
  async unhost(task: Task): Promise<void> {
    this.guests.delete(task.title);
    await task.stop(AbortSignal.timeout(STOP_MS));
  }

  async stop(signal: AbortSignal): Promise<void> {
    // A start may wait for a node that never answers.
    await Promise.race([this.last, aborted(signal)]);
    await Promise.all(this.all().map((task) => task.stop(signal)));
    this.tasks.clear();
    this.guests.clear();
  }

  status(): Readonly<Record<string, unknown>>[] {
    return this.all().map((task) => ({ task: task.title, ...task.status() }));
  }

  private all(): Task[] {
    return [...this.tasks.values(), ...this.guests.values()];
  }

  private async change(next: readonly Task[]): Promise<void> {
    const byTitle = new Map(next.map((task) => [task.title, task]));
    for (const [title, task] of [...this.tasks]) {
      if (byTitle.has(title)) continue;
      this.tasks.delete(title);
      this.stopLater(task);
    }
    const faults: unknown[] = [];
    for (const task of byTitle.values()) {
      try {
        await this.put(task);
      } catch (error) {
        faults.push(error);
        if (faults.length > 1) this.taskHost.log.error(`${task.title}: ${lineOf(error)}`);
      }
    }
    if (faults.length > 0) throw faults[0];
  }

  private async put(task: Task): Promise<void> {
    const present = this.tasks.get(task.title);
    if (present !== undefined) {
      if ((await present.update?.(task)) === true) return;
      this.tasks.delete(task.title);
      // Its port or name must be free before the next one starts; its streams go on.
      this.stopLater(present);
    }
    await task.start(this.taskHost);
    this.tasks.set(task.title, task);
  }

  private stopLater(task: Task): void {
    task.stop(AbortSignal.timeout(STOP_MS)).catch((error) => this.taskHost.log.warn(`${task.title}: ${lineOf(error)}`));
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
