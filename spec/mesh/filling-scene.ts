// A node that makes links by itself, in a scripted network.

import { Candidates } from '../../lib/mesh/neighbours/candidates.js';
import { MeshDialer } from '../../lib/mesh/neighbours/dialer.js';
import { Neighbours } from '../../lib/mesh/neighbours/neighbours.js';
import { ReachabilityHistory } from '../../lib/mesh/neighbours/partition-watch.js';
import { PeerBook } from '../../lib/mesh/neighbours/peer-book.js';
import { Refill } from '../../lib/mesh/neighbours/refill.js';
import { Rotation } from '../../lib/mesh/neighbours/rotation.js';
import { BACK_OFF, Scene, ScriptedLink, SELF } from './scripted-network.js';

export class Filling extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly book = new PeerBook();
  readonly dialer = new MeshDialer(this.environment, this.network, BACK_OFF, () => this.refill.consider());
  readonly candidates: Candidates;
  readonly history = new ReachabilityHistory(this.environment, this.view);
  readonly refill: Refill;
  readonly rotation: Rotation;

  constructor(isClient = false, seed = 1) {
    super(seed);
    const { neighbours, dialer, book } = this;
    const context = this.share({ neighbours, dialer, book }, isClient ? 'client' : 'peer');
    this.candidates = new Candidates(context);
    this.refill = new Refill(context, this.candidates);
    this.rotation = new Rotation(context, this.candidates, this.refill, this.history);
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

  /** Existing links, `chosen` of them to nodes that this one has picked at random. */
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
