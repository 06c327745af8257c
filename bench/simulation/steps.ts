// What can happen to a network, as data: a schedule is a list of these, which can be printed, run again, and shortened.
// Nodes are named by number, modulo how many there are; a step that does not fit (a crash of a node that does not run)
// does nothing, so that any part of a schedule is one as well.

import type { Random } from './random.js';
import type { SimNode } from './sim-node.js';
import type { World } from './world.js';

export const STEP_KINDS = [
  'join',
  'leave',
  'crash',
  'die',
  'restart',
  'forget',
  'clone',
  'cut',
  'half-cut',
  'mend',
  'split',
  'heal',
  'stall',
  'block',
  'storm',
  'wobble',
] as const;
export type StepKind = (typeof STEP_KINDS)[number];

export interface Step {
  /** From the start of the schedule. */
  readonly atMs: number;
  readonly kind: StepKind;
  /** Which node. */
  readonly node: number;
  /** Which other node, of a cut. */
  readonly other?: number;
  /** For how long, of a stall, block, storm or wobble. */
  readonly forMs?: number;
}

/** How likely each kind is, against the others. */
const WEIGHTS: Readonly<Record<StepKind, number>> = {
  join: 4,
  leave: 3,
  crash: 5,
  die: 3,
  restart: 6,
  forget: 2,
  clone: 0.5,
  cut: 3,
  'half-cut': 3,
  mend: 4,
  split: 0.5,
  heal: 1.5,
  stall: 3,
  block: 6,
  storm: 3,
  wobble: 4,
};

/** Some services come and go this often in a storm, in ms. */
const STORM_INTERVAL_MS = 100;
const STORM_SERVICES = 50;
const MAX_WOBBLE_MS = 100;

export function randomSchedule(random: Random, steps: number, forMs: number): Step[] {
  const total = Object.values(WEIGHTS).reduce((sum, weight) => sum + weight, 0);
  const schedule: Step[] = [];
  for (let count = 0; count < steps; count++) {
    const kind = pickKind(random.next() * total);
    const step = { atMs: Math.round(random.between(0, forMs)), kind, node: random.below(10_000) };
    if (kind === 'cut' || kind === 'half-cut') schedule.push({ ...step, other: random.below(10_000) });
    else if (kind === 'block') schedule.push({ ...step, forMs: Math.round(random.between(500, 8_000)) });
    else if (kind === 'stall') schedule.push({ ...step, forMs: Math.round(random.between(1_000, 60_000)) });
    else if (kind === 'storm' || kind === 'wobble')
      schedule.push({ ...step, forMs: Math.round(random.between(2_000, 20_000)) });
    else schedule.push(step);
  }
  return schedule.sort((a, b) => a.atMs - b.atMs);
}

function pickKind(at: number): StepKind {
  let rest = at;
  for (const kind of STEP_KINDS) {
    rest -= WEIGHTS[kind];
    if (rest < 0) return kind;
  }
  return 'restart';
}

export function describeStep({ atMs, kind, node, other, forMs }: Step): string {
  return [`${atMs} ms`, kind, node, other, forMs === undefined ? undefined : `for ${forMs} ms`]
    .filter((part) => part !== undefined)
    .join(' ');
}

/** Carries steps out, and afterwards puts right what would keep a network from coming to rest. */
export class Stage {
  private readonly clones: SimNode[] = [];
  /** Continues each process that is stopped. */
  private readonly stalled = new Set<() => void>();
  private readonly stormy = new Set<SimNode>();
  private isOver = false;

  constructor(
    private readonly world: World,
    /** For nodes that join. */
    private readonly seeds: readonly string[],
  ) {}

  /** Puts the steps on the clock; they happen while time passes. */
  play(schedule: readonly Step[]): void {
    for (const step of schedule) {
      this.world.loop.call(step.atMs, () => {
        if (!this.isOver) this.carryOut(step);
      });
    }
  }

  carryOut({ kind, node: number, other, forMs = 0 }: Step): void {
    const { world } = this;
    const node = this.nodeOf(number);
    switch (kind) {
      case 'join':
        this.join();
        return;
      case 'leave':
        node.leave();
        return;
      case 'crash':
        node.crash();
        return;
      case 'die':
        if (node.run !== undefined) node.die();
        return;
      case 'restart':
        if (node.run !== undefined) node.crash();
        node.start();
        return;
      case 'forget':
        if (node.run !== undefined) node.crash();
        node.forget();
        node.start();
        return;
      case 'clone':
        this.clone(node);
        return;
      case 'cut':
        world.paths.cut(node.host, this.nodeOf(other ?? number + 1).host);
        return;
      case 'half-cut':
        world.paths.cutOneWay(node.host, this.nodeOf(other ?? number + 1).host);
        return;
      case 'mend':
        world.paths.mendOne();
        return;
      case 'split':
        for (const each of world.nodes) each.host.side = each.host.x < 0.5 ? 0 : 1;
        return;
      case 'heal':
        this.heal();
        return;
      case 'stall':
        this.stall(node, forMs);
        return;
      case 'block':
        node.run?.process.block(forMs);
        return;
      case 'storm':
        this.storm(node, forMs);
        return;
      case 'wobble':
        this.wobble(node, forMs);
    }
  }

  /** Mends all paths, ends shared keys, and resumes all processes. Dead nodes stay dead. */
  calm(): void {
    this.isOver = true;
    this.heal();
    this.world.paths.mendAll();
    for (const clone of this.clones) clone.crash();
    for (const goOn of [...this.stalled]) goOn();
    for (const node of this.stormy) this.endStorm(node);
    for (const node of this.world.nodes) node.host.extraMs = 0;
  }

  private nodeOf(number: number): SimNode {
    const originals = this.world.nodes.filter((node) => !this.clones.includes(node));
    return originals[number % originals.length];
  }

  private join(): void {
    const node = this.world.add({ seeds: this.seeds });
    node.bind(`service-${node.host.index}`);
    node.start();
  }

  private clone(node: SimNode): void {
    const clone = this.world.add({ seeds: this.seeds, keys: node.setup.keys, role: node.setup.role });
    this.clones.push(clone);
    clone.start();
  }

  private heal(): void {
    for (const { host } of this.world.nodes) host.side = 0;
    this.world.paths.healed();
  }

  private stall({ run }: SimNode, forMs: number): void {
    if (run === undefined) return;
    const { process } = run;
    process.stop();
    const goOn = (): void => {
      if (this.stalled.delete(goOn)) process.resume();
    };
    this.stalled.add(goOn);
    this.world.loop.call(forMs, goOn);
  }

  private storm(node: SimNode, forMs: number): void {
    if (this.stormy.has(node)) return;
    this.stormy.add(node);
    const end = this.world.loop.now + forMs;
    let turn = 0;
    const blow = (): void => {
      if (!this.stormy.has(node)) return;
      if (this.world.loop.now >= end) {
        this.endStorm(node);
        return;
      }
      const name = `storm-${turn++ % STORM_SERVICES}`;
      if (node.services.has(`${name}:0`)) node.unbind(name);
      else node.bind(name);
      this.world.loop.call(STORM_INTERVAL_MS, blow);
    };
    blow();
  }

  private endStorm(node: SimNode): void {
    this.stormy.delete(node);
  }

  private wobble({ host }: SimNode, forMs: number): void {
    const end = this.world.loop.now + forMs;
    const sway = (): void => {
      const isOver = this.isOver || this.world.loop.now >= end;
      host.extraMs = isOver ? 0 : this.world.random.between(0, MAX_WOBBLE_MS);
      if (!isOver) this.world.loop.call(1_000, sway);
    };
    sway();
  }
}
