// The services that this node has bound, of which it announces those that its certificate allows.

import { netError, starlaneError } from '../../errors.js';
import { type ServiceEntry, serviceKey } from '../../wire/records.js';

interface OwnOffersOwner {
  mayOffer(service: string): boolean;
  /** @throws ERR_STARLANE_MESSAGE when it fits no record */
  announce(entry: ServiceEntry): void;
  withdraw(entry: ServiceEntry): void;
  warn(error: Error): void;
}

export class OwnOffers {
  private readonly bound = new Map<string, { readonly entry: ServiceEntry; isAnnounced: boolean }>();

  constructor(private readonly owner: OwnOffersOwner) {}

  /** @throws EACCES when the certificate does not allow it; as announce */
  bind(entry: ServiceEntry): void {
    const { service, port } = entry;
    if (!this.owner.mayOffer(service)) {
      throw netError('EACCES', 'listen', { address: service, port }, noRight(service, 'offer'));
    }
    this.owner.announce(entry);
    this.bound.set(serviceKey(service, port), { entry, isAnnounced: true });
  }

  unbind(service: string, port: number): void {
    const key = serviceKey(service, port);
    const offer = this.bound.get(key);
    this.bound.delete(key);
    if (offer?.isAnnounced) this.owner.withdraw(offer.entry);
  }

  /** Called when the rights of this node have changed. */
  review(): void {
    for (const offer of this.bound.values()) {
      const { entry, isAnnounced } = offer;
      const isAllowed = this.owner.mayOffer(entry.service);
      if (isAllowed === isAnnounced) continue;
      offer.isAnnounced = isAllowed;
      if (isAllowed) this.owner.announce(entry);
      else {
        this.owner.withdraw(entry);
        this.owner.warn(noRight(entry.service, 'go on to offer'));
      }
    }
  }
}

function noRight(service: string, what: string): Error {
  return starlaneError('ERR_STARLANE_RIGHT', `this one may not ${what} '${service}'`);
}
