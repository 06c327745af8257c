// Makes links while this node has too few: after a short wait at random, so that nodes that lost a common neighbour do
// not all turn to the same one, random and near nodes in turn. And whatever else it has, one link goes to a node that it
// has picked at random itself.

import type { Timed, Timer } from '../../util/timers.js';
import type { MeshEnvironment } from '../ports.js';
import type { Candidate, Candidates } from './candidates.js';
import { CLIENT_TARGET, LOW, NEAR_PICKS, RANDOM_KEPT, TAKES_ALL_BELOW, TARGET } from './degree.js';
import type { MeshDialer } from './dialer.js';
import type { Choice, Neighbours } from './neighbours.js';
import type { PeerBook } from './peer-book.js';

const MIN_WAIT_MS = 100;
const MAX_WAIT_MS = 1_000;
/** With links enough, and only the choice of them to be improved. */
const UNHURRIED_WAIT_MS = 10_000;
/** With nobody to link to, until the directory is looked through again. */
const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export interface RefillSetup {
  readonly environment: MeshEnvironment;
  readonly neighbours: Neighbours;
  readonly candidates: Candidates;
  readonly dialer: MeshDialer;
  readonly book: PeerBook;
  readonly isClient: boolean;
}

export class Refill implements Timed {
  private timer: Timer | undefined;
  private isFilling = false;
  /** Looks through the directory in a row that found nobody. */
  private vain = 0;
  private readonly underway = new Map<Choice, number>();
  private isStopped = false;

  constructor(private readonly setup: RefillSetup) {}

  /** To be called when anything has changed that may make links needed. */
  consider(): void {
    if (this.isStopped || this.timer !== undefined) return;
    if (this.missing() <= 0 && this.missingRandom() <= 0) {
      this.vain = 0;
      return;
    }
    this.timer = this.setup.environment.timers.schedule(this.waitMs(), this);
  }

  /** There are nodes that were not there before. */
  onNews(): void {
    if (this.vain === 0) return;
    this.vain = 0;
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
    this.consider();
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  /** Dials a node that was picked, and notes how. */
  async dial({ nodeId, addresses }: Candidate, choice: Choice): Promise<boolean> {
    const { book, dialer, neighbours } = this.setup;
    this.count(choice, 1);
    try {
      neighbours.choose(await dialer.dialNode(nodeId, addresses, true), choice);
      return true;
    } catch {
      book.onFailed(nodeId);
      return false;
    } finally {
      this.count(choice, -1);
    }
  }

  onDeadline(): void {
    this.timer = undefined;
    const { candidates } = this.setup;
    const missing = this.missing();
    const turns = Math.max(missing, this.missingRandom());
    let near = 0;
    let found = 0;
    for (let turn = 0; turn < turns; turn++) {
      if (turn % 2 === 1 && turn < missing && near < this.missingNear()) {
        near++;
        continue;
      }
      const candidate = candidates.random();
      if (candidate === undefined) break;
      found++;
      this.make(candidate, 'random');
    }
    if (near > 0) void this.makeNear(near);
    if (found === 0 && near === 0 && turns > 0) this.vain++;
    this.consider();
  }

  private async makeNear(count: number): Promise<void> {
    this.count('near', count);
    const found = await this.setup.candidates.near(count);
    this.count('near', -count);
    if (this.isStopped) return;
    for (const candidate of found) this.make(candidate, 'near');
    if (found.length === 0) this.vain++;
    this.consider();
  }

  private make(candidate: Candidate, choice: Choice): void {
    void this.dial(candidate, choice).then((isUp) => {
      if (isUp) this.vain = 0;
      this.consider();
    });
  }

  /** How many links are to be made for their number; none at 0 and below. */
  private missing(): number {
    const { dialer, isClient, neighbours } = this.setup;
    const relays = neighbours.relays;
    // Never more, so the dials of seeds count as well.
    if (isClient) return CLIENT_TARGET - neighbours.degree - Math.max(this.dialling(), dialer.underway);
    if (relays < LOW) this.isFilling = true;
    else if (relays >= TARGET) this.isFilling = false;
    if (!this.isFilling) return 0;
    // Where hardly anyone relays, links without number would not help.
    return Math.min(TARGET - relays, TAKES_ALL_BELOW - neighbours.degree) - this.dialling();
  }

  /** How many are to be made for their choice. */
  private missingRandom(): number {
    const { isClient, neighbours } = this.setup;
    const missing = RANDOM_KEPT - neighbours.chosen('random') - (this.underway.get('random') ?? 0);
    return isClient ? Math.min(missing, this.missing()) : missing;
  }

  private missingNear(): number {
    return NEAR_PICKS - this.setup.neighbours.chosen('near') - (this.underway.get('near') ?? 0);
  }

  private dialling(): number {
    return (this.underway.get('random') ?? 0) + (this.underway.get('near') ?? 0);
  }

  private count(choice: Choice, by: number): void {
    this.underway.set(choice, (this.underway.get(choice) ?? 0) + by);
  }

  private waitMs(): number {
    const { random } = this.setup.environment;
    if (this.vain > 0)
      return Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(this.vain - 1, 10)) * (1 - random() / 2);
    if (this.missing() <= 0) return UNHURRIED_WAIT_MS * (0.1 + 0.9 * random());
    return MIN_WAIT_MS + (MAX_WAIT_MS - MIN_WAIT_MS) * random();
  }
}
