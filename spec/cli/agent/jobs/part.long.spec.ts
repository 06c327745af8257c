// Jobs over circuits, with real programs: agents in this process, and links to them that are cut.

import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { v7 as uuid } from 'uuid';
import type { HostClient, HostRequest } from '../../../../lib/cli/agent/host-client.js';
import { sendInput } from '../../../../lib/cli/agent/jobs/caller/input-sender.js';
import { type JobHost, listJobs, RemoteJob } from '../../../../lib/cli/agent/jobs/caller/remote-job.js';
import type { JobConfig } from '../../../../lib/cli/agent/jobs/config.js';
import { FrameKind } from '../../../../lib/cli/agent/jobs/frames.js';
import { JobsPart } from '../../../../lib/cli/agent/jobs/part.js';
import { AgentNet } from '../../../support/agent-net.js';
import { until } from '../../../support/caller.js';
import { within } from '../../../support/deadline.js';

/** Generous: the machine may have much else to do. */
const LONG_MS = 120_000;
const ALLOW = [
  'members=n0 rights=jobs',
  'members=n2 rights=jobs',
  'members=n3 rights=status',
  'members=n4 rights=jobs,all-jobs',
];

/** A program of Node, whose parameters are its arguments. */
function program(body: string, more: Partial<JobConfig> = {}, ...args: string[]): JobConfig {
  return { run: [process.execPath, '-e', body, ...args], ...more };
}

const COMMANDS: Readonly<Record<string, JobConfig>> = {
  // Lines of both outputs, with pauses, so that they come in many pieces.
  print: program(
    `const line = (at, kind) => kind + at + ' ' + 'x'.repeat(at % 997) + '\\n';
     let at = 0;
     const turn = () => {
       for (let more = 0; more < 100 && at < 20000; more++, at++) (at % 3 === 0 ? process.stderr : process.stdout).write(line(at, at % 3 === 0 ? 'e' : 'o'));
       if (at < 20000) setTimeout(turn, 2);
     };
     turn();`,
  ),
  hash: program(
    `const hash = require('node:crypto').createHash('sha256');
     let bytes = 0;
     process.stdin.on('data', (data) => { hash.update(data); bytes += data.length; });
     process.stdin.on('end', () => console.log(bytes, hash.digest('hex')));`,
    { stdin: true },
  ),
  mark: { run: ['/bin/sh', '-c', 'echo once >> "$0"; sleep 0.2; cat "$0"', '{file}'], params: { file: '/[\\w/.-]+' } },
  sleep: { run: ['/bin/sleep', '600'], 'max-running': 10 },
  stubborn: { run: ['/bin/sh', '-c', 'trap "" TERM; echo ready; sleep 600 & wait; sleep 600'], grace: '200ms' },
  short: { run: ['/bin/sleep', '600'], timeout: '300ms' },
  flood: { run: ['/usr/bin/yes'], 'max-output': 0.5 },
  args: { run: ['/usr/bin/printf', '[%s]', '{a}', '{b}'], params: { a: '[^]*', b: { pattern: '[^]*', default: 'B' } } },
  missing: { run: ['/no/such/program'] },
  only: { run: ['/bin/true'], allow: 'n2' },
};

/** A host whose answers get lost: each output is cut off after some bytes, for a number of times. */
class LossyHost implements JobHost {
  cuts = 0;

  constructor(
    private readonly host: HostClient,
    private readonly maxCuts: number,
    private readonly bytesOfCut: (cut: number) => number,
  ) {}

  /** Every second one is carried out, and its answer lost. */
  private asked = 0;
  async ask(request: HostRequest): Promise<unknown> {
    const answer = await this.host.ask(request);
    if (this.asked++ % 2 === 0 && this.cuts < this.maxCuts) {
      this.cuts++;
      throw Object.assign(new Error('cut'), { code: 'ECONNRESET' });
    }
    return answer;
  }

  async open(request: HostRequest): Promise<IncomingMessage> {
    const response = await this.host.open(request);
    if (this.cuts >= this.maxCuts) return response;
    let left = this.bytesOfCut(this.cuts++);
    const { push } = response;
    response.push = function (this: IncomingMessage, chunk: Buffer | null, ...rest: []) {
      if (chunk === null) return push.call(this, chunk, ...rest);
      if (left <= 0) return false;
      const more = push.call(this, chunk.subarray(0, left), ...rest);
      left -= chunk.length;
      if (left <= 0) this.socket.destroy();
      return more;
    } as typeof push;
    return response;
  }
}

let net: AgentNet;
afterEach(() => net.close(), LONG_MS);

async function open(commands: Readonly<Record<string, JobConfig>> = COMMANDS): Promise<void> {
  net = await AgentNet.of(5);
  await start(commands);
}

async function start(commands: Readonly<Record<string, JobConfig>> = COMMANDS): Promise<void> {
  await net.agent(1, { allow: ALLOW, jobs: JSON.stringify(commands) }, [new JobsPart()]);
}

interface Remote {
  readonly job: RemoteJob;
  readonly id: string;
}

function remote(from = 0, id: string = uuid(), host: JobHost = net.client(from, 1), patienceMs = 60_000): Remote {
  return { id, job: new RemoteJob(host, id, { hostName: 'n1', patienceMs }) };
}

const ask = (command: string, params: Record<string, string> = {}, input = false) => ({
  command,
  params,
  env: {},
  input,
});

/** Follows a job to its end. */
async function followed(job: RemoteJob, from = 0) {
  const outputs: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  const status = await job.follow(from, true, (kind, data) => {
    outputs[kind === FrameKind.STDERR ? 'stderr' : 'stdout'].push(data);
  });
  return {
    status,
    stdout: Buffer.concat(outputs.stdout).toString(),
    stderr: Buffer.concat(outputs.stderr).toString(),
  };
}

function printed(kind: 'o' | 'e'): string {
  let text = '';
  for (let at = 0; at < 20_000; at++) {
    if ((at % 3 === 0 ? 'e' : 'o') === kind) text += `${kind}${at} ${'x'.repeat(at % 997)}\n`;
  }
  return text;
}

describe('the output of a job', () => {
  it(
    'comes complete and to the byte over 10 cuts, for two readers, while it runs and afterwards',
    async () => {
      await open();
      const { job, id } = remote();
      await job.submit(ask('print'));
      const lossy = new LossyHost(net.client(0, 1), 10, (cut) => 100_000 + 137_777 * cut);
      const [one, two] = await Promise.all([
        followed(remote(0, id, lossy).job),
        followed(remote(0, id, new LossyHost(net.client(0, 1), 10, (cut) => 1 + 99_991 * cut)).job),
      ]);
      expect(lossy.cuts).toBe(10);
      const again = await followed(job);
      for (const found of [one, two, again]) {
        expect(found.stdout === printed('o')).toBe(true);
        expect(found.stderr === printed('e')).toBe(true);
        expect(found.status).toMatchObject({ state: 'ended', end: { kind: 'exited', exitCode: 0 } });
      }
      const whole = printed('o').length + printed('e').length;
      const tail = await followed(job, whole - 7);
      expect(tail.stdout.length + tail.stderr.length).toBe(7);
      expect(tail.status.outputBytes).toBe(whole);
      expect((await followed(job, whole + 1_000)).stdout).toBe('');
    },
    LONG_MS,
  );

  it(
    'is kept up to its limit, to the byte, and the job ended',
    async () => {
      await open();
      const { job } = remote();
      await job.submit(ask('flood'));
      const { stdout, status } = await followed(job);
      expect(stdout).toBe('y\n'.repeat(256 * 1024));
      expect(status.end).toMatchObject({
        kind: 'output-limit',
        signal: 'SIGTERM',
        error: { code: 'ERR_STARLANE_JOB' },
      });
    },
    LONG_MS,
  );

  it(
    'is read as far as it goes without waiting, and only by callers that may',
    async () => {
      await open();
      const { job, id } = remote();
      await job.submit(ask('stubborn'));
      await until('its output', async () => (await job.status()).outputBytes > 0);
      let text = '';
      const status = await job.follow(0, false, (_kind, data) => {
        text += data;
      });
      expect([text, status.state]).toEqual(['ready\n', 'running']);
      for (const from of [2, 3]) {
        const stranger = remote(from, id).job;
        await expect(followed(stranger)).rejects.toMatchObject({ code: 'EACCES' });
        await expect(stranger.status()).rejects.toMatchObject({ code: 'EACCES' });
        await expect(stranger.cancel()).rejects.toMatchObject({ code: 'EACCES' });
        await expect(stranger.remove()).rejects.toMatchObject({ code: 'EACCES' });
        await expect(stranger.sendInput(0, Buffer.from('x'), true)).rejects.toMatchObject({ code: 'EACCES' });
      }
      const boss = remote(4, id).job;
      await boss.cancel();
      const ended = await followed(boss);
      expect(ended.status.end).toMatchObject({ kind: 'cancelled', error: { message: 'it was cancelled by n4' } });
      await boss.remove();
      await expect(job.status()).rejects.toMatchObject({ code: 'ENOENT' });
    },
    LONG_MS,
  );
});

describe('the input of a job', () => {
  it(
    'is 10 MB to the byte, although answers get lost and pieces come again',
    async () => {
      await open();
      const bytes = Buffer.alloc(10_000_000);
      for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
      const id = uuid();
      const lossy = new LossyHost(net.client(0, 1), 12, () => 10);
      const { job } = remote(0, id, lossy);
      expect(await job.submit(ask('hash', {}, true))).toMatchObject({ input: true, inputOpen: true });
      const pieces = Array.from({ length: 100 }, (_, index) => bytes.subarray(index * 100_000, (index + 1) * 100_000));
      const [, { stdout, status }] = await Promise.all([
        sendInput(Readable.from(pieces), job),
        followed(remote(0, id).job),
      ]);
      expect(lossy.cuts).toBeGreaterThan(8);
      expect(stdout).toBe(`10000000 ${createHash('sha256').update(bytes).digest('hex')}\n`);
      expect(status).toMatchObject({ inputBytes: 10_000_000, inputOpen: false, end: { kind: 'exited', exitCode: 0 } });
    },
    LONG_MS,
  );

  it(
    'that nobody sends any more ends the job with a code',
    async () => {
      await open({ ...COMMANDS, hash: { ...COMMANDS['hash'], 'input-timeout': '300ms' } });
      const { job } = remote();
      await job.submit(ask('hash', {}, true));
      await job.sendInput(0, Buffer.from('some'), false);
      const { status } = await followed(job);
      expect(status).toMatchObject({ inputBytes: 4, end: { kind: 'input-lost', error: { code: 'ERR_STARLANE_JOB' } } });
    },
    LONG_MS,
  );

  it(
    'is not read any more when the program has ended',
    async () => {
      await open({ head: { run: ['/usr/bin/head', '-c', '3'], stdin: true } });
      const { job } = remote();
      await job.submit(ask('head', {}, true));
      const endless = new PassThrough();
      endless.write('abcdef');
      const sent = sendInput(endless, job);
      const { stdout, status } = await followed(job);
      endless.write('more');
      await within('the end of the sender', sent);
      expect([stdout, status.end?.exitCode]).toEqual(['abc', 0]);
    },
    LONG_MS,
  );
});

describe('a job at a host', () => {
  it(
    'is seen and ended by others as far as their rule names its command, and by its owner as long as a rule does',
    async () => {
      const rules = ['members=n2 rights=all-jobs apps=web-*', 'members=n4 rights=all-jobs apps=sleep'];
      net = await AgentNet.of(5);
      const values = { jobs: JSON.stringify(COMMANDS) };
      const begin = (rule: string) => net.agent(1, { ...values, allow: [rule, ...rules] }, [new JobsPart()]);
      await begin('members=n0 rights=jobs');
      const { job, id } = remote();
      await job.submit(ask('sleep'));
      const refused = { code: 'EACCES' };
      await expect(remote(2, id).job.status()).rejects.toMatchObject(refused);
      await expect(remote(2, id).job.cancel()).rejects.toMatchObject(refused);
      expect(await net.client(2, 1).ask({ method: 'GET', path: '/v1/jobs', timeoutMs: 10_000 })).toEqual({ jobs: [] });
      await remote(4, id).job.cancel();
      await net.stop(1);
      await begin('members=n0 rights=jobs apps=hash');
      await expect(job.status()).rejects.toMatchObject(refused);
      await expect(job.submit(ask('sleep'))).rejects.toMatchObject(refused);
    },
    LONG_MS,
  );

  it(
    'is started once, although the answer to its start gets lost',
    async () => {
      await open();
      const file = `${net.folder}/marks`;
      const { job } = remote(0, uuid(), new LossyHost(net.client(0, 1), 1, () => 1));
      await job.submit(ask('mark', { file }));
      expect((await followed(job)).stdout).toBe('once\n');
    },
    LONG_MS,
  );

  it(
    'is cancelled as a whole group, by force when it does not end by itself',
    async () => {
      await open();
      const { job } = remote();
      await job.submit(ask('stubborn'));
      await until('its output', async () => (await job.status()).outputBytes > 0);
      await job.cancel();
      const { status } = await followed(job);
      expect(status.end).toMatchObject({ kind: 'cancelled', signal: 'SIGKILL' });
    },
    LONG_MS,
  );

  it(
    'is listed with all others, however much their parameters say',
    async () => {
      const names = Array.from({ length: 14 }, (_, at) => `p${at}`);
      const run = ['/bin/true', ...names.map((name) => `{${name}}`)];
      await open({ long: { run, params: Object.fromEntries(names.map((name) => [name, '.*'])), 'max-running': 8 } });
      const params = Object.fromEntries(names.map((name) => [name, 'x'.repeat(4_000)]));
      const ids: string[] = [];
      for (let at = 0; at < 40; at++) {
        const { job, id } = remote();
        ids.push(id);
        await job.submit(ask('long', params));
        await followed(job);
      }
      const counts: number[] = [];
      const client = net.client(0, 1);
      const listed = await listJobs({
        ask: async (request) => {
          const page = await client.ask(request);
          counts.push((page as { jobs: unknown[] }).jobs.length);
          return page;
        },
      });
      expect(listed.map(({ id }) => id).sort()).toEqual(ids.sort());
      expect(counts.length).toBeGreaterThan(1);
    },
    LONG_MS,
  );

  it(
    'is ended when its time is over',
    async () => {
      await open();
      const { job } = remote();
      await job.submit(ask('short'));
      const { status } = await followed(job);
      expect(status.end).toMatchObject({ kind: 'timed-out', signal: 'SIGTERM', error: { code: 'ERR_STARLANE_JOB' } });
    },
    LONG_MS,
  );

  it(
    'has its end when its program is killed from outside',
    async () => {
      await open({ self: { run: ['/bin/sh', '-c', 'echo $$; sleep 600'] } });
      const { job } = remote();
      await job.submit(ask('self'));
      const pid = await new Promise<number>(
        (resolve) => void job.follow(0, true, (_kind, data) => resolve(Number(data))),
      );
      process.kill(pid, 'SIGKILL');
      expect((await followed(job)).status.end).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
    },
    LONG_MS,
  );

  it(
    'that cannot be started says so, and can be released (receptor#363)',
    async () => {
      await open();
      const { job } = remote();
      expect(await job.submit(ask('missing'))).toMatchObject({
        end: { kind: 'not-started', error: { message: 'the program is missing' } },
      });
      expect((await followed(job)).status.state).toBe('ended');
      await job.remove();
    },
    LONG_MS,
  );

  it(
    'gets hostile parameters as they are, each as one argument, or refuses them',
    async () => {
      await open();
      for (const value of [
        'a b',
        '$(id)',
        '`id`',
        '"; id; "',
        "'",
        '%s%n',
        '*',
        '../../etc/passwd',
        '\n',
        '\u{1f4a3}',
        '',
      ]) {
        const { job } = remote();
        await job.submit(ask('args', { a: value }));
        expect((await followed(job)).stdout).toBe(`[${value}][B]`);
      }
      for (const params of [{ a: '--help' }, { a: 'x\0y' }, { a: 'x'.repeat(5_000) }, {}, { a: 'x', c: 'y' }]) {
        await expect(remote().job.submit(ask('args', params as Record<string, string>))).rejects.toMatchObject({
          code: 'ERR_STARLANE_ARGUMENT',
        });
      }
      const hostile: unknown[] = [
        { command: 'args', params: { a: ['x'] } },
        { command: 'args', params: 'x' },
        { command: ['args'] },
        { command: 'args', params: { a: 'x' }, input: 1 },
      ];
      for (const body of hostile) {
        const asked = net.client(0, 1).ask({ method: 'PUT', path: `/v1/jobs/${uuid()}`, body, timeoutMs: 10_000 });
        await expect(asked).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
      }
      for (const id of ['..%2f..%2fx', 'x', `${uuid()}%00`, '%2e%2e']) {
        const asked = net
          .client(0, 1)
          .ask({ method: 'PUT', path: `/v1/jobs/${id}`, body: ask('sleep'), timeoutMs: 10_000 });
        await expect(asked).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
      }
    },
    LONG_MS,
  );

  it(
    'is started only by callers that the rules of the host and of the command let do that',
    async () => {
      await open();
      await expect(remote(3).job.submit(ask('sleep'))).rejects.toMatchObject({ code: 'EACCES' });
      await expect(remote(0).job.submit(ask('only'))).rejects.toMatchObject({ code: 'EACCES' });
      await expect(remote(0).job.submit(ask('undeclared'))).rejects.toMatchObject({ code: 'EACCES' });
      const { job } = remote(2);
      await job.submit(ask('only'));
      expect((await followed(job)).status.end).toEqual({ kind: 'exited', exitCode: 0 });
      const listed = (from: number) =>
        net.client(from, 1).ask({ method: 'GET', path: '/v1/commands', timeoutMs: 10_000 });
      const names = async (from: number) =>
        ((await listed(from)) as { commands: Array<{ name: string }> }).commands.map(({ name }) => name);
      expect(await names(0)).not.toContain('only');
      expect(await names(2)).toContain('only');
      expect(await names(3)).toEqual([]);
    },
    LONG_MS,
  );
});

describe('an agent that ends and comes again', () => {
  it(
    'ends its jobs as lost, which a reader learns when the agent is back, and only then may they be removed',
    async () => {
      await open();
      const { job } = remote();
      await job.submit(ask('stubborn'));
      await until('its output', async () => (await job.status()).outputBytes > 0);
      const following = followed(job);
      await net.stop(1);
      await start();
      const { stdout, status } = await following;
      expect(stdout).toBe('ready\n');
      expect(status.end).toMatchObject({ kind: 'lost', error: { code: 'ERR_STARLANE_JOB_LOST' } });
      expect((await job.cancel()).end).toEqual(status.end);
      await job.remove();
    },
    LONG_MS,
  );

  it(
    'is waited for as long as the caller likes, which then knows that the state is unknown',
    async () => {
      await open();
      const id = uuid();
      const events: string[] = [];
      const job = new RemoteJob(net.client(0, 1), id, {
        hostName: 'n1',
        patienceMs: 2_500,
        onAway: () => events.push('away'),
        onBack: () => events.push('back'),
      });
      await job.submit(ask('sleep'));
      const following = followed(job);
      await net.stop(1, AbortSignal.abort());
      await expect(following).rejects.toMatchObject({ code: 'ERR_STARLANE_JOB_UNKNOWN' });
      expect(events).toEqual(['away']);
      // Nothing has reached the host: this job certainly does not run.
      await expect(remote(0, uuid(), net.client(0, 1), 100).job.submit(ask('sleep'))).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      });
      await start();
      expect((await job.status()).end).toMatchObject({ kind: 'lost' });
    },
    LONG_MS,
  );

  it(
    'that has forgotten a job meanwhile makes it lost for its reader',
    async () => {
      await open();
      const { job } = remote();
      await job.submit(ask('sleep'));
      const following = followed(job);
      await net.stop(1, AbortSignal.abort());
      await net.agent(1, { allow: ALLOW, jobs: JSON.stringify(COMMANDS), folder: `${net.folder}/new` }, [
        new JobsPart(),
      ]);
      await expect(following).rejects.toMatchObject({ code: 'ERR_STARLANE_JOB_LOST' });
    },
    LONG_MS,
  );
});
