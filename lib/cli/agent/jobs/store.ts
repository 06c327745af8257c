// The jobs of a host on disk: a folder for each, with its record and its output.
//
//   <folder>/<id>/job.json     the record, replaced as a whole
//   <folder>/<id>/output       see output-log.ts
//   <folder>/new-<id>          a job that is being made
//   <folder>/old-<id>          a job that is being removed
//
// Folders appear and disappear by their names, and the record by that of its file, so that a crash at any point leaves a job as it was before
// or as it is after a change.

import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../../errors.js';
import { OutputLog, type OutputReader, outputBytesOf, readOutput } from './output-log.js';
import { isJobId, type JobRecord, parseRecord, unreadableRecord } from './record.js';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const RECORD = 'job.json';
const OUTPUT = 'output';
/** A record has parameters in it. */
const MAX_RECORD_BYTES = 4 * 1024 * 1024;

export class JobStore {
  private readonly writes = new Map<string, Promise<unknown>>();

  constructor(private readonly folder: string) {}

  /**
   * Returns the records of all jobs, and removes what was half made or half removed. `unreadableMs`: how long a job is kept whose record
   * cannot be read.
   * @throws as node:fs
   */
  async load(nowMs: number, unreadableMs: number): Promise<JobRecord[]> {
    await mkdir(this.folder, { recursive: true, mode: FOLDER_MODE });
    const records: JobRecord[] = [];
    for (const name of await readdir(this.folder)) {
      if (/^(new|old)-/.test(name)) await rm(join(this.folder, name), { recursive: true, force: true });
      else if (isJobId(name))
        records.push((await this.readRecord(name)) ?? unreadableRecord(name, nowMs, unreadableMs));
    }
    return records;
  }

  /** Makes a job, on the disk when this resolves. @throws as node:fs */
  async create(record: JobRecord): Promise<OutputLog> {
    const { id } = record;
    const fresh = join(this.folder, `new-${id}`);
    try {
      await rm(fresh, { recursive: true, force: true });
      await mkdir(fresh, { mode: FOLDER_MODE });
      await writeSynced(join(fresh, RECORD), textOf(record));
      const log = await OutputLog.create(join(fresh, OUTPUT));
      try {
        await syncFolder(fresh);
        await rename(fresh, this.folderOf(id));
        await syncFolder(this.folder);
      } catch (error) {
        await log.close();
        throw error;
      }
      return log.movedTo(join(this.folderOf(id), OUTPUT));
    } catch (error) {
      await rm(fresh, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
  }

  /** Replaces the record, on the disk when this resolves. Later calls follow earlier ones. @throws as node:fs */
  write(record: JobRecord): Promise<void> {
    return this.inOrder(record.id, async () => {
      const folder = this.folderOf(record.id);
      await writeSynced(join(folder, `${RECORD}.new`), textOf(record));
      await rename(join(folder, `${RECORD}.new`), join(folder, RECORD));
      await syncFolder(folder);
    });
  }

  /** Removes a job. @throws as node:fs, but not when it is not there */
  remove(id: string): Promise<void> {
    return this.inOrder(id, async () => {
      const old = join(this.folder, `old-${id}`);
      await rm(old, { recursive: true, force: true });
      try {
        await rename(this.folderOf(id), old);
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
      }
      await rm(old, { recursive: true, force: true });
    });
  }

  /** Returns a reader of the output of a job that has ended. */
  readOutput(id: string, from: number): OutputReader {
    return readOutput(join(this.folderOf(id), OUTPUT), from);
  }

  /** Returns how much output of a job is there. @throws as node:fs */
  outputBytes(id: string): Promise<number> {
    return outputBytesOf(join(this.folderOf(id), OUTPUT));
  }

  private folderOf(id: string): string {
    return join(this.folder, id);
  }

  private async readRecord(id: string): Promise<JobRecord | undefined> {
    try {
      const bytes = await readFile(join(this.folderOf(id), RECORD));
      return bytes.length > MAX_RECORD_BYTES ? undefined : parseRecord(id, bytes.toString());
    } catch {
      return undefined;
    }
  }

  private inOrder(id: string, change: () => Promise<void>): Promise<void> {
    const before = this.writes.get(id) ?? Promise.resolve();
    const after = before.catch(() => {}).then(change);
    this.writes.set(id, after);
    const forget = () => {
      if (this.writes.get(id) === after) this.writes.delete(id);
    };
    after.then(forget, forget);
    return after;
  }
}

function textOf(record: JobRecord): string {
  return `${JSON.stringify(record)}\n`;
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
