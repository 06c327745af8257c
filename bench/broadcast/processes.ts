// Participants in processes of their own, with links on loopback between some of them: circuits between the others go through relays. While
// others send, one process is killed, and one is stopped and continued. The first message on the tree of an origin stands for plain flooding: it
// takes all circuits, as no neighbour is lazy yet. It is compared with a later message of the same origin.

import { type ChildProcess, fork } from 'node:child_process';
import { within } from '../../spec/support/deadline.js';

const DEADLINE_MS = 60_000;
/** Time between two messages of one origin. */
const EVERY_MS = 50;
const SETTLING = 20;
const SHORT = 8;
const MEASURED = 20;
/** Origins whose first message on a tree of their own is measured. */
const PAIRS = 8;

export interface ProcessesOptions {
  readonly processes: number;
  readonly worker: string;
  /** The modules of the library, as URLs. */
  readonly starlane: string;
  readonly messages: string;
  /** Messages of an origin before it has a tree of its own. */
  readonly sharedFirst: number;
  /** How long the one is stopped, in ms. */
  readonly stoppedMs: number;
}

export interface Step {
  readonly what: string;
  readonly redundancy: number;
  /** From the send of a message to the last one that got it: the median and the greatest of all messages. */
  readonly lastMs: number;
  readonly worstMs: number;
}

export interface ProcessesReport {
  readonly steps: readonly Step[];
  /** Of the first message after kill -9, and after SIGSTOP, in ms. */
  readonly killMs: number;
  readonly stopMs: number;
  /** The median of the pairs: the last delivery in the tree / by flooding. */
  readonly ratio: number;
  /** What was wrong: not once, not in order, not everywhere. */
  readonly faults: readonly string[];
  readonly messages: number;
}

type Answer = Record<string, unknown>;
type Got = Array<[from: string, number: number, ms: number, hops: number]>;

class Worker {
  nodeId = '';
  address = '';
  isStopped = false;
  private readonly child: ChildProcess;
  private nextId = 1;
  private readonly waits = new Map<number, (answer: Answer) => void>();

  constructor(options: ProcessesOptions) {
    this.child = fork(options.worker, [options.starlane, options.messages], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.child.on('message', (answer: Answer) => {
      this.waits.get(answer['id'] as number)?.(answer);
      this.waits.delete(answer['id'] as number);
    });
    this.child.on('error', () => {});
  }

  async ask(what: string, rest: Answer = {}): Promise<Answer> {
    const id = this.nextId++;
    const answered = new Promise<Answer>((resolve) => this.waits.set(id, resolve));
    this.child.send({ id, do: what, ...rest });
    const answer = await within(`${what} of ${this.nodeId}`, answered, DEADLINE_MS);
    if (answer['failed'] !== undefined) throw new Error(String(answer['failed']));
    return answer;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

/** Runs all of it. Leaves no process behind. */
export async function runProcesses(options: ProcessesOptions): Promise<ProcessesReport> {
  const workers = Array.from({ length: options.processes }, () => new Worker(options));
  try {
    return await runWith(workers, options);
  } finally {
    for (const worker of workers) worker.signal('SIGKILL');
  }
}

async function runWith(all: readonly Worker[], { stoppedMs, sharedFirst }: ProcessesOptions): Promise<ProcessesReport> {
  let workers = all;
  const steps: Step[] = [];
  const faults: string[] = [];
  /** The messages of the broadcast 'all', in order for each origin. */
  const sent = new Map<Worker, number[]>();
  for (const worker of workers) Object.assign(worker, await worker.ask('about'));
  await Promise.all(
    workers.flatMap((worker, index) =>
      // A ring with chords.
      [1, 6].map((distance) => worker.ask('join', { address: workers[(index + distance) % workers.length].address })),
    ),
  );
  const cast = async (name: string): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.ask('cast', { name })));
    await until('the circuits', async () => {
      const stats = await Promise.all(workers.map((worker) => statsOf(worker, name)));
      const isReady = stats.every(
        ({ participants, neighbours }) => participants === workers.length - 1 && neighbours >= 3,
      );
      // Those that are asked for have all come: none was added since the last look.
      const count = stats.reduce((sum, { neighbours }) => sum + neighbours, 0);
      const isStable = count === lastCount;
      lastCount = count;
      return isReady && isStable;
    });
  };
  let lastCount = -1;
  const send = async (from: Worker, name: string): Promise<number> => {
    const { number } = await from.ask('send', { name });
    if (name === 'all') sent.set(from, [...(sent.get(from) ?? []), number as number]);
    return number as number;
  };
  const gotBy = async (worker: Worker, name: string): Promise<Got> =>
    (await worker.ask('report', { name }))['got'] as Got;
  /** Resolves with the time to the last delivery of each of the messages, when all have them. */
  const latencies = async (from: Worker, name: string, numbers: readonly number[]): Promise<number[]> => {
    const last = new Map(numbers.map((number) => [number, 0]));
    const receivers = workers.filter((worker) => worker !== from && !worker.isStopped);
    await until(`message ${numbers.at(-1)} everywhere`, async () => {
      const reports = await Promise.all(receivers.map((worker) => gotBy(worker, name)));
      let count = 0;
      for (const got of reports) {
        for (const [nodeId, number, ms] of got) {
          if (nodeId !== from.nodeId || !last.has(number)) continue;
          count++;
          last.set(number, Math.max(last.get(number) as number, ms));
        }
      }
      return count >= receivers.length * numbers.length;
    });
    return numbers.map((number) => last.get(number) as number);
  };
  const counted = async (name: string): Promise<{ delivered: number; duplicates: number }> => {
    const asked = workers.filter(({ isStopped }) => !isStopped);
    const stats = await Promise.all(asked.map((worker) => statsOf(worker, name)));
    const sum = (read: (one: Stats) => number): number => stats.reduce((total, one) => total + read(one), 0);
    return { delivered: sum(({ delivered }) => delivered), duplicates: sum(({ duplicates }) => duplicates) };
  };
  /** Sends so many messages and measures them. */
  const stretch = async (what: string, from: Worker, count: number, name = 'all'): Promise<number[]> => {
    const before = await counted(name);
    const numbers: number[] = [];
    for (let index = 0; index < count; index++) {
      numbers.push(await send(from, name));
      await pause(EVERY_MS);
    }
    const lasts = await latencies(from, name, numbers);
    const after = await counted(name);
    const redundancy = (after.duplicates - before.duplicates) / (after.delivered - before.delivered);
    const sorted = [...lasts].sort((a, b) => a - b);
    if (what !== '') {
      steps.push({ what, redundancy, lastMs: sorted[sorted.length >> 1], worstMs: sorted[sorted.length - 1] });
    }
    return lasts;
  };

  const [one, other] = [workers[0], workers[workers.length >> 1]];
  await cast('all');
  const ratios: number[] = [];
  for (const origin of workers.slice(1, 1 + PAIRS)) {
    await stretch('', origin, sharedFirst);
    const [floodMs] = await stretch('plain flooding, one message', origin, 1);
    await stretch('', origin, SHORT);
    const [treeMs] = await stretch('the tree, one message', origin, 1);
    ratios.push(treeMs / floodMs);
  }
  await stretch('', one, SETTLING);
  await stretch('settled', one, MEASURED);
  await stretch('', other, SETTLING);
  await stretch('another origin, settled', other, MEASURED);

  const killed = workers[3];
  killed.signal('SIGKILL');
  workers = workers.filter((worker) => worker !== killed);
  const [killMs] = await stretch('from kill -9 on', one, MEASURED);
  await stretch('after it, settled', one, MEASURED);

  const stopped = workers[workers.length - 3];
  stopped.signal('SIGSTOP');
  stopped.isStopped = true;
  const [stopMs] = await stretch('from SIGSTOP on', one, Math.ceil(stoppedMs / EVERY_MS / 2));
  await stretch('while it is stopped', other, Math.ceil(stoppedMs / EVERY_MS / 2));
  stopped.signal('SIGCONT');
  stopped.isStopped = false;
  await latencies(one, 'all', sent.get(one) as number[]);
  await latencies(other, 'all', sent.get(other) as number[]);
  await stretch('', one, SETTLING);
  await stretch('after SIGCONT, settled', one, MEASURED);

  for (const worker of workers) {
    const { got, gaps } = (await worker.ask('report', { name: 'all' })) as { got: Got; gaps: unknown[] };
    if (gaps.length > 0) faults.push(`${worker.nodeId} reports ${JSON.stringify(gaps)}`);
    for (const [origin, numbers] of sent) {
      if (origin === worker) continue;
      const seen = got.filter(([from]) => from === origin.nodeId).map(([, number]) => number);
      if (String(seen) !== String(numbers)) faults.push(`${worker.nodeId} has got ${seen} of ${origin.nodeId}`);
    }
  }
  ratios.sort((a, b) => a - b);
  const messages = [...sent.values()].reduce((sum, numbers) => sum + numbers.length, 0);
  return { steps: joined(steps), killMs, stopMs, ratio: ratios[ratios.length >> 1], faults, messages };
}

/** Steps of the same name as one: the median of the medians, the greatest of all. */
function joined(steps: readonly Step[]): Step[] {
  const kinds = new Map<string, Step[]>();
  for (const step of steps) kinds.set(step.what, [...(kinds.get(step.what) ?? []), step]);
  return [...kinds].map(([what, all]) => {
    const lasts = all.map(({ lastMs }) => lastMs).sort((a, b) => a - b);
    return {
      what,
      redundancy: all.reduce((sum, { redundancy }) => sum + redundancy, 0) / all.length,
      lastMs: lasts[lasts.length >> 1],
      worstMs: Math.max(...all.map(({ worstMs }) => worstMs)),
    };
  });
}

interface Stats {
  readonly participants: number;
  readonly neighbours: number;
  readonly delivered: number;
  readonly duplicates: number;
}

async function statsOf(worker: Worker, name: string): Promise<Stats> {
  return (await worker.ask('stats', { name }))['stats'] as Stats;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await pause(200);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
