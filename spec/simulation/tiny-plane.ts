// The smallest control plane, for specs of the simulation itself: it sends a greeting on each link, and notes what
// happens to it.

import type { Plane, PlaneSetup, PlaneShortcut, PlaneView } from '../../bench/simulation/plane.js';
import type { MeshLink } from '../../lib/mesh/ports.js';
import { type Message, MessageType } from '../../lib/wire/messages.js';

export class TinyPlane implements Plane {
  readonly log: string[] = [];
  readonly received: Message[] = [];
  readonly links = new Set<MeshLink>();
  objects: string | undefined;
  drains = 0;
  readonly shortcut = {} as PlaneShortcut;
  readonly view = {} as PlaneView;

  constructor(readonly setup: PlaneSetup) {}

  start(): void {
    this.log.push('start');
  }

  onLink(link: MeshLink): void {
    this.log.push(`up ${link.direction}`);
    this.links.add(link);
    link.send({ type: MessageType.SYNCED });
  }

  onPromoted(link: MeshLink): void {
    this.log.push(`promoted ${link.purpose}`);
  }

  onUnlink(link: MeshLink, reason: Error | undefined): void {
    this.links.delete(link);
    this.log.push(`down ${(reason as { code?: string } | undefined)?.code ?? 'in order'}`);
  }

  onMessage(link: MeshLink, message: Message): void {
    this.received.push(message);
    if (message.type === MessageType.SYNCED) this.setup.onSynced(link);
  }

  onUnblocked(): void {
    this.drains++;
  }

  objection(): string | undefined {
    return this.objects;
  }

  bind(): void {}
  unbind(): void {}
  drain(): void {
    this.log.push('drain');
  }
  leave(): void {
    this.log.push('leave');
  }

  stop(): void {
    this.log.push('stop');
  }
}
