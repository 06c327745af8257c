// starlane job, as processes on two machines, and an agent that is killed.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Cable } from '../../../../support/cable.js';
import { isRunning, until } from '../../../../support/caller.js';
import { type Command, Machine } from '../../../../support/command.js';

const LONG_MS = 180_000;
const WAIT_MS = 60_000;

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
}, LONG_MS);

const JOBS = `
greet: { run: [/bin/sh, -c, 'echo to "$0"; echo aside >&2; exit 7', '{who}'], params: { who: '[a-z]+' } }
upper: { run: [/usr/bin/tr, a-z, A-Z], stdin: true }
steps: { run: [/bin/sh, -c, 'i=0; while [ $i -lt 6000 ]; do echo line $i; i=$((i+1)); [ $((i%50)) = 0 ] && sleep 0.1; done'] }
pid: { run: [/bin/sh, -c, 'echo $$; exec sleep 600'] }
`;

interface Net {
  readonly host: Machine;
  readonly agent: Command;
  readonly laptop: Machine;
  readonly port: number;
}

function machine(): Machine {
  const made = new Machine();
  ends.push(() => made.dispose());
  return made;
}

function startAgent(host: Machine, port: number, shown = port): Command {
  const allow = 'members=laptop rights=jobs';
  const addresses = ['--listen', `tls://127.0.0.1:${port}`, '--advertise', `tls://127.0.0.1:${shown}`];
  return host.start(['agent', ...addresses, '--allow', allow, '--jobs', 'jobs.yaml', '--folder', 'agent']);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** A host with an agent, and another machine; both are members. `dialled`: the port by which the other one comes. */
async function open(dialled: (port: number) => number = (port) => port): Promise<Net> {
  const [host, laptop] = [machine(), machine()];
  const port = await freePort();
  writeFileSync(join(host.folder, 'jobs.yaml'), JOBS);
  await host.run(['init', '--name', 'host']);
  const agent = startAgent(host, port, dialled(port));
  await agent.waitFor(/^agent at node/m, 'stdout', WAIT_MS);
  const { stdout } = await host.run(['invite']);
  const [token] = /starlane1\.[\w-]+/.exec(stdout) ?? [''];
  const joined = await laptop.run(['join', token, '--name', 'laptop']);
  expect(joined.code).toBe(0);
  return { host, agent, laptop, port };
}

function recordOf(host: Machine): { id: string; state: string; process?: { pid: number } } {
  const jobs = join(host.folder, 'agent', 'jobs');
  const [id] = readdirSync(jobs);
  return JSON.parse(readFileSync(join(jobs, id, 'job.json'), 'utf8'));
}

describe('starlane job', () => {
  it(
    'runs a command of a host with its parameters, input, both outputs and exit code',
    async () => {
      const { laptop } = await open();
      const greeted = await laptop.run(['job', 'run', 'host', 'greet', '--param', 'who=you']);
      expect(greeted).toMatchObject({ code: 7, stdout: 'to you\n' });
      expect(greeted.stderr).toContain('aside\n');
      const upper = laptop.start(['job', 'run', 'host', 'upper']);
      upper.stdin.end('some text');
      expect(await upper.finish(WAIT_MS)).toMatchObject({ code: 0, stdout: 'SOME TEXT' });
      expect(await laptop.run(['job', 'run', 'host', 'greet', '--param', 'who=You'])).toMatchObject({ code: 125 });
      expect(await laptop.run(['job', 'run', 'host', 'other'])).toMatchObject({ code: 125 });
      const detached = await laptop.run(['job', 'run', 'host', 'greet', '-p', 'who=you', '--detach']);
      const id = detached.stdout.trim();
      expect(id).toMatch(/^host\/[\w-]{36}$/);
      expect(await laptop.run(['job', 'output', id, '--follow', '--from', '3'])).toMatchObject({
        code: 7,
        stdout: 'you\n',
      });
      const listed = await laptop.run(['job', 'list', 'host', '--json']);
      expect(JSON.parse(listed.stdout)).toHaveLength(3);
      expect(await laptop.run(['job', 'remove', id])).toMatchObject({ code: 0 });
      expect((await laptop.run(['job', 'status', id])).code).toBe(5);
      expect((await laptop.run(['job', 'commands', 'host'])).stdout).toContain('who=/[a-z]+/');
    },
    LONG_MS,
  );

  it(
    'prints everything once over links that are cut',
    async () => {
      const cable = await Cable.open();
      ends.push(() => cable.close());
      const { laptop } = await open((port) => {
        cable.to = port;
        return cable.port;
      });
      const run = laptop.start(['job', 'run', 'host', 'steps']);
      for (const line of [100, 1_500, 3_000, 4_500]) {
        await run.waitFor(new RegExp(`^line ${line}$`, 'm'), 'stdout', WAIT_MS);
        await until('a link to be cut', () => cable.cut() > 0);
      }
      const { code, stdout } = await run.finish(WAIT_MS);
      expect(stdout).toBe(Array.from({ length: 6_000 }, (_, line) => `line ${line}\n`).join(''));
      expect(code).toBe(0);
    },
    LONG_MS,
  );

  it(
    'learns within seconds that the agent was killed, waits for it, and ends with the coded end (receptor#711)',
    async () => {
      const { host, agent, laptop, port } = await open();
      const run = laptop.start(['job', 'run', 'host', 'pid', '--patience', '2m']);
      const [text] = await run.waitFor(/^\d+$/m, 'stdout', WAIT_MS);
      agent.signal('SIGKILL');
      const killedMs = performance.now();
      await run.waitFor(/host is gone, and the state of its job unknown/, 'stderr', WAIT_MS);
      expect(performance.now() - killedMs).toBeLessThan(15_000);
      await agent.finish(WAIT_MS);
      // The program does not outlive its agent.
      await until('the end of the program', async () => !(await isRunning(Number(text))));
      expect(recordOf(host).state).toBe('running');
      startAgent(host, port);
      const { code, stderr } = await run.finish(WAIT_MS);
      expect(stderr).toMatch(/host is back/);
      expect(stderr).toMatch(/the job lost: the agent or its machine ended while the job ran/);
      expect(code).toBe(123);
      const id = `host/${recordOf(host).id}`;
      // As before the restart (receptor#180).
      expect((await laptop.run(['job', 'cancel', id])).stderr).toMatch(/it had ended already: lost/);
      expect((await laptop.run(['job', 'remove', id])).code).toBe(0);
    },
    LONG_MS,
  );

  it(
    'ends with a code of its own when the host stays away, and says how to go on',
    async () => {
      const { agent, laptop } = await open();
      const run = laptop.start(['job', 'run', 'host', 'pid', '--patience', '3s']);
      await run.waitFor(/^\d+$/m, 'stdout', WAIT_MS);
      agent.signal('SIGKILL');
      const { code, stderr } = await run.finish(WAIT_MS);
      expect(code).toBe(120);
      expect(stderr).toMatch(/to go on: starlane job output host\/[\w-]{36} --from \d+ --follow/);
      expect(stderr).toMatch(/host is gone: the state of the job is unknown until it returns/);
    },
    LONG_MS,
  );

  it(
    'cancels the job when it is interrupted',
    async () => {
      const { laptop } = await open();
      const run = laptop.start(['job', 'run', 'host', 'pid']);
      const [pid] = await run.waitFor(/^\d+$/m, 'stdout', WAIT_MS);
      run.signal('SIGINT');
      const { code, stderr } = await run.finish(WAIT_MS);
      expect(stderr).toMatch(/the job cancelled: it was cancelled by laptop/);
      expect(code).toBe(130);
      expect(await isRunning(Number(pid))).toBe(false);
    },
    LONG_MS,
  );
});
