// The live view of the service directory that users hold.

import { EventEmitter } from 'node:events';
import { INSPECT, type Inspect, type InspectOptions, shownMap } from '../../util/runtime/shown.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import type { ServiceInfo } from './service.js';
import type { ServiceTable } from './service-table.js';

export interface ServiceMapEvents {
  add: [service: ServiceInfo];
  remove: [service: ServiceInfo];
}

/** Names and their instances, as they are at the moment of asking. Reads like a Map; what it gives are snapshots. */
export class ServiceMap extends EventEmitter<ServiceMapEvents> implements Iterable<[string, ServiceInfo[]]> {
  /** @internal */
  constructor(private readonly table: ServiceTable) {
    super();
    // One view a node, which any number of parts of a program may follow.
    this.setMaxListeners(0);
  }

  /** How many names there are. */
  get size(): number {
    return this.table.nameCount;
  }

  has(service: string): boolean {
    return this.table.has(service);
  }

  /** The instances of a service; none when nobody offers it. */
  get(service: string): ServiceInfo[] {
    return this.table.find(service).map((instance) => instance.snapshot());
  }

  keys(): IterableIterator<string> {
    return this.table.names();
  }

  *values(): IterableIterator<ServiceInfo[]> {
    for (const service of this.table.names()) yield this.get(service);
  }

  *entries(): IterableIterator<[string, ServiceInfo[]]> {
    for (const service of this.table.names()) yield [service, this.get(service)];
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shownMap('ServiceMap', this, depth, options, inspect);
  }

  /** @internal Emits, and keeps what a listener throws away from the link that brought the news. */
  tell(event: 'add' | 'remove', service: ServiceInfo): void {
    try {
      this.emit(event, service);
    } catch (error) {
      throwLater(error);
    }
  }

  [Symbol.iterator](): IterableIterator<[string, ServiceInfo[]]> {
    return this.entries();
  }
}
