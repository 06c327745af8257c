// Nodes that leave and return: a share of all each minute, some gracefully, some by a crash, some without notice, each back
// after a minute. Meanwhile circuits are opened between live nodes.

import { openCircuit } from './circuits.js';
import type { Network } from './network.js';
import type { SimNode } from './sim-node.js';

const AWAY_MS = 60_000;
/** Shares of those that leave: gracefully, and by a crash; the rest without notice. */
const LEAVE_SHARE = 0.3;
const CRASH_SHARE = 0.4;

export class Churn {
  departures = 0;
  private isRunning = false;

  constructor(
    private readonly network: Network,
    /** Of all nodes, each minute. */
    private readonly percent: number,
  ) {}

  start(): void {
    this.isRunning = true;
    this.next();
  }

  stop(): void {
    this.isRunning = false;
  }

  private next(): void {
    const { world, size } = this.network;
    const perMs = ((this.percent / 100) * size) / 60_000;
    if (perMs <= 0) return;
    world.loop.call(world.random.exponential(1 / perMs), () => {
      if (!this.isRunning) return;
      this.depart();
      this.next();
    });
  }

  private depart(): void {
    const { world } = this.network;
    const node = this.network.pick();
    const chance = world.random.next();
    this.departures++;
    if (chance < LEAVE_SHARE) node.leave();
    else if (chance < LEAVE_SHARE + CRASH_SHARE) node.crash();
    else node.die();
    world.loop.call(AWAY_MS, () => {
      if (node.run === undefined) node.start();
    });
  }
}

export class Opens {
  /** Between nodes that were there from the beginning to the end of the attempt. */
  attempts = 0;
  opened = 0;
  revisits = 0;
  readonly hops: number[] = [];
  readonly extraOpens: number[] = [];
  readonly failures = new Map<string, number>();
  /** For each OPEN that a draining node has refused: how long it had been draining, in ms. */
  readonly drainedMs: number[] = [];
  private isRunning = false;

  constructor(
    private readonly network: Network,
    private readonly perSecond: number,
  ) {}

  start(): void {
    this.isRunning = true;
    this.next();
  }

  stop(): void {
    this.isRunning = false;
  }

  private next(): void {
    const { world } = this.network;
    world.loop.call(world.random.exponential(1_000 / this.perSecond), () => {
      if (!this.isRunning) return;
      const { live } = this.network;
      const from = world.random.pick(live);
      const isWanted = (node: SimNode): boolean => node.isKnown && node.drainsSinceMs === undefined;
      const to = world.random.pick(live.filter((node) => isWanted(node) && node !== from));
      if (isOldEnough(from, world.loop.now) && isOldEnough(to, world.loop.now)) this.open(from, to);
      this.next();
    });
  }

  private open(from: SimNode, to: SimNode): void {
    const runs = [from.run, to.run];
    openCircuit(from, to.nodeId, this.network.world.random.below(2 ** 32), (outcome) => {
      if (from.run !== runs[0] || to.run !== runs[1] || !from.isLive || !to.isLive) return;
      this.drainedMs.push(...outcome.drainedMs);
      // Its refusal is the answer.
      if (to.drainsSinceMs !== undefined) return;
      this.attempts++;
      this.revisits += outcome.revisits;
      if (outcome.isOpen) {
        this.opened++;
        this.hops.push(outcome.relays.length + 1);
        this.extraOpens.push(outcome.opens - outcome.relays.length - 1);
        return;
      }
      const why = `${outcome.failure?.code} ${outcome.failure?.reason.replace(/[\w-]{11}/g, 'it')}`;
      this.failures.set(why, (this.failures.get(why) ?? 0) + 1);
    });
  }
}

/** A node that has just started is not known to all yet, and does not know all. */
function isOldEnough(node: SimNode, now: number): boolean {
  return node.run !== undefined && now - node.run.startedAtMs > 5_000;
}
