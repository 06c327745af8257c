// A file system in memory that crashes as a real one may: what was not synced is lost, or is there, or half of it. It has what Invitations
// uses, and can fail before or after any of its operations.

import type { Files } from '../../lib/node/enrolment/invitations.js';

interface Content {
  text: string;
  /** What is on the disk; undefined: nothing certain. */
  synced: string | undefined;
}

/** A change to the folder that is not on the disk yet. */
interface Change {
  readonly name: string;
  readonly content: Content | undefined;
}

export class CrashError extends Error {
  override readonly message = 'crash';
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** One folder; paths count by their last part. */
export class LossyFiles {
  /** The operations so far. */
  operations = 0;
  /** At which operation it crashes, and whether that still happens. */
  crashAt: { readonly operation: number; readonly isDone: boolean } | undefined;
  private isDown = false;
  private readonly synced = new Map<string, Content>();
  private readonly current = new Map<string, Content>();
  private changes: Change[] = [];

  /** @param random decides what a crash leaves of what was not synced */
  constructor(private readonly random: () => number) {}

  /** What a process uses. After a crash it is of no use any more. */
  get files(): Files {
    return {
      mkdir: async () => undefined,
      readdir: (async () => this.run(() => [...this.current.keys()])) as unknown as Files['readdir'],
      readFile: (async (path: string) =>
        this.run(() => {
          const content = this.current.get(nameOf(path));
          if (content === undefined) throw failure('ENOENT');
          return content.text;
        })) as Files['readFile'],
      link: async (from, to) => this.run(() => this.link(nameOf(String(from)), nameOf(String(to)))),
      unlink: async (path) => this.run(() => this.unlink(nameOf(String(path)))),
      open: async (path, flags) => (flags === 'r' ? this.folder() : this.run(() => this.create(nameOf(path)))),
    };
  }

  get names(): string[] {
    return [...this.current.keys()];
  }

  /** Goes on after a process has crashed: what it has done is there. */
  resume(): void {
    this.isDown = false;
    this.crashAt = undefined;
  }

  /** Comes up after the power was cut: what was not synced is lost, or is there. */
  restart(): void {
    this.resume();
    for (const { name, content } of this.changes) {
      if (this.random() < 0.5) continue;
      if (content === undefined) this.synced.delete(name);
      else this.synced.set(name, content);
    }
    this.changes = [];
    this.current.clear();
    for (const [name, content] of this.synced) {
      if (content.synced === undefined)
        content.text = content.text.slice(0, Math.floor(this.random() * (content.text.length + 1)));
      else content.text = content.synced;
      content.synced = content.text;
      this.current.set(name, content);
    }
  }

  private run<Value>(operation: () => Value): Value {
    if (this.isDown) throw new CrashError();
    const isCrash = this.operations++ === this.crashAt?.operation;
    if (isCrash) this.isDown = true;
    if (isCrash && this.crashAt?.isDone === false) throw new CrashError();
    const value = operation();
    if (isCrash) throw new CrashError();
    return value;
  }

  private change(name: string, content: Content | undefined): void {
    if (content === undefined) this.current.delete(name);
    else this.current.set(name, content);
    this.changes.push({ name, content });
  }

  private link(from: string, to: string): void {
    const content = this.current.get(from);
    if (content === undefined) throw failure('ENOENT');
    if (this.current.has(to)) throw failure('EEXIST');
    this.change(to, content);
  }

  private unlink(name: string): void {
    if (!this.current.has(name)) throw failure('ENOENT');
    this.change(name, undefined);
  }

  private create(name: string): Awaited<ReturnType<Files['open']>> {
    if (this.current.has(name)) throw failure('EEXIST');
    const content: Content = { text: '', synced: undefined };
    this.change(name, content);
    return {
      writeFile: async (text) =>
        this.run(() => {
          content.text = String(text);
        }),
      sync: async () =>
        this.run(() => {
          content.synced = content.text;
        }),
      close: async () => {},
    };
  }

  private folder(): Awaited<ReturnType<Files['open']>> {
    return {
      writeFile: async () => {},
      sync: async () =>
        this.run(() => {
          for (const { name, content } of this.changes) {
            if (content === undefined) this.synced.delete(name);
            else this.synced.set(name, content);
          }
          this.changes = [];
        }),
      close: async () => {},
    };
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
