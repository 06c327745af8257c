// What this node may do by its own certificate. While it is no member, because its certificate has expired and is not renewed yet, it keeps to
// the rights that it had: others ignore it anyway.

import type { NodeId } from '../../address.js';
import { ALL_RIGHTS, type MemberRights } from '../../identity/member-certificate.js';
import { Pattern } from '../../util/pattern.js';
import type { Rights } from './rights.js';

export class OwnRights {
  private last = ALL_RIGHTS;
  private offers = patternsOf(ALL_RIGHTS);

  constructor(
    private readonly self: NodeId,
    private readonly rights: Rights,
  ) {
    this.update();
  }

  get mayRelay(): boolean {
    return this.last.relay;
  }

  mayOffer(service: string): boolean {
    return this.offers.some((pattern) => pattern.fits(service));
  }

  /** Called when the certificate of this node has changed. True when its rights may have changed. */
  update(): boolean {
    const now = this.rights.rightsOf(this.self);
    if (now === undefined || now === this.last) return false;
    this.last = now;
    this.offers = patternsOf(now);
    return true;
  }
}

function patternsOf({ offer }: MemberRights): Pattern[] {
  return offer.map((pattern) => new Pattern(pattern));
}
