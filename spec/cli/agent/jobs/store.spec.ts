import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type JobRecord, lostEnd, parseRecord } from '../../../../lib/cli/agent/jobs/record.js';
import { JobStore } from '../../../../lib/cli/agent/jobs/store.js';

const ID = '01890a5d-ac96-774b-bcce-b302099a8057';
const OTHER = '01890a5d-ac96-774b-bcce-b302099a8058';
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'jobs-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function record(more: Partial<JobRecord> = {}): JobRecord {
  return {
    id: ID,
    command: 'backup',
    params: { db: 'x' },
    env: {},
    input: false,
    owner: { id: 'node', name: 'ci' },
    state: 'starting',
    createdMs: 1,
    keepMs: 1_000,
    ...more,
  };
}

async function loaded(path: string): Promise<JobRecord[]> {
  return new JobStore(path).load(5, 7);
}

describe('jobs on disk', () => {
  it('are there again with their last record', async () => {
    const store = new JobStore(join(folder, 'jobs'));
    await store.load(0, 0);
    const log = await store.create(record());
    log.append(1, Buffer.from('hello'));
    await log.close();
    const ended = record({ state: 'ended', endedMs: 9, end: { kind: 'exited', exitCode: 3 }, outputBytes: 5 });
    await Promise.all([store.write(record({ state: 'running', process: { pid: 7 } })), store.write(ended)]);
    expect(await loaded(join(folder, 'jobs'))).toEqual([ended]);
    expect(await store.outputBytes(ID)).toBe(5);
    await store.remove(ID);
    await store.remove(ID);
    expect(await loaded(join(folder, 'jobs'))).toEqual([]);
  });

  it('are as before or as after a change when that was cut off at any byte', async () => {
    const jobs = join(folder, 'jobs');
    const store = new JobStore(jobs);
    await store.load(0, 0);
    await (await store.create(record())).close();
    const after = record({ state: 'running', process: { pid: 7, ticks: '1', boot: 'b' } });
    const text = `${JSON.stringify(after)}\n`;
    for (let length = 0; length <= text.length; length++) {
      // The write of the new file is cut off.
      const copy = join(folder, `copy-${length}`);
      cpSync(jobs, copy, { recursive: true });
      writeFileSync(join(copy, ID, 'job.json.new'), text.slice(0, length));
      expect(await loaded(copy)).toEqual([record()]);
      rmSync(copy, { recursive: true });
    }
    await store.write(after);
    expect(await loaded(jobs)).toEqual([after]);
    expect(readdirSync(join(jobs, ID)).sort()).toEqual(['job.json', 'output']);
  });

  it('are not there when the crash came while they were made, and gone when it came while they were removed', async () => {
    const jobs = join(folder, 'jobs');
    mkdirSync(join(jobs, `new-${ID}`), { recursive: true });
    writeFileSync(join(jobs, `new-${ID}`, 'job.json'), '{"id"');
    mkdirSync(join(jobs, `old-${OTHER}`));
    mkdirSync(join(jobs, 'lost+found'));
    expect(await loaded(jobs)).toEqual([]);
    expect(readdirSync(jobs)).toEqual(['lost+found']);
  });

  it('can be made when an attempt before was cut off', async () => {
    const jobs = join(folder, 'jobs');
    mkdirSync(join(jobs, `new-${ID}`), { recursive: true });
    writeFileSync(join(jobs, `new-${ID}`, 'output'), 'rest');
    const store = new JobStore(jobs);
    await (await store.create(record())).close();
    expect(await store.outputBytes(ID)).toBe(0);
    await expect(store.create(record())).rejects.toThrow();
    expect(existsSync(join(jobs, `new-${ID}`))).toBe(false);
    expect(await loaded(jobs)).toEqual([record()]);
  });

  it.each([
    ['nothing', ''],
    ['no JSON', '{"id":'],
    ['zeros', '\0'.repeat(100)],
    ['another value', '[]'],
    ['the record of another job', JSON.stringify(record({ id: OTHER }))],
    ['a state that does not exist', JSON.stringify({ ...record(), state: 'x' })],
    ['an end without a kind', JSON.stringify({ ...record(), state: 'ended', endedMs: 1, end: {} })],
  ])('count as lost, and can be removed, when their record holds %s', async (_what, text) => {
    const jobs = join(folder, 'jobs');
    mkdirSync(join(jobs, ID), { recursive: true });
    writeFileSync(join(jobs, ID, 'job.json'), text);
    const [found] = await loaded(jobs);
    expect(found).toMatchObject({
      id: ID,
      state: 'ended',
      endedMs: 5,
      keepMs: 7,
      end: { kind: 'lost', error: { code: 'ERR_STARLANE_JOB_LOST' } },
    });
    await new JobStore(jobs).remove(ID);
    expect(readdirSync(jobs)).toEqual([]);
  });

  it('count as lost without any record', async () => {
    mkdirSync(join(folder, ID));
    expect(await loaded(folder)).toMatchObject([
      { id: ID, state: 'ended', end: lostEnd('what the host has kept of it cannot be read') },
    ]);
  });

  it('have records that are one line of JSON, which only this user may read', async () => {
    const store = new JobStore(join(folder, 'jobs'));
    await store.load(0, 0);
    await (await store.create(record())).close();
    const text = readFileSync(join(folder, 'jobs', ID, 'job.json'), 'utf8');
    expect(text.trimEnd().split('\n')).toHaveLength(1);
    expect(parseRecord(ID, text)).toEqual(record());
  });
});
