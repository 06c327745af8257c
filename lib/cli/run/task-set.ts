// The tasks of a process: what is new is started, what is gone is stopped, what has changed is changed in place where that can be done.

import { lineOf } from '../failure.js';
import type { Task, TaskHost } from './task.js';

/** How long streams of a task that a reload removes may go on. */
const STOP_MS = 60_000;

export class TaskSet {
  private readonly tasks = new Map<string, Task>();
  /** One change at a time. */
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly host: TaskHost) {}

  /**
   * Changes the tasks to these. When one cannot be started, the others go on.
   * @throws the first error of a start, after all have been tried
   */
  replace(next: readonly Task[]): Promise<void> {
    const change = this.last.then(() => this.change(next));
    this.last = change.catch(() => {});
    return change;
  }

  async stop(signal: AbortSignal): Promise<void> {
    await this.last;
    await Promise.all([...this.tasks.values()].map((task) => task.stop(signal)));
    this.tasks.clear();
  }

  status(): Readonly<Record<string, unknown>>[] {
    return [...this.tasks.values()].map((task) => ({ task: task.title, ...task.status() }));
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
        if (faults.length > 1) this.host.log.error(`${task.title}: ${lineOf(error)}`);
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
    await task.start(this.host);
    this.tasks.set(task.title, task);
  }

  private stopLater(task: Task): void {
    task.stop(AbortSignal.timeout(STOP_MS)).catch((error) => this.host.log.warn(`${task.title}: ${lineOf(error)}`));
  }
}
