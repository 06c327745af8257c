// The jobs of a host, with programs that the spec plays, and its clock.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SILENCE_MS } from '../../../../lib/cli/agent/jobs/job.js';
import { HandJobs, jobCaller, jobCommand, jobId, jobRequest } from '../../../support/hand-jobs.js';

const ci = jobCaller('ci');
const other = jobCaller('other');
const boss = jobCaller('boss', { maySee: () => true, mayStart: () => false });
const ID = jobId(1);

let host: HandJobs;
afterEach(() => host?.dispose());

describe('a job', () => {
  it('runs, keeps both outputs, and ends with the exit code', async () => {
    host = await HandJobs.open();
    const started = await host.jobs.submit(ID, jobRequest({ params: { db: 'orders' } }), ci);
    expect(started).toMatchObject({ id: ID, state: 'running', owner: { id: 'ci', name: 'ci' }, inputOpen: false });
    expect(host.last.argv).toEqual(['/usr/bin/backup', 'orders']);
    host.last.stdout.write('out');
    host.last.stderr.write('err');
    host.last.exit(3);
    await host.ended(ID, ci);
    expect(host.jobs.status(ID, ci)).toMatchObject({
      state: 'ended',
      end: { kind: 'exited', exitCode: 3 },
      outputBytes: 6,
    });
    expect(await host.output(ID, ci)).toEqual({ stdout: 'out', stderr: 'err' });
    expect(host.jobs.status(ID, ci)).not.toHaveProperty('process');
  });

  it('ends by a signal', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    host.last.exit(null, 'SIGSEGV');
    await host.ended(ID, ci);
    expect(host.jobs.status(ID, ci).end).toEqual({ kind: 'signalled', signal: 'SIGSEGV' });
  });

  it('is started once by the same id, at once or later, and after a restart', async () => {
    host = await HandJobs.open();
    const answers = await Promise.all([1, 2, 3].map(() => host.jobs.submit(ID, jobRequest(), ci)));
    expect(answers.map(({ state }) => state)).toEqual(['running', 'running', 'running']);
    host.last.exit(0);
    await host.ended(ID, ci);
    expect(await host.jobs.submit(ID, jobRequest(), ci)).toMatchObject({ state: 'ended', end: { exitCode: 0 } });
    await host.restart();
    expect(await host.jobs.submit(ID, jobRequest(), ci)).toMatchObject({ state: 'ended', end: { exitCode: 0 } });
    await host.jobs.remove(ID, ci);
    await expect(host.jobs.submit(ID, jobRequest(), ci)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(host.processes).toHaveLength(1);
  });

  it('does not give its id to another job or to another caller', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    await expect(host.jobs.submit(ID, jobRequest({ params: { db: 'x' } }), ci)).rejects.toMatchObject({
      code: 'EEXIST',
    });
    await expect(host.jobs.submit(ID, jobRequest(), other)).rejects.toMatchObject({ code: 'EACCES' });
    expect(host.processes).toHaveLength(1);
  });

  it.each(['', '../x', jobId(1).toUpperCase().replace('0', 'A'), `${jobId(1)}/..`, 'x'.repeat(36)])(
    'is not started with the id %p',
    async (id) => {
      host = await HandJobs.open();
      await expect(host.jobs.submit(id, jobRequest(), ci)).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    },
  );

  it('is cancelled: asked to end, and then as it ends', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    host.jobs.cancel(ID, ci);
    host.jobs.cancel(ID, ci);
    expect(host.last.stops).toBe(1);
    expect(host.jobs.status(ID, ci).state).toBe('running');
    host.last.exit(null, 'SIGTERM');
    await host.ended(ID, ci);
    expect(host.jobs.cancel(ID, ci).end).toEqual({
      kind: 'cancelled',
      signal: 'SIGTERM',
      error: { code: 'ERR_STARLANE_JOB', message: 'it was cancelled by ci' },
    });
  });

  it('is ended when its time is over, and not before', async () => {
    host = await HandJobs.open([jobCommand({ timeoutMs: 5_000 })]);
    await host.jobs.submit(ID, jobRequest(), ci);
    host.clock.advance(4_900);
    expect(host.last.stops).toBe(0);
    host.clock.advance(200);
    expect(host.last.stops).toBe(1);
    // It takes its time, and has an exit code.
    host.last.exit(0);
    await host.ended(ID, ci);
    expect(host.jobs.status(ID, ci).end).toMatchObject({
      kind: 'timed-out',
      exitCode: 0,
      error: { code: 'ERR_STARLANE_JOB' },
    });
  });

  it('keeps as much output as it may have to the byte, and is ended with the next one', async () => {
    host = await HandJobs.open([jobCommand({ maxOutputBytes: 10 })]);
    await host.jobs.submit(ID, jobRequest(), ci);
    host.last.stdout.write('12345');
    await host.printed(ID, ci, 5);
    host.last.stderr.write('67890');
    await host.printed(ID, ci, 10);
    expect(host.last.stops).toBe(0);
    host.last.stdout.write('x');
    host.last.stdout.write('y'.repeat(100_000));
    host.last.exit(null, 'SIGTERM');
    await host.ended(ID, ci);
    expect(host.last.stops).toBe(1);
    expect(host.jobs.status(ID, ci)).toMatchObject({ outputBytes: 10, end: { kind: 'output-limit' } });
    expect(await host.output(ID, ci)).toEqual({ stdout: '12345', stderr: '67890' });
  });

  it('ends although a process that is none of its own holds its output open', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    host.last.stdout.write('all');
    await host.printed(ID, ci, 3);
    host.last.exit(0, null, true);
    await new Promise((resolve) => setImmediate(resolve));
    expect(host.jobs.status(ID, ci).state).toBe('running');
    host.clock.advance(SILENCE_MS + 20);
    await host.ended(ID, ci);
    expect(host.jobs.status(ID, ci).end).toEqual({ kind: 'exited', exitCode: 0 });
  });

  it('that cannot be started has that end, and can be released at once and after a restart (receptor#363)', async () => {
    host = await HandJobs.open();
    host.failure = Object.assign(new Error('spawn'), { code: 'ENOENT' });
    const end = { kind: 'not-started', error: { code: 'ERR_STARLANE_JOB', message: 'the program is missing' } };
    expect(await host.jobs.submit(ID, jobRequest(), ci)).toMatchObject({ state: 'ended', end });
    expect(host.jobs.cancel(ID, ci).end).toEqual(end);
    await host.jobs.submit(jobId(2), jobRequest(), ci);
    await host.jobs.remove(ID, ci);
    await host.restart();
    expect(host.jobs.list(ci).map(({ id }) => id)).toEqual([jobId(2)]);
    await host.jobs.remove(jobId(2), ci);
    expect(host.jobs.list(ci)).toEqual([]);
  });

  it('that cannot be written down is refused, and has not run', async () => {
    host = await HandJobs.open();
    rmSync(join(host.folder, 'jobs'), { recursive: true });
    await expect(host.jobs.submit(ID, jobRequest(), ci)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(host.processes).toHaveLength(0);
    expect(host.jobs.list(ci)).toEqual([]);
  });

  it('that runs is not removed', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    await expect(host.jobs.remove(ID, ci)).rejects.toMatchObject({ code: 'EBUSY' });
  });
});

describe('after a restart of the agent', () => {
  it('a job that ran is lost, with its output, and is never shown as running (receptor#711)', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    host.last.stdout.write('half');
    await host.printed(ID, ci, 4);
    await host.output(ID, ci);
    await host.restart();
    expect(host.jobs.status(ID, ci)).toMatchObject({
      state: 'ended',
      outputBytes: 4,
      end: { kind: 'lost', error: { code: 'ERR_STARLANE_JOB_LOST' } },
    });
    expect((await host.output(ID, ci, 2)).stdout).toBe('lf');
    const before = host.jobs.status(ID, ci);
    host.clock.advance(1_000);
    await host.restart();
    expect(host.jobs.status(ID, ci)).toEqual(before);
  });

  it('jobs are cancelled and removed as before (receptor#180)', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    await host.jobs.submit(jobId(2), jobRequest(), ci);
    host.last.exit(0);
    await host.ended(jobId(2), ci);
    await host.restart();
    expect(host.jobs.cancel(ID, ci).end).toMatchObject({ kind: 'lost' });
    expect(host.jobs.cancel(jobId(2), ci).end).toMatchObject({ kind: 'exited' });
    await host.jobs.remove(ID, ci);
    await host.jobs.remove(jobId(2), ci);
    await host.restart();
    expect(host.jobs.list(ci)).toEqual([]);
  });

  it('jobs can be removed whose command is no longer declared', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    host.last.exit(0);
    await host.ended(ID, ci);
    await host.restart([]);
    expect(host.jobs.status(ID, ci).end).toMatchObject({ kind: 'exited' });
    await host.jobs.remove(ID, ci);
  });

  it('of an agent that is stopped, its jobs were ended as lost, and no new ones taken', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    const aborter = new AbortController();
    const closed = host.jobs.close(aborter.signal);
    await expect(host.jobs.submit(jobId(2), jobRequest(), ci)).rejects.toMatchObject({ code: 'EAGAIN' });
    await new Promise((resolve) => setImmediate(resolve));
    expect([host.last.stops, host.last.kills]).toEqual([1, 0]);
    aborter.abort();
    expect(host.last.kills).toBe(1);
    host.last.exit(null, 'SIGKILL');
    await closed;
    await host.restart();
    expect(host.jobs.status(ID, ci).end).toMatchObject({
      kind: 'lost',
      error: { code: 'ERR_STARLANE_JOB_LOST', message: 'the agent was stopped while the job ran' },
    });
  });
});

describe('the input of a job', () => {
  it('ends it when its caller is gone for too long, and not while the caller is there', async () => {
    host = await HandJobs.open([jobCommand({ inputMs: 10_000 })]);
    await host.jobs.submit(ID, jobRequest({ input: true }), ci);
    const read = host.last.stdin?.resume();
    for (let turn = 0; turn < 5; turn++) {
      host.clock.advance(9_000);
      expect(await host.jobs.takeInput(ID, 2 * turn, Buffer.from('ab'), false, ci)).toEqual({
        position: 2 * turn + 2,
        open: true,
      });
    }
    expect(read?.readableEnded).toBe(false);
    host.clock.advance(10_100);
    expect(host.last.stops).toBe(1);
    host.last.exit(null, 'SIGTERM');
    await host.ended(ID, ci);
    expect(host.jobs.status(ID, ci)).toMatchObject({ inputBytes: 10, inputOpen: false, end: { kind: 'input-lost' } });
  });

  it('is not waited for when it has ended, or when the program reads no more', async () => {
    host = await HandJobs.open([jobCommand({ inputMs: 10_000 })]);
    await host.jobs.submit(ID, jobRequest({ input: true }), ci);
    host.last.stdin?.resume();
    expect(await host.jobs.takeInput(ID, 0, Buffer.from('x'), true, ci)).toEqual({ position: 1, open: false });
    await host.jobs.submit(jobId(2), jobRequest({ input: true }), ci);
    host.last.stdin?.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await host.jobs.takeInput(jobId(2), 0, Buffer.from('x'), false, ci)).toEqual({ position: 0, open: false });
    host.clock.advance(20_000);
    expect(host.processes.map(({ stops }) => stops)).toEqual([0, 0]);
  });

  it('comes from the caller that started it, and only where the command takes it', async () => {
    host = await HandJobs.open([jobCommand(), jobCommand({ name: 'deaf', stdin: false })]);
    await host.jobs.submit(ID, jobRequest({ input: true }), ci);
    const all = jobCaller('x', { maySee: () => true });
    expect(() => host.jobs.takeInput(ID, 0, Buffer.from('x'), false, all)).toThrow('only the caller that started');
    const deaf = await host.jobs.submit(jobId(2), jobRequest({ command: 'deaf', input: true }), ci);
    expect(deaf).toMatchObject({ input: false, inputOpen: false });
    await expect(host.jobs.takeInput(jobId(2), 0, Buffer.from('x'), false, ci)).rejects.toMatchObject({
      code: 'ERR_STARLANE_JOB',
    });
  });
});

describe('callers', () => {
  it('see and end their own jobs only, unless they may do so with all', async () => {
    host = await HandJobs.open();
    await host.jobs.submit(ID, jobRequest(), ci);
    for (const act of [
      () => host.jobs.status(ID, other),
      () => host.jobs.find(ID, other),
      () => host.jobs.cancel(ID, other),
    ]) {
      expect(act).toThrow(expect.objectContaining({ code: 'EACCES' }));
    }
    await expect(host.jobs.remove(ID, other)).rejects.toMatchObject({ code: 'EACCES' });
    expect(host.jobs.list(other)).toEqual([]);
    expect(host.jobs.list(boss)).toHaveLength(1);
    host.jobs.cancel(ID, boss);
    host.last.exit(null, 'SIGTERM');
    await host.ended(ID, boss);
    expect(host.jobs.status(ID, ci).end?.error?.message).toBe('it was cancelled by boss');
    await host.jobs.remove(ID, boss);
  });

  it('do not learn whether a command is there that they may not start', async () => {
    host = await HandJobs.open();
    for (const command of ['backup', 'nothing', '__proto__']) {
      await expect(host.jobs.submit(ID, jobRequest({ command }), boss)).rejects.toMatchObject({
        code: 'EACCES',
        message: `the host has no command "${command}" that its rules let you start; starlane job commands HOST lists those`,
      });
    }
    expect(host.jobs.commandsFor(boss)).toEqual([]);
    expect(host.jobs.commandsFor(ci)).toHaveLength(1);
  });

  it('have limits: of their own, of a command, and of the host', async () => {
    host = await HandJobs.open([jobCommand({ maxRunning: 2 }), jobCommand({ name: 'more' })], {
      maxRunning: 4,
      maxRunningPerCaller: 3,
    });
    let number = 0;
    const submit = (command: string, caller = ci) => host.jobs.submit(jobId(++number), jobRequest({ command }), caller);
    await submit('backup');
    await submit('backup');
    await expect(submit('backup')).rejects.toMatchObject({
      code: 'EAGAIN',
      message: '2 jobs of backup run, and no more may',
    });
    await submit('more');
    await expect(submit('more')).rejects.toMatchObject({
      code: 'EAGAIN',
      message: '3 jobs of yours run, and no more may',
    });
    await submit('more', other);
    await expect(submit('more', other)).rejects.toMatchObject({
      code: 'EAGAIN',
      message: '4 jobs run on this host, and no more may',
    });
    host.processes[0].exit(0);
    await host.ended(jobId(1), ci);
    await submit('backup', other);
  });
});

describe('jobs that have ended', () => {
  async function run(number: number, caller = ci, text = ''): Promise<void> {
    await host.jobs.submit(jobId(number), jobRequest(), caller);
    if (text !== '') host.last.stdout.write(text);
    host.last.exit(0);
    await host.ended(jobId(number), caller);
    host.clock.advance(10);
  }
  async function kept(): Promise<number[]> {
    await host.pruned();
    return host.jobs.list(boss).map(({ id }) => Number(id.slice(-4)));
  }

  it('are removed when their time is over, also over a restart', async () => {
    host = await HandJobs.open([jobCommand({ keepMs: 100_000 })]);
    await run(1);
    host.clock.advance(90_000);
    await run(2);
    expect(await kept()).toEqual([1, 2]);
    host.clock.advance(60_000);
    expect(await kept()).toEqual([2]);
    host.clock.advance(100_000);
    await host.restart();
    expect(await kept()).toEqual([]);
  });

  it('are removed when there are too many, the oldest first', async () => {
    host = await HandJobs.open([jobCommand()], { maxKept: 3 });
    for (let number = 1; number <= 5; number++) await run(number);
    expect(await kept()).toEqual([3, 4, 5]);
  });

  it('are removed when their output is too large, the oldest first, but never the last one', async () => {
    host = await HandJobs.open([jobCommand()], { maxKeptBytes: 1_000 });
    await run(1, ci, 'x'.repeat(600));
    await run(2, ci, 'x'.repeat(500));
    expect(await kept()).toEqual([2]);
    await host.restart([jobCommand()], { maxKeptBytes: 10 });
    expect(await kept()).toEqual([2]);
  });

  it('of a caller with many go before those of others', async () => {
    host = await HandJobs.open([jobCommand()], { maxKept: 6 });
    await run(1, other);
    for (let number = 2; number <= 9; number++) await run(number);
    expect(await kept()).toEqual([1, 7, 8, 9]);
  });
});
