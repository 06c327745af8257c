// A run: starts the processes, puts a proxy into each link, lets the senders send, does the faults of the plan, and brings everything to
// an end at which each send has its outcome. What it leaves is the folder of the history.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../../simulation/random.js';
import { type FaultEvent, monotonicMs, type RunEvent } from '../events.js';
import { Journal, runFile } from '../journal.js';
import type { Start } from '../worker/protocol.js';
import { LinkProxy } from './link-proxy.js';
import { type Fault, planOf } from './plan.js';
import { type Edge, type Shape, type Sizes, shapeOf } from './shape.js';
import { pause, within } from './waiting.js';
import { Worker } from './worker.js';

export interface RunOptions {
  readonly seed: number;
  readonly sizes: Sizes;
  readonly faults: number;
  readonly faultEveryMs: number;
  /** At least so many; the traffic goes on until the faults are done as well. */
  readonly messages: number;
  /** Messages a second that one sender sends. */
  readonly rate: number;
  readonly resumeMs: number;
  /** Ends the run with what there is. */
  readonly minutes: number;
  readonly folder: string;
  readonly program: string;
  readonly onProgress?: (line: string) => void;
}

const UP_MS = 180_000;
const SETTLE_MS = 60_000;
const PROGRESS_MS = 10_000;
const STEP_MS = 100;
/** Messages of each sender that are handled before the first fault. */
const WARM = 50;

/** A place in the shape: the process that is there now, and those that were there before. */
interface Spot {
  readonly name: string;
  worker: Worker;
  incarnation: number;
  /** How many identities it has had. */
  identities: number;
  /** The processes that had the identity of this one. */
  sameBefore: string[];
  /** What is done to it, one after the other: on a loaded machine a process may not be up again when the next fault is due. */
  busy: Promise<void>;
}

export async function run(options: RunOptions): Promise<void> {
  mkdirSync(options.folder, { recursive: true });
  const whole = new Run(options);
  try {
    await whole.execute();
  } finally {
    await whole.close();
  }
}

class Run {
  private readonly journal: Journal<RunEvent>;
  private readonly random: Random;
  private readonly shape: Shape;
  private readonly plan: readonly Fault[];
  private readonly proxies: LinkProxy[] = [];
  private readonly spots = new Map<string, Spot>();
  private readonly going = new Set<Promise<void>>();
  private failure: Error | undefined;
  private isOver = false;
  private sentBefore = 0;
  private begun = 0;
  private readonly since = monotonicMs();

  constructor(private readonly options: RunOptions) {
    this.journal = new Journal(runFile(options.folder));
    this.random = new Random(options.seed);
    this.shape = shapeOf(this.random.fork(), options.sizes);
    this.plan = planOf(this.random.fork(), this.shape, { faults: options.faults, everyMs: options.faultEveryMs });
  }

  async execute(): Promise<void> {
    for (const _ of this.shape.edges) this.proxies.push(await LinkProxy.listen());
    for (const { name } of this.shape.places) this.settle(name);
    await Promise.all([...this.spots.values()].map((spot) => this.isUp(spot)));
    for (const { worker } of this.spots.values()) worker.ask('go');
    await this.isWarm();
    const progress = setInterval(() => this.options.onProgress?.(this.progress()), PROGRESS_MS);
    try {
      await this.injectFaults();
      while (this.sent() < this.options.messages && this.failure === undefined && !this.isLate) await pause(STEP_MS);
      await Promise.all(this.going);
      await this.finish();
    } finally {
      clearInterval(progress);
    }
  }

  async close(): Promise<void> {
    this.isOver = true;
    for (const proxy of this.proxies) proxy.close();
    await Promise.all([...this.spots.values()].map(({ worker }) => worker.kill()));
    this.journal.close();
  }

  /** Before that faults would hit little but starting processes. */
  private async isWarm(): Promise<void> {
    const senders = this.shape.places.filter(({ role }) => role === 'sender').map(({ name }) => this.spotOf(name));
    for (const deadline = monotonicMs() + UP_MS; ; await pause(STEP_MS)) {
      if (senders.every(({ worker }) => worker.handled >= WARM)) return;
      if (monotonicMs() > deadline) throw new Error(`not every sender had ${WARM} messages handled within ${UP_MS} ms`);
    }
  }

  private async injectFaults(): Promise<void> {
    const begin = monotonicMs();
    for (const fault of this.plan) {
      if (this.failure !== undefined) throw this.failure;
      if (this.isLate) return;
      for (let now = monotonicMs() - begin; now < fault.at; now = monotonicMs() - begin) {
        await pause(Math.min(STEP_MS, fault.at - now));
      }
      this.begin(fault);
      this.begun++;
    }
  }

  private begin(fault: Fault): void {
    const spot = 'place' in fault && fault.kind !== 'isolate' ? this.spotOf(fault.place) : undefined;
    const going = (spot?.busy ?? Promise.resolve()).then(() => this.inject(fault));
    if (spot !== undefined) spot.busy = going;
    this.going.add(going);
    // A failure is that of the run, which waits for all of them at the end.
    going.then(
      () => this.going.delete(going),
      (error) => {
        this.failure ??= error;
      },
    );
  }

  /** Does one fault, to its end, and writes it down. */
  private async inject(fault: Fault): Promise<void> {
    const t = monotonicMs();
    const end = (of: readonly string[], detail: string): void => {
      const event: FaultEvent = { e: 'fault', t, kind: fault.kind, of, until: monotonicMs(), detail };
      this.journal.write(event);
    };
    switch (fault.kind) {
      case 'cut':
      case 'silence': {
        const proxy = this.proxies[fault.edge];
        const { from, to } = this.shape.edges[fault.edge];
        if (fault.kind === 'cut') proxy.cut();
        else proxy.silence();
        await pause(fault.forMs);
        if (fault.kind === 'silence' && fault.cuts) proxy.reset();
        proxy.restore();
        return end([from, to], fault.kind === 'silence' && fault.cuts ? 'then cut' : '');
      }
      case 'isolate': {
        const mine = this.proxies.filter((_, at) => isOf(this.shape.edges[at], fault.place));
        for (const proxy of mine) proxy.cut();
        await pause(fault.forMs);
        for (const proxy of mine) proxy.restore();
        return end([fault.place], `${mine.length} links`);
      }
      case 'stop': {
        const spot = this.spotOf(fault.place);
        const { worker } = spot;
        worker.signal('SIGSTOP');
        await pause(fault.forMs);
        if (fault.kills) await this.replace(spot, () => worker.kill(), true);
        else worker.signal('SIGCONT');
        return end([fault.place], fault.kills ? 'then killed' : '');
      }
      case 'kill':
      case 'restart': {
        const spot = this.spotOf(fault.place);
        const { worker } = spot;
        const leave = async (): Promise<void> => {
          if (fault.kind === 'kill') return await worker.kill();
          worker.isMeant = true;
          worker.ask('quit');
          if ((await within(worker.ended, SETTLE_MS)) === undefined) await worker.kill();
        };
        await this.replace(spot, leave, fault.sameIdentity, fault.forMs);
        return end([fault.place], fault.sameIdentity ? 'same identity' : 'new identity');
      }
    }
  }

  /** Another process in the place of one that ends. */
  private async replace(spot: Spot, leave: () => Promise<void>, sameIdentity: boolean, forMs = 0): Promise<void> {
    const { worker } = spot;
    await leave();
    this.sentBefore += worker.sent;
    worker.sent = 0;
    await pause(forMs);
    if (this.isOver) return;
    if (sameIdentity) spot.sameBefore.push(worker.start.process);
    else {
      spot.identities++;
      spot.sameBefore = [];
    }
    spot.incarnation++;
    spot.worker = this.launch(spot);
    await this.isUp(spot);
    spot.worker.ask('go');
  }

  /** No more faults: every sender gets its outcomes, then every handler ends. */
  private async finish(): Promise<void> {
    for (const role of ['sender', 'receiver', 'relay']) {
      const those = this.shape.places
        .filter((place) => place.role === role)
        .map(({ name }) => this.spotOf(name).worker);
      for (const worker of those) worker.ask('finish');
      await Promise.all(those.map((worker) => within(Promise.race([worker.finished, worker.ended]), SETTLE_MS)));
    }
  }

  private settle(name: string): void {
    const spot = { name, incarnation: 0, identities: 0, sameBefore: [], busy: Promise.resolve() } as Omit<
      Spot,
      'worker'
    > as Spot;
    spot.worker = this.launch(spot);
    this.spots.set(name, spot);
  }

  private launch({ name, incarnation, identities, sameBefore }: Spot): Worker {
    const { folder, rate, resumeMs, program } = this.options;
    const { places, edges, secret, services } = this.shape;
    const start: Start = {
      process: `${name}.${incarnation}`,
      name,
      role: places.find((place) => place.name === name)?.role ?? 'relay',
      folder,
      seed: Math.floor(this.random.next() * 2 ** 32),
      identity: join(folder, `${name}.${identities}.key`),
      secret: secret ? `secret of run ${this.options.seed}` : undefined,
      joins: edges.flatMap(({ from, tls }, at) =>
        from === name ? [`${tls ? 'tls' : 'tcp'}://127.0.0.1:${this.proxies[at].port}`] : [],
      ),
      services: [...services],
      rate,
      resumeMs,
      before: sameBefore.slice(-1),
    };
    const worker = new Worker(program, start);
    void worker.ended.then(({ how, errors }) => {
      edges.forEach(({ to }, at) => {
        if (to === name) this.proxies[at].leadTo(undefined);
      });
      if (this.isOver) return;
      const meant = worker.isMeant;
      this.journal.write({
        e: 'exit',
        t: monotonicMs(),
        process: start.process,
        how,
        meant,
        ...(meant ? {} : { errors }),
      });
    });
    return worker;
  }

  /** Waits until a process can be reached, and leads the proxies of its links to it. */
  private async isUp({ name, worker }: Spot): Promise<void> {
    const { process } = worker.start;
    const failed = worker.ended.then(({ errors }) =>
      Promise.reject(new Error(`${process} ended before it was up: ${errors}`)),
    );
    const ports = await within(Promise.race([worker.up, failed]), UP_MS);
    if (ports === undefined) throw new Error(`${process} is not up after ${UP_MS} ms`);
    this.shape.edges.forEach(({ to, tls }, at) => {
      if (to === name) this.proxies[at].leadTo(tls ? ports.tls : ports.tcp);
    });
  }

  private get isLate(): boolean {
    return monotonicMs() - this.since > this.options.minutes * 60_000;
  }

  private progress(): string {
    return `${Math.round((monotonicMs() - this.since) / 1000)} s: ${this.sent()} messages, ${this.begun} faults`;
  }

  private spotOf(name: string): Spot {
    return this.spots.get(name) as Spot;
  }

  private sent(): number {
    return [...this.spots.values()].reduce((sum, { worker }) => sum + worker.sent, this.sentBefore);
  }
}

function isOf({ from, to }: Edge, name: string): boolean {
  return from === name || to === name;
}
