// Makes links while this node has too few, to random and near nodes in turn. It waits a short random time first, so that
// nodes that lost a common neighbour do not all choose the same one. One link always goes to a node that this one has picked
// at random itself.

import { Deadline } from '../../util/deadline.js';
import type { Candidate, Candidates } from './candidates.js';
import { ACCEPT_ANY_BELOW, CLIENT_TARGET, LOW, NEAR_PICKS, RANDOM_KEPT, TARGET } from './degree.js';
import type { NeighbourhoodContext } from './neighbourhood.js';
import type { Choice } from './neighbours.js';

const MIN_WAIT_MS = 100;
const MAX_WAIT_MS = 1_000;
/** When there are enough links, and only their choice can be better. */
const UNHURRIED_WAIT_MS = 10_000;
/** When there is no candidate, until the next search. */
const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export class Refill {
  private readonly deadline: Deadline;
  private isFilling = false;
  /** Searches in a row that found no candidate. */
  private vain = 0;
  private readonly underway = new Map<Choice, number>();
  private readonly isClient: boolean;
  private isClosed = false;

  constructor(
    private readonly context: NeighbourhoodContext,
    private readonly candidates: Candidates,
  ) {
    this.deadline = new Deadline(context.environment.timers, () => this.fill());
    this.isClient = context.options.role === 'client';
  }

  /** Must be called after any change that may make links needed. */
  consider(): void {
    if (this.isClosed || this.deadline.isSet) return;
    if (this.missing() <= 0 && this.missingRandom() <= 0) {
      this.vain = 0;
      return;
    }
    this.deadline.set(this.waitMs());
  }

  /** Called when nodes have become reachable. */
  onNewNodes(): void {
    if (this.vain === 0) return;
    this.vain = 0;
    this.deadline.clear();
    this.consider();
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
  }

  /** Dials a node, and notes how it was picked. True when the link is up. */
  async dial({ nodeId, addresses }: Candidate, choice: Choice): Promise<boolean> {
    const { book, dialer, neighbours } = this.context;
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

  private fill(): void {
    const { candidates } = this;
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
    const found = await this.candidates.near(count);
    this.count('near', -count);
    if (this.isClosed) return;
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

  /** Returns how many links are missing; 0 or less when there are enough. */
  private missing(): number {
    const { dialer, neighbours } = this.context;
    if (neighbours.isDraining) return neighbours.degree > 0 ? 0 : 1 - this.dialling();
    const relays = neighbours.relays;
    // A client never has more, so the dials of seeds count as well.
    if (this.isClient) return CLIENT_TARGET - neighbours.degree - Math.max(this.dialling(), dialer.underway);
    if (relays < LOW) this.isFilling = true;
    else if (relays >= TARGET) this.isFilling = false;
    if (!this.isFilling) return 0;
    // Where hardly any node relays, ever more links would not help.
    return Math.min(TARGET - relays, ACCEPT_ANY_BELOW - neighbours.degree) - this.dialling();
  }

  /** Returns how many links to random nodes are missing. */
  private missingRandom(): number {
    const { neighbours } = this.context;
    if (neighbours.isDraining) return 0;
    const missing = RANDOM_KEPT - neighbours.chosen('random') - (this.underway.get('random') ?? 0);
    return this.isClient ? Math.min(missing, this.missing()) : missing;
  }

  private missingNear(): number {
    return NEAR_PICKS - this.context.neighbours.chosen('near') - (this.underway.get('near') ?? 0);
  }

  private dialling(): number {
    return (this.underway.get('random') ?? 0) + (this.underway.get('near') ?? 0);
  }

  private count(choice: Choice, by: number): void {
    this.underway.set(choice, (this.underway.get(choice) ?? 0) + by);
  }

  private waitMs(): number {
    const { random } = this.context.environment;
    if (this.vain > 0)
      return Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(this.vain - 1, 10)) * (1 - random() / 2);
    if (this.missing() <= 0) return UNHURRIED_WAIT_MS * (0.1 + 0.9 * random());
    return MIN_WAIT_MS + (MAX_WAIT_MS - MIN_WAIT_MS) * random();
  }
}
