// A node that makes links by itself, in a scripted network.

import { Candidates } from '../../lib/mesh/neighbours/candidates.js';
import { MeshDialer } from '../../lib/mesh/neighbours/dialer.js';
import { Neighbours } from '../../lib/mesh/neighbours/neighbours.js';
import { ReachHistory } from '../../lib/mesh/neighbours/partition-watch.js';
import { PeerBook } from '../../lib/mesh/neighbours/peer-book.js';
import { Refill } from '../../lib/mesh/neighbours/refill.js';
import { Rotation } from '../../lib/mesh/neighbours/rotation.js';
import { MINUTE_MS, Scene, ScriptedLink, SELF } from './scripted-network.js';

export class Filling extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly book = new PeerBook();
  readonly dialer = new MeshDialer(this.environment, this.network, { minMs: 500, maxMs: MINUTE_MS }, () =>
    this.refill.consider(),
  );
  readonly candidates = new Candidates({
    environment: this.environment,
    network: this.network,
    view: this.view,
    dialer: this.dialer,
    neighbours: this.neighbours,
    book: this.book,
  });
  readonly history = new ReachHistory(this.environment, this.view);
  readonly refill: Refill;
  readonly rotation: Rotation;

  constructor(isClient = false, seed = 1) {
    super(seed);
    const { environment, neighbours, candidates, dialer, book } = this;
    this.refill = new Refill({ environment, neighbours, candidates, dialer, book, isClient });
    this.rotation = new Rotation({
      environment,
      neighbours,
      candidates,
      view: this.view,
      history: this.history,
      dial: (candidate, choice) => this.refill.dial(candidate, choice),
    });
    this.network.onUp = (link) => this.up(link);
  }

  up(link: ScriptedLink): ScriptedLink {
    link.onEnd = () => this.lose(link);
    this.network.up.add(link);
    this.neighbours.add(link, this.clock.now());
    this.dialer.onLink(link);
    this.refill.consider();
    return link;
  }

  lose(link: ScriptedLink): void {
    link.isUp = false;
    this.network.up.delete(link);
    this.neighbours.remove(link);
    this.dialer.onUnlink(link);
    this.refill.consider();
  }

  /** Links that stand already, `chosen` of them to nodes that this one has picked at random. */
  inbound(count: number, part: Partial<ScriptedLink> = {}, chosen = 0): ScriptedLink[] {
    const links = Array.from({ length: count }, (_, index) => {
      this.view.add(`in${index}`);
      const link = new ScriptedLink(`in${index}`, { direction: 'inbound', ...part });
      this.neighbours.add(link, this.clock.now());
      if (index < chosen) this.neighbours.choose(link, 'random');
      return link;
    });
    this.refill.consider();
    return links;
  }
}
